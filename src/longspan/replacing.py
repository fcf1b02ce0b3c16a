"""Putting a finished folder in the place of another one, also where the system lets nobody rename that place.

Mostly two names are exchanged. A mount point, the working folder of this process, and a folder below one that may not
be written keep their name: they are filled in place. What is to be in such a folder is collected in a hidden folder
inside it (`.longspan.new-...`). When all of it is there, that one is renamed to `.longspan.replacing`: from then on the
new state counts. The old entries are removed, the new ones moved up, and `.longspan.replacing` goes last. While it is
there the folder is marked as incomplete: readers refuse it, and the next writer does what is left to do.
"""

import contextlib
import ctypes
import errno
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from longspan.errors import InputError

LOCK = ".longspan.lock"
COLLECTING = ".longspan.new-"
_REPLACING = ".longspan.replacing"
_NEW, _OLD = "new", "old.json"
# What renaming says where it is not possible, though the folder itself can be written.
_NO_RENAMING = {errno.EACCES, errno.EBUSY, errno.EINVAL, errno.EPERM, errno.EXDEV}


def resolved(path: str | Path) -> Path:
    """The absolute path without links; what does not exist yet (the target of a dangling link) is named too."""
    return Path(os.path.realpath(path))


def entries_of(folder: Path) -> list[Path]:
    """What a user has in a folder: without what longspan keeps there to fill it safely, and a disk's `lost+found`."""
    names = [path.name for path in folder.iterdir()]
    return [folder / name for name in sorted(names) if not _is_ours(name) and name != "lost+found"]


def _is_ours(name: str) -> bool:
    return name in {LOCK, _REPLACING} or name.startswith(COLLECTING)


def keeps_its_name(folder: Path) -> bool:
    """Whether no other folder can take the place of `folder`, which is resolved and exists, by a rename."""
    with contextlib.suppress(FileNotFoundError):  # the working folder was removed
        if Path.cwd().is_relative_to(folder):
            return True
    return is_mount(folder) or _holds_mounts(folder) or not os.access(folder.parent, os.W_OK | os.X_OK)


def is_mount(folder: Path) -> bool:
    """Whether a file system, or a part of one, is mounted at this resolved path."""
    return os.path.ismount(folder) or folder in _mounts()


def _holds_mounts(folder: Path) -> bool:
    return any(mount.is_relative_to(folder) for mount in _mounts())


def _mounts() -> set[Path]:
    """All mount points; empty on a system that does not list them as Linux does."""
    try:
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return set()
    # Bytes such as a space are written as three octal digits.
    named = (re.sub(rb"\\(\d{3})", lambda found: bytes([int(found[1], 8)]), line.split(b" ")[4]) for line in lines)
    return {Path(os.fsdecode(name)) for name in named}


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other processes from filling `folder` in place at the same time, where the system can.

    Raises:
        InputError: another process does.
    """
    try:
        import fcntl
    except ImportError:  # a system without flock
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{folder} is being written by another process; wait for it") from None
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(handle)


def put_in_place(new: Path, path: Path) -> None:
    """Let folder `new` take the place of `path`, which is resolved; what was there is gone afterwards.

    In one step where the system can; `new` is on the same file system then, and is gone afterwards in any case.
    """
    if path.is_dir() and keeps_its_name(path):
        _fill(new, path)
        return
    try:
        _swap(new, path)
    except OSError as error:
        # Such as a folder of an image's lower layer (overlayfs), or one of another user in a sticky folder.
        if error.errno not in _NO_RENAMING or not path.is_dir():
            raise
        _fill(new, path)


def _fill(new: Path, path: Path) -> None:
    with held(path):
        finish_replacing(path)
        collected, inside = collecting_folder(path)
        try:
            move(new, inside)
            replace_entries(collected, path, lambda _: False)
        finally:
            shutil.rmtree(collected, ignore_errors=True)


def collecting_folder(folder: Path) -> tuple[Path, Path]:
    """Make the hidden folder inside `folder` for `replace_entries`, and the one in it to be filled; returns both."""
    collected = Path(tempfile.mkdtemp(prefix=COLLECTING, dir=folder))
    (collected / _NEW).mkdir()
    return collected, collected / _NEW


def replace_entries(collected: Path, folder: Path, keep: Callable[[str], bool]) -> None:
    """Replace the entries of `folder` by those that were collected, but for old ones that `keep` names."""
    new = {path.name for path in (collected / _NEW).iterdir()}
    old = [path.name for path in entries_of(folder) if path.name in new or not keep(path.name)]
    old += [path.name for path in folder.glob(f"{COLLECTING}*") if path != collected]  # of killed runs
    with (collected / _OLD).open("w", encoding="utf-8") as file:
        json.dump(old, file)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(collected, 0o777 & ~umask())  # who reads the folder has to see that it is marked
    os.rename(collected, folder / _REPLACING)
    finish_replacing(folder)


def is_half_replaced(folder: Path) -> bool:
    """Whether a run was killed while it replaced the entries of `folder`: they are neither the old nor the new ones."""
    return (folder / _REPLACING).exists()


def finish_replacing(folder: Path) -> None:
    """Do what a killed run left to do when it replaced the entries of `folder`; to be called with `folder` held."""
    marker = folder / _REPLACING
    if not marker.exists():
        return
    with contextlib.suppress(FileNotFoundError):  # the old ones are gone already
        for name in json.loads((marker / _OLD).read_bytes()):
            remove(folder / name)
        (marker / _OLD).unlink()
    if (marker / _NEW).exists():
        for path in list((marker / _NEW).iterdir()):
            move(path, folder / path.name)
    shutil.rmtree(marker)


def remove_unfinished(folder: Path) -> None:
    """Finish or remove what killed runs left in a folder that they filled in place."""
    if not folder.is_dir() or not (is_half_replaced(folder) or any(folder.glob(f"{COLLECTING}*"))):
        return
    with held(folder):
        finish_replacing(folder)
        for path in folder.glob(f"{COLLECTING}*"):
            remove(path)


def remove(path: Path) -> None:
    """Remove a file, link or folder, if it is there; a mount point stays, empty."""
    try:
        if path.is_dir() and not path.is_symlink():
            for entry in path.iterdir():
                remove(entry)
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise


def clear(folder: Path) -> None:
    """Remove what is in a folder, or in the one that a link leads to; the folder or link stays, if it is there."""
    if folder.is_dir():
        for path in folder.iterdir():
            remove(path)


def move(source: Path, destination: Path) -> None:
    """Move a file or folder; a folder that exists is filled. What an interrupted move left to do is done."""
    try:
        os.rename(source, destination)
    except OSError as error:
        if error.errno not in _NO_RENAMING | {errno.ENOTEMPTY, errno.EEXIST}:
            raise
        if source.is_dir() and not source.is_symlink():
            destination.mkdir(exist_ok=True)
            for entry in list(source.iterdir()):
                move(entry, destination / entry.name)
            source.rmdir()
        else:
            shutil.copy2(source, destination, follow_symlinks=False)
            source.unlink()


def link(source: Path, destination: Path) -> None:
    """Copy a file or folder by hard links, which take no room; by bytes where the file system has none."""

    def link_file(one: str, other: str) -> str:
        try:
            os.link(one, other)
        except OSError:
            shutil.copy2(one, other)
        return other

    if source.is_symlink():
        os.symlink(os.readlink(source), destination)
    elif source.is_dir():
        shutil.copytree(source, destination, symlinks=True, copy_function=link_file)
    else:
        link_file(str(source), str(destination))


def _swap(new: Path, path: Path) -> None:
    """Put folder `new` where `path` is, in one step where the system can, and remove what stood there."""
    if not path.exists():
        os.rename(new, path)
    elif _exchange(new, path):
        shutil.rmtree(new)
    else:
        old = new.with_name(new.name + ".old")
        os.rename(path, old)
        try:
            os.rename(new, path)
        except OSError:
            os.rename(old, path)
            raise
        shutil.rmtree(old)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names atomically (Linux's renameat2 with RENAME_EXCHANGE); False where that does not exist."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    at_cwd, rename_exchange = -100, 2
    return renameat2 is not None and (
        renameat2(at_cwd, os.fsencode(one), at_cwd, os.fsencode(other), rename_exchange) == 0
    )


def umask() -> int:
    """Permissions that new files of this process do not get."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
