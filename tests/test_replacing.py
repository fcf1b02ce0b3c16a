import errno
import os
import signal
import subprocess
import sys

import pytest

from longspan import replacing
from longspan.errors import InputError
from longspan.files import (
    make_directory,
    replace_directory,
    require_whole,
    require_writable_directory,
)
from longspan.replacing import held, put_in_place


@pytest.fixture(params=["mount point", "mount below", "working folder", "protected parent", "no rename", "lower layer"])
def folder(request, tmp_path, monkeypatch, mounted):
    """A folder with the files `one` and `kept`, whose name cannot be taken."""
    path = tmp_path / "above" / "out"
    path.mkdir(parents=True)
    if request.param == "mount point":
        mounted("1m", path)
    elif request.param == "mount below":
        (path / "kept").mkdir()
        mounted("1m", path / "kept")
    elif request.param == "working folder":
        monkeypatch.chdir(path)
    elif request.param == "protected parent":
        real = os.access  # root may write everywhere
        monkeypatch.setattr(os, "access", lambda place, mode: str(place) != str(path.parent) and real(place, mode))
    elif request.param == "no rename":  # as of a folder of another user in a sticky one
        refuse(monkeypatch, path, errno.EPERM)
    else:
        path = mounted.overlay("out")
    (path / "one").write_text("1")
    if request.param == "mount below":
        (path / "kept" / "file").write_text("k")
    else:
        (path / "kept").write_text("k")
    return path


def refuse(monkeypatch, path, number):
    real = os.rename

    def rename(one, other):
        if str(path) in (str(one), str(other)):
            raise OSError(number, os.strerror(number))
        real(one, other)

    monkeypatch.setattr(os, "rename", rename)
    monkeypatch.setattr(replacing, "_exchange", lambda one, other: False)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def fill(folder, **options):
    with replace_directory(folder, overwrite=True, **options) as new:
        (new / "two").write_text("2")
        (new / "sub").mkdir()
        (new / "sub" / "three").write_text("3")
        assert (folder / "one").read_text() == "1"


def test_a_folder_that_keeps_its_name_is_filled(folder):
    inode, beside = folder.stat().st_ino, names(folder.parent)
    with pytest.raises(InputError, match="not empty"):
        require_writable_directory(folder)
    fill(folder, keep=lambda name: name == "kept")
    assert names(folder) == ["kept", "sub", "two"] and (folder / "sub/three").read_text() == "3"
    kept = folder / "kept"
    assert (kept / "file" if kept.is_dir() else kept).read_text() == "k"
    assert folder.stat().st_ino == inode and names(folder.parent) == beside


def test_a_failure_leaves_what_was_there(folder):
    before, beside = names(folder), names(folder.parent)
    with pytest.raises(ZeroDivisionError), replace_directory(folder, overwrite=True) as new:
        (new / "two").write_text("2")
        raise ZeroDivisionError
    assert names(folder) == before and names(folder.parent) == beside


KILLED = """
import os, signal, sys
from pathlib import Path
from longspan.errors import InputError
from longspan.files import replace_directory, require_whole
from longspan.replacing import entries_of, remove_unfinished

OLD, NEW = {"one": "1", "same": "old"}, {"two": "2", "same": "new"}

def fill(left):
    def count(event, _):
        nonlocal left
        left -= event in {"open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.chmod"}
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(count)
    with replace_directory(".", overwrite=True) as new:
        for name, text in NEW.items():
            (new / name).write_text(text)

for n_calls in range(200):
    folder = Path(sys.argv[1], str(n_calls))
    folder.mkdir()
    for name, text in OLD.items():
        (folder / name).write_text(text)
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        fill(n_calls)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    read = lambda: {path.name: path.read_text() for path in entries_of(folder)}
    try:
        require_whole(folder)
        state = {str(OLD): "old", str(NEW): "new"}[str(read()) if "one" in read() else str({k: read()[k] for k in NEW})]
    except InputError:
        state = "marked"
    remove_unfinished(folder)
    assert read() == (OLD if state == "old" else NEW), (state, read())
    assert len(os.listdir(folder)) == 2, os.listdir(folder)
    print(state)
    if status == 0:
        break
"""


def test_a_kill_at_any_moment_leaves_old_new_or_marked(tmp_path):
    found = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    states = found.stdout.split()
    assert list(dict.fromkeys(states)) == ["old", "marked", "new"] and len(states) > 10


def test_the_next_writer_finishes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = (
        "import os, signal; from longspan import replacing; from longspan.files import replace_directory\n"
        "replacing.move = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "with replace_directory('.') as new: (new / 'two').write_text('2')"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    with pytest.raises(InputError, match="is incomplete"):
        require_whole(tmp_path)
    with pytest.raises(InputError, match="is not empty"):
        require_writable_directory(tmp_path)
    require_whole(tmp_path)
    assert (tmp_path / "two").read_text() == "2"


def test_two_writers_of_one_folder_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with held(tmp_path), pytest.raises(InputError, match="by another process"), replace_directory(tmp_path) as _:
        pytest.fail("nothing is written")


def test_an_empty_disk_counts_as_empty(tmp_path, monkeypatch):
    (tmp_path / "lost+found").mkdir()
    (tmp_path / ".longspan.new-ab12cd34").mkdir()  # of a killed run
    monkeypatch.chdir(tmp_path)
    with replace_directory(tmp_path) as new:
        (new / "two").write_text("2")
    assert names(tmp_path) == ["lost+found", "two"]


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_to_a_folder_is_followed(tmp_path, exists):
    real, link = tmp_path / "disk" / "real", tmp_path / "link"
    link.symlink_to(real)
    if exists:
        real.mkdir(parents=True)
        (real / "one").write_text("1")
    with replace_directory(link, overwrite=True) as new:
        (new / "two").write_text("2")
    assert link.is_symlink() and names(real) == ["two"] and names(real.parent) == ["real"]


def test_a_link_to_no_folder_can_be_made(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "real")
    make_directory(tmp_path / "link")
    assert (tmp_path / "disk" / "real").is_dir()
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(InputError, match="circle"):
        make_directory(tmp_path / "circle" / "below")


def test_kept_links_stay_links(tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "checkpoints").symlink_to("../scratch")
    with replace_directory(tmp_path / "out", overwrite=True, keep=lambda _: True) as new:
        (new / "two").write_text("2")
    assert os.readlink(tmp_path / "out" / "checkpoints") == "../scratch" and (tmp_path / "out" / "two").exists()


def test_a_folder_of_another_disk_is_put_in_place(mounted, tmp_path):
    disk = mounted("1m")
    (disk / "old").write_text("")
    new = tmp_path / "new"
    (new / "sub").mkdir(parents=True)
    (new / "sub" / "file").write_text("1")
    put_in_place(new, disk)
    assert names(disk) == ["sub"] and (disk / "sub" / "file").read_text() == "1" and not new.exists()
