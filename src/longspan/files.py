"""Atomic writing of files and folders: a killed run leaves either the old content or the new content."""

import contextlib
import errno
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from longspan.errors import InputError
from longspan.full_disk import NO_ROOM, no_room_behind
from longspan.replacing import (
    collecting_folder,
    entries_of,
    finish_replacing,
    held,
    is_half_replaced,
    is_mount,
    keeps_its_name,
    link,
    put_in_place,
    replace_entries,
    resolved,
    umask,
)

# Seconds to wait for a reader of a named pipe.
_READER_SECONDS = 30.0


@contextlib.contextmanager
def replace_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary file to write to; on success it replaces `path`.

    If `path` is a link, its target is replaced and the link stays. Some targets are written to instead of replaced:
    pipes, devices, open files such as /dev/stdout, and files that cannot be renamed over, because they are mount points
    or their folder is read-only. Only the latter can be left half-written by a kill.

    Raises:
        InputError: the folder does not exist and cannot be made, is not writable, or the disk is full.
    """
    path = Path(path)
    with _explain_os_errors(path):
        target = resolved(path)
        is_written_to = _is_written_to(path)
        if not is_written_to:
            target.parent.mkdir(parents=True, exist_ok=True)
        prefix, folder = (f"longspan.{target.name}.", None) if is_written_to else (f".{target.name}.", target.parent)
        handle, name = tempfile.mkstemp(prefix=prefix, dir=folder)
        os.close(handle)
    temporary = Path(name)
    try:
        with _explain_os_errors(path, temporary):
            yield temporary
            if is_written_to:
                _write_to(path, temporary)
            else:
                os.chmod(temporary, 0o666 & ~umask())
                os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replace_directory(
    path: str | Path, *, overwrite: bool = False, keep: Callable[[str], bool] = lambda _: False
) -> Iterator[Path]:
    """Yield a temporary folder to fill; on success it replaces `path`.

    If `path` is a link, its target is replaced. A folder that cannot be renamed over (a mount point, the working
    folder, a folder in a read-only folder) is filled in place, which survives a kill as well: `longspan.replacing`.

    Args:
        path: the folder to make.
        overwrite: allow `path` to hold files; they are removed once the new folder is complete.
        keep: predicate on the names of entries in `path`; those for which it is True are kept, unless the new folder
            has an entry of the same name.

    Raises:
        InputError: `path` is a file, is not empty while `overwrite` is False, is not writable, or the disk is full.
    """
    path = Path(path)
    require_writable_directory(path, overwrite=overwrite)
    with _explain_os_errors(path), contextlib.ExitStack() as stack:
        target = resolved(path)
        in_place = target.is_dir() and keeps_its_name(target)
        if in_place:
            stack.enter_context(held(target))
            finish_replacing(target)
            temporary, folder = collecting_folder(target)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            with _explain_os_errors(path, folder):
                yield folder
                if in_place:
                    replace_entries(temporary, target, keep)
                else:
                    for entry in entries_of(target) if target.is_dir() else ():
                        if keep(entry.name) and not os.path.lexists(folder / entry.name):
                            link(entry, folder / entry.name)
                    os.chmod(folder, 0o777 & ~umask())
                    put_in_place(folder, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def make_directory(path: str | Path) -> None:
    """Make a folder and its parents; if `path` is a dangling link, its target is made.

    Raises:
        InputError: the folder cannot be made.
    """
    with _explain_os_errors(Path(path)):
        resolved(path).mkdir(parents=True, exist_ok=True)


def require_whole(folder: Path) -> None:
    """Raise an InputError if a run was killed while it replaced the entries of `folder`."""
    if is_half_replaced(folder):
        raise InputError(
            f"{folder} is incomplete: the run that filled it was killed, or is still running; run the same command "
            "again, which completes the folder first"
        )


def require_writable_file(path: str | Path) -> None:
    """Raise an InputError unless a file can be written at `path`; call it before a long computation."""
    path = Path(path)
    with _explain_os_errors(path):
        if path.is_dir():
            raise InputError(f"{path} is a folder; choose a file for the output")
        if not _is_written_to(path):
            _require_writable(_existing(resolved(path).parent), path)
        elif not _may_be_written_to(path):
            raise InputError(f"{path} cannot be written to; choose another output file or change its permissions")


def require_writable_directory(path: str | Path, *, overwrite: bool = False) -> None:
    """Raise an InputError unless a folder can be made at `path` (and is empty, unless `overwrite`).

    If a killed run left the folder half replaced, the replacement is finished first.
    """
    path = Path(path)
    with _explain_os_errors(path):
        _require_writable_directory(resolved(path), path, overwrite=overwrite)


def _require_writable_directory(target: Path, path: Path, *, overwrite: bool) -> None:
    if target.exists() and not target.is_dir():
        raise InputError(f"{path} is a file, not a folder; choose another output folder")
    _require_writable(_existing(target), path)
    if not target.is_dir():
        return
    if is_half_replaced(target):
        with held(target):
            finish_replacing(target)
    if entries_of(target) and not overwrite:
        raise InputError(f"{path} is not empty; choose another folder or allow overwriting (--overwrite)")


def _existing(path: Path) -> Path:
    """`path`, or its nearest parent that exists."""
    while not path.exists():
        path = path.parent
    return path


def _require_writable(existing: Path, path: Path) -> None:
    if not existing.is_dir():
        raise InputError(f"{existing} is a file, so {path} cannot be made; choose another output folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f"{existing} is not writable; choose another output folder or change its permissions")


def _is_written_to(path: Path) -> bool:
    """Whether `path`, which may not exist, is written to instead of replaced (`replace_file`).

    Raises:
        InputError: `path` is a disk or a socket.
    """
    if _open_file_of(path) is not None:
        return True
    target = resolved(path)
    try:
        mode = target.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    if stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):
        kind = "a disk" if stat.S_ISBLK(mode) else "a socket"
        raise InputError(f"{path} is {kind}, which cannot hold a file; choose another output file")
    if stat.S_ISREG(mode):
        can_be_written = os.access(target, os.W_OK)
        return is_mount(target) or (can_be_written and not os.access(target.parent, os.W_OK | os.X_OK))
    return not stat.S_ISDIR(mode)


def _open_file_of(path: Path) -> int | None:
    """The descriptor that a path names: 1 for /dev/stdout, 63 for /dev/fd/63, None for other paths."""
    folders = {"/dev/fd", "/proc/self/fd", f"/proc/{os.getpid()}/fd"}
    name = os.path.abspath(path)
    for _ in range(40):  # ends circular links
        folder = os.path.realpath(os.path.dirname(name))
        if folder in folders and re.fullmatch(r"\d+", os.path.basename(name)):
            return int(os.path.basename(name))
        if not os.path.islink(name):
            return None
        name = os.path.join(folder, os.readlink(name))
    return None


def _may_be_written_to(path: Path) -> bool:
    number = _open_file_of(path)
    if number is None:
        return os.access(path, os.W_OK)
    import fcntl

    return fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY


def _write_to(path: Path, source: Path) -> None:
    """Write the bytes of file `source` to a pipe, device or open file, or over the bytes of a file."""
    number = _open_file_of(path)
    if number is not None:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        handle = os.dup(number)
    elif path.is_fifo():
        handle = _open_pipe(path)
    else:
        handle = os.open(path, os.O_WRONLY | getattr(os, "O_NOCTTY", 0))
    with os.fdopen(handle, "wb") as file, source.open("rb") as bytes_of:
        if number is None and path.is_file():
            _require_room(handle, source.stat().st_size)
        shutil.copyfileobj(bytes_of, file)
        if number is None and path.is_file():
            file.truncate()


def _require_room(handle: int, n_bytes: int) -> None:
    """Reserve an open file's new size, so that a full disk is noticed before any old byte is overwritten."""
    size = os.fstat(handle).st_size
    try:
        if n_bytes > size and hasattr(os, "posix_fallocate"):
            os.posix_fallocate(handle, 0, n_bytes)
    except OSError as error:
        os.ftruncate(handle, size)
        if error.errno in NO_ROOM:
            raise


def _open_pipe(path: Path) -> int:
    """Wait until a named pipe has a reader, and open it.

    Raises:
        InputError: the pipe has no reader after `_READER_SECONDS`.
    """
    until = time.monotonic() + _READER_SECONDS
    while True:
        try:
            handle = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            if time.monotonic() > until:
                raise InputError(
                    f"nothing reads from the pipe {path}; start the program that reads from it, or choose a file"
                ) from error
            time.sleep(0.05)
        else:
            os.set_blocking(handle, True)
            return handle


# Errors that a user can fix by choosing another place; other errors keep their traceback.
_REFUSALS = NO_ROOM | {
    errno.EACCES,
    errno.EBADF,  # /dev/fd/N of a file that is not open
    errno.EBUSY,
    errno.EEXIST,  # a file stands where a folder has to be made
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOTDIR,
    errno.ENXIO,
    errno.EPERM,
    errno.EROFS,
}


@contextlib.contextmanager
def _explain_os_errors(path: Path, written: Path | None = None) -> Iterator[None]:
    """Convert errors of writing `path` into an InputError; `written` is the file or folder written so far."""
    try:
        yield
    except Exception as error:
        refusal = no_room_behind(error, written)
        if refusal is None and isinstance(error, OSError) and error.errno in _REFUSALS:
            refusal = error
        if refusal is None or isinstance(error, InputError):
            raise
        raise InputError(f"cannot write {path}: {refusal.strerror}; choose another place") from error
