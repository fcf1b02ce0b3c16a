"""One run at a time in an output folder."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from longspan.errors import InputError
from longspan.replacing import LOCK, is_mount, resolved

# A run waits this long for another one to end. The data workers of a killed run may hold its lock for some 5 seconds.
_WAIT_SECONDS = 15.0


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder`; the system releases it when the process ends, however it ends.

    The lock is a file beside the folder, because a finished run replaces the folder itself. A mount point, and a folder
    whose parent cannot be written, are never replaced: there the file is in the folder.

    Raises:
        InputError: another process holds it, or the file cannot be made.
    """
    folder = resolved(folder)
    path = folder.with_name(f".{folder.name}.lock")
    if folder.is_dir() and (is_mount(folder) or not os.access(folder.parent, os.W_OK | os.X_OK)):
        path = folder / LOCK
    lock = FileLock(path, thread_local=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=_WAIT_SECONDS)
    except Timeout:
        raise InputError(
            f"{folder} is in use by another run{_holder(path)}; wait for it, or choose another output_dir"
        ) from None
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; choose another output_dir") from error
    try:
        with contextlib.suppress(OSError):  # a full disk; Windows, where a locked file cannot be written
            path.write_text(f"{os.getpid()}\n", encoding="utf-8")
        yield
    finally:
        lock.release()


def _holder(path: Path) -> str:
    """The process that holds the lock, in words; empty if its file does not say."""
    try:
        with path.open("rb") as file:
            process = file.read(100).decode(errors="replace").strip()
    except OSError:
        return ""
    return f" (process {process})" if process else ""
