"""Replaces a folder by a finished one, also if the folder cannot be renamed.

Usually two names are exchanged. A mount point, the working folder of this process, and a folder in a read-only folder
cannot be renamed; they are filled in place:

1. The new entries are collected in a hidden folder inside it (`.longspan.new-...`).
2. When all are there, the hidden folder is renamed to `.longspan.replacing`. From here on the new content counts.
3. The old entries are removed, the new ones are moved up, and `.longspan.replacing` is removed.

While `.longspan.replacing` exists, the folder is incomplete: readers refuse it, and the next writer finishes step 3.
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
# Errors of a rename that is impossible although the folder itself is writable.
_NO_RENAMING = {errno.EACCES, errno.EBUSY, errno.EINVAL, errno.EPERM, errno.EXDEV}


def resolved(path: str | Path) -> Path:
    """The absolute path with all links resolved; the path need not exist."""
    return Path(os.path.realpath(path))


def entries_of(folder: Path) -> list[Path]:
    """The user's entries of a folder: without longspan's own lock and hidden folders, and without `lost+found`."""
    names = [path.name for path in folder.iterdir()]
    return [folder / name for name in sorted(names) if not _is_ours(name) and name != "lost+found"]


def _is_ours(name: str) -> bool:
    return name in {LOCK, _REPLACING} or name.startswith(COLLECTING)


def keeps_its_name(folder: Path) -> bool:
    """Whether `folder`, a resolved path that exists, cannot be replaced by renaming another folder."""
    with contextlib.suppress(FileNotFoundError):  # the working folder was removed
        if Path.cwd().is_relative_to(folder):
            return True
    return is_mount(folder) or _holds_mounts(folder) or not os.access(folder.parent, os.W_OK | os.X_OK)


def is_mount(folder: Path) -> bool:
    """Whether this resolved path is a mount point, bind mounts included."""
    return os.path.ismount(folder) or folder in _mounts()


def _holds_mounts(folder: Path) -> bool:
    return any(mount.is_relative_to(folder) for mount in _mounts())


def _mounts() -> set[Path]:
    """All mount points, from Linux's /proc; empty on other systems."""
    try:
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return set()
    # The file writes a space and some other bytes as three octal digits.
    named = (re.sub(rb"\\(\d{3})", lambda found: bytes([int(found[1], 8)]), line.split(b" ")[4]) for line in lines)
    return {Path(os.fsdecode(name)) for name in named}


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Lock `folder` against other processes that fill it in place, if the system and file system have locks.

    Raises:
        InputError: another process holds the lock.
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
    """Replace folder `path`, a resolved path, by folder `new`, which is gone afterwards; the old content is removed.

    The replacement is atomic if the system can exchange names and `new` is on the same file system.
    """
    if path.is_dir() and keeps_its_name(path):
        _fill(new, path)
        return
    try:
        _swap(new, path)
    except OSError as error:
        # For instance a folder in a lower layer of overlayfs, or one of another user in a sticky folder.
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
    """Make the hidden folder for `replace_entries` in `folder`; returns it and its subfolder for the new entries."""
    collected = Path(tempfile.mkdtemp(prefix=COLLECTING, dir=folder))
    (collected / _NEW).mkdir()
    return collected, collected / _NEW


def replace_entries(collected: Path, folder: Path, keep: Callable[[str], bool]) -> None:
    """Replace the entries of `folder` by the collected ones; old ones for whose name `keep` is True stay."""
    new = {path.name for path in (collected / _NEW).iterdir()}
    old = [path.name for path in entries_of(folder) if path.name in new or not keep(path.name)]
    old += [path.name for path in folder.glob(f"{COLLECTING}*") if path != collected]  # of killed runs
    with (collected / _OLD).open("w", encoding="utf-8") as file:
        json.dump(old, file)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(collected, 0o777 & ~umask())  # every reader of the folder must be able to see the marker
    os.rename(collected, folder / _REPLACING)
    finish_replacing(folder)


def is_half_replaced(folder: Path) -> bool:
    """Whether a run was killed while it replaced the entries of `folder`, which are now a mix of old and new ones."""
    return (folder / _REPLACING).exists()


def finish_replacing(folder: Path) -> None:
    """Finish a replacement of the entries of `folder` that a killed run began; the caller must hold its lock."""
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
    """Finish the replacement that a killed run began in `folder`, and remove its hidden folders."""
    if not folder.is_dir() or not (is_half_replaced(folder) or any(folder.glob(f"{COLLECTING}*"))):
        return
    with held(folder):
        finish_replacing(folder)
        for path in folder.glob(f"{COLLECTING}*"):
            remove(path)


def remove(path: Path) -> None:
    """Remove a file, link or folder if it exists; a mount point is emptied and stays."""
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
    """Remove the entries of a folder, or of a link's target; a path that is no folder is ignored."""
    if folder.is_dir():
        for path in folder.iterdir():
            remove(path)


def move(source: Path, destination: Path) -> None:
    """Move a file or folder; an existing destination folder is merged into. A second call finishes a killed one."""
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
    """Copy a file or folder by hard links, which take no space; by bytes if the file system has no hard links."""

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
    """Rename folder `new` to `path`, atomically if the system can, and remove the old folder."""
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
    """Exchange two names atomically by Linux's renameat2 with RENAME_EXCHANGE; False if that is not possible."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    at_cwd, rename_exchange = -100, 2
    return renameat2 is not None and (
        renameat2(at_cwd, os.fsencode(one), at_cwd, os.fsencode(other), rename_exchange) == 0
    )


def umask() -> int:
    """The permission bits that are cleared for new files of this process."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
