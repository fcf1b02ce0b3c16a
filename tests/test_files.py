import errno
import os
import socket
import stat
import subprocess
import sys
import threading

import pytest

from longspan.errors import InputError
from longspan.files import replace_directory, replace_file, require_writable_directory, require_writable_file


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "new" / "file.txt"
    for text in ("one", "two"):
        with replace_file(path) as temporary:
            temporary.write_text(text)
            assert not path.exists() or path.read_text() == "one"
        assert path.read_text() == text
    assert os.listdir(path.parent) == ["file.txt"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError("ours"), OSError(errno.ENOSPC, "full")])
def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path, error):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises((KeyboardInterrupt, RuntimeError, InputError)), replace_file(path) as temporary:
        temporary.write_text("ne")
        raise error
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file.txt"]


def test_a_killed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    code = (
        "import os, signal, sys; from longspan.files import replace_file\n"
        "with replace_file(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('ne'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -9
    assert path.read_text() == "old"


def test_a_disk_that_is_truly_full_is_the_users_to_mend(tmp_path):
    # The system's own refusal: files may have at most 1,000 bytes.
    code = (
        "import resource, sys; from longspan.files import replace_file; from longspan.errors import InputError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    with replace_file(sys.argv[1]) as temporary: temporary.write_text('x' * 5000)\n"
        "except InputError as error: print(error)"
    )
    path = tmp_path / "file.txt"
    found = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert f"cannot write {path}" in found.stdout and os.listdir(tmp_path) == []


@pytest.mark.parametrize("place", ["file.txt/below/x", "file.txt/x", "n" * 300])
@pytest.mark.parametrize("replace", [replace_file, replace_directory])
def test_an_impossible_place_is_named(tmp_path, place, replace):
    (tmp_path / "file.txt").write_text("")
    with pytest.raises(InputError, match=place.split("/", maxsplit=1)[0]), replace(tmp_path / place) as _:
        pytest.fail("nothing is written")


def test_a_folder_where_a_file_should_be(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="folder"), replace_file(tmp_path / "folder") as temporary:
        temporary.write_text("x")
    assert os.listdir(tmp_path) == ["folder"]


def test_an_error_that_a_full_disk_caused(tmp_path):
    with pytest.raises(InputError, match=r"cannot write .*x: No space left"), replace_file(tmp_path / "x") as _:
        raise RuntimeError("unexpected pos 576 vs 470") from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_other_errors_keep_their_own_traceback(tmp_path):
    with pytest.raises(FileNotFoundError), replace_file(tmp_path / "x") as _:
        (tmp_path / "missing").read_text()


def test_a_folder_is_replaced_whole(tmp_path):
    path = tmp_path / "folder"
    with replace_directory(path) as temporary:
        (temporary / "one").write_text("1")
        assert not path.exists()
    with pytest.raises(InputError, match="not empty"), replace_directory(path) as _:
        pytest.fail("nothing is written")
    with replace_directory(path, overwrite=True) as temporary:
        (temporary / "two").write_text("2")
        assert os.listdir(path) == ["one"]
    assert os.listdir(path) == ["two"] and os.listdir(tmp_path) == ["folder"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError("ours"), OSError(errno.ENOSPC, "full")])
def test_a_failed_folder_leaves_the_old_one(tmp_path, error):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old").write_text("old")
    with (
        pytest.raises((KeyboardInterrupt, RuntimeError, InputError)),
        replace_directory(path, overwrite=True) as temporary,
    ):
        (temporary / "new").write_text("ne")
        raise error
    assert os.listdir(path) == ["old"] and os.listdir(tmp_path) == ["folder"]


def test_a_system_that_cannot_exchange_two_names(tmp_path, monkeypatch):
    monkeypatch.setattr("longspan.replacing._exchange", lambda one, other: False)
    test_a_folder_is_replaced_whole(tmp_path)


def test_an_empty_folder_may_be_used_and_a_protected_one_not(tmp_path, monkeypatch):
    require_writable_directory(tmp_path)
    require_writable_directory(tmp_path / "a" / "b")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(InputError, match="not writable"):
        require_writable_directory(tmp_path / "a")
    with pytest.raises(InputError, match="not writable"):
        require_writable_file(tmp_path / "a" / "x.json")
    monkeypatch.undo()
    (tmp_path / "file").write_text("")
    require_writable_file(tmp_path / "file")
    for place, message in (("", "is a folder"), ("file/below", "is a file"), ("n" * 300, "cannot write")):
        with pytest.raises(InputError, match=message):
            require_writable_file(tmp_path / place)
    for place in ("file", "file/below"):
        with pytest.raises(InputError, match="is a file"):
            require_writable_directory(tmp_path / place)


def write(path, text="new"):
    require_writable_file(path)
    with replace_file(path) as temporary:
        temporary.write_text(text)


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_to_a_file_is_followed(tmp_path, exists):
    target, link = tmp_path / "disk" / "target", tmp_path / "link"
    link.symlink_to("disk/target")
    if exists:
        target.parent.mkdir()
        target.write_text("old")
    with pytest.raises(ZeroDivisionError), replace_file(link) as temporary:
        temporary.write_text("ne")
        raise ZeroDivisionError
    assert target.exists() == exists and (not exists or target.read_text() == "old")
    write(link)
    assert link.is_symlink() and target.read_text() == "new"
    assert os.listdir(target.parent) == ["target"] and set(os.listdir(tmp_path)) == {"disk", "link"}


def test_a_named_pipe_is_written_to(tmp_path):
    pipe, found = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: found.append(pipe.read_text()))
    reader.start()
    write(pipe, "new" * 50_000)
    reader.join()
    assert found == ["new" * 50_000] and pipe.is_fifo() and os.listdir(tmp_path) == ["pipe"]


def test_a_pipe_that_nothing_reads_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("longspan.files._READER_SECONDS", 0.01)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="nothing reads from the pipe"):
        write(tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()


def test_an_open_file_is_written_to(tmp_path):
    reads, writes = os.pipe()
    (tmp_path / "link").symlink_to(f"/dev/fd/{writes}")
    for path in (f"/dev/fd/{writes}", tmp_path / "link"):
        write(path)
        assert os.read(reads, 10) == b"new"
    with pytest.raises(InputError, match="cannot be written to"):
        require_writable_file(f"/dev/fd/{reads}")
    os.close(reads)
    os.close(writes)
    with pytest.raises(InputError, match="cannot write"):
        require_writable_file(f"/dev/fd/{writes}")


def test_standard_output_keeps_what_was_in_it(tmp_path):
    path = tmp_path / "log"
    path.write_text("before\n")
    code = (
        "from longspan.files import replace_file; print('printed')\n"
        "with replace_file('/dev/stdout') as temporary: temporary.write_text('written\\n')\n"
        "print('after')"
    )
    with path.open("a") as log:
        subprocess.run([sys.executable, "-c", code], check=True, stdout=log)
    assert path.read_text() == "before\nprinted\nwritten\nafter\n"


def test_a_device_stays_a_device(tmp_path):
    for path, number in ((tmp_path / "null", 3), (tmp_path / "full", 7)):
        try:
            os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, number))
        except PermissionError:
            path.symlink_to(f"/dev/{path.name}")
    write(tmp_path / "null")
    with pytest.raises(InputError, match="No space left on device"):
        write(tmp_path / "full")
    assert (tmp_path / "null").is_char_device() and (tmp_path / "full").is_char_device()


def test_what_cannot_hold_a_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(InputError, match="is a socket"):
            write("socket")
    real = os.stat

    def as_disk(path, **options):
        found = real(path, **options)
        return os.stat_result((stat.S_IFBLK | 0o600, *found[1:])) if str(path).endswith("sda") else found

    (tmp_path / "sda").write_text("all that I have")
    monkeypatch.setattr(os, "stat", as_disk)
    with pytest.raises(InputError, match="is a disk"):
        write("sda")
    monkeypatch.undo()
    assert (tmp_path / "sda").read_text() == "all that I have"


def test_a_file_that_is_a_mount_point_is_written_to(mounted, tmp_path):
    source, path = tmp_path / "source", tmp_path / "answers.json"
    source.write_text("old and longer")
    path.touch()
    mounted.file(source, path)
    write(path)
    assert path.read_text() == source.read_text() == "new"


def test_a_writable_file_in_a_protected_folder(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("old and longer")
    real = os.access  # root may write everywhere
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(tmp_path) and real(path, mode))
    write(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "new" and os.listdir(tmp_path) == ["file"]
