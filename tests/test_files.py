import errno
import os
import stat
import subprocess
import sys

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


def test_safetensors_own_error_on_a_full_disk(tmp_path):
    with pytest.raises(InputError, match="cannot write"), replace_file(tmp_path / "x") as _:
        raise ValueError(f"Error while serializing: I/O error: {os.strerror(errno.ENOSPC)} (os error 28)")


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
    monkeypatch.setattr("longspan.files._exchange", lambda one, other: False)
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
