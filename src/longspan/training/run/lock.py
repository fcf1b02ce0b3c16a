"""One run at a time in an output folder."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from longspan.errors import InputError
from longspan.replacing import LOCK, is_mount, resolved

# Data workers of a run that was killed inherited its lock, and live on until they notice, some 5 seconds.
_WAIT_SECONDS = 15.0


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder`; the system gives it back when the process ends, however it ends.

    The lock is a file beside the folder, since the folder itself is replaced when a run is finished; of a mount point,
    or below a folder that may not be written, a file in it, since such a folder stays.

    Raises:
        InputError: another process holds it, or the file cannot be made.
    """
    try:
        import fcntl  # noqa: F401
    except ImportError:  # a system without flock
        yield
        return
    folder = resolved(folder)
    path = folder.with_name(f".{folder.name}.lock")
    if folder.is_dir() and (is_mount(folder) or not os.access(folder.parent, os.W_OK | os.X_OK)):
        path = folder / LOCK
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; choose another output_dir") from error
    try:
        until = time.monotonic() + _WAIT_SECONDS
        while not (is_held := _take(file)) and time.monotonic() < until:
            time.sleep(min(0.5, _WAIT_SECONDS))
        if not is_held:
            holder = os.pread(file, 100, 0).decode(errors="replace").strip()
            raise InputError(
                f"{folder} is in use by another run{f' (process {holder})' if holder else ''}; wait for it, or choose "
                "another output_dir"
            )
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(file)


def _take(file: int) -> bool:
    """Whether the lock is ours now."""
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
