"""Writing files and folders so that a killed run leaves the old state or the new one, never half of either."""

import contextlib
import ctypes
import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from longspan.errors import InputError


@contextlib.contextmanager
def replace_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path` to write to; on success it is renamed to `path`.

    Raises:
        InputError: the folder does not exist and cannot be made, is not writable, or the disk is full.
    """
    path = Path(path)
    with _explain_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
    temporary = Path(name)
    try:
        with _explain_os_errors(path):
            yield temporary
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replace_directory(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary sibling folder to fill; on success it takes the place of `path`.

    Args:
        path: the folder to make.
        overwrite: allow `path` to hold files; they are gone once the new folder is complete.

    Raises:
        InputError: `path` is a file, is not empty while `overwrite` is False, is not writable, or the disk is full.
    """
    path = Path(path)
    require_writable_directory(path, overwrite=overwrite)
    with _explain_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        with _explain_os_errors(path):
            yield temporary
            os.chmod(temporary, 0o777 & ~_umask())
            _swap(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def require_writable_file(path: str | Path) -> None:
    """Raise an InputError unless a file can be written at `path`: to be asked before the work, not after it."""
    path = Path(path)
    with _explain_os_errors(path):
        if path.is_dir():
            raise InputError(f"{path} is a folder; choose a file for the output")
        _require_writable(_existing(path.absolute().parent), path)


def require_writable_directory(path: str | Path, *, overwrite: bool = False) -> None:
    """Raise an InputError unless a folder can be made at `path` (and is empty, unless `overwrite`)."""
    path = Path(path)
    with _explain_os_errors(path):
        _require_writable_directory(path, overwrite=overwrite)


def _require_writable_directory(path: Path, *, overwrite: bool) -> None:
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file, not a folder; choose another output folder")
    if path.is_dir() and any(path.iterdir()) and not overwrite:
        raise InputError(f"{path} is not empty; choose another folder or allow overwriting (--overwrite)")
    _require_writable(_existing(path), path)


def _existing(path: Path) -> Path:
    """`path`, or the nearest above it that exists."""
    while not path.exists():
        path = path.parent
    return path


def _require_writable(existing: Path, path: Path) -> None:
    if not existing.is_dir():
        raise InputError(f"{existing} is a file, so {path} cannot be made; choose another output folder")
    if not os.access(existing, os.W_OK):
        raise InputError(f"{existing} is not writable; choose another output folder or change its permissions")


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


_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# How safetensors and torch's zip writer, which have errors of their own kinds, say it.
_NO_SPACE_IN_WORDS = (
    os.strerror(errno.ENOSPC), os.strerror(errno.EFBIG), "file write failed", "PytorchStreamWriter failed"
)  # fmt: skip


def is_full_disk(error: BaseException) -> bool:
    """Whether something could not be written because the disk, or the user's share of it, is full."""
    if isinstance(error, OSError):
        return error.errno in _NO_SPACE
    return not isinstance(error, InputError) and any(words in str(error) for words in _NO_SPACE_IN_WORDS)


# What a user can mend by choosing another place; anything else keeps its own traceback.
_REFUSALS = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EEXIST,  # a file stands where a folder has to be made
    errno.EFBIG,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}


@contextlib.contextmanager
def _explain_os_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write `path` into an InputError."""
    try:
        yield
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        raise InputError(f"cannot write {path}: {error.strerror}; choose another place") from error
    except Exception as error:
        if not is_full_disk(error):
            raise
        raise InputError(f"cannot write {path}: {os.strerror(errno.ENOSPC)}; choose another place") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
