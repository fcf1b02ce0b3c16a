"""Detects that a write failed for lack of space: a full disk, an exhausted quota, or a limit on file sizes."""

import contextlib
import errno
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from longspan.errors import InputError

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# A disk without room for this many bytes counts as full; more than the block size of any file system.
_SMALL = 1 << 16


def is_full_disk(error: BaseException, written: Path | None = None, n_bytes: int = 0) -> bool:
    """Whether `error` was caused by lack of space; the arguments are those of `no_room_behind`."""
    return no_room_behind(error, written, n_bytes) is not None


def no_room_behind(error: BaseException, written: Path | None = None, n_bytes: int = 0) -> OSError | None:
    """Find the OSError about lack of space that caused `error`; None if the cause is another one.

    The errors in the chain of `error` are searched for such an errno. torch, safetensors and numpy raise errors without
    an errno; if the chain has none, the disk is tested for free space.

    Args:
        error: raised while something was written.
        written: the file that was written, or a folder that holds only written files; None: the disk is not tested.
        n_bytes: size of the data, for libraries that remove a file that they could not finish.
    """
    has_number = False
    for link in _chain(error):
        if isinstance(link, OSError) and link.errno is not None:
            has_number = True
            if link.errno in NO_ROOM:
                return link
    if has_number or written is None or isinstance(error, (InputError, KeyboardInterrupt, SystemExit, GeneratorExit)):
        return None
    return _test_free_space(written, max(n_bytes, _SMALL))


class DeferredErrorFile(io.RawIOBase):
    """A writable file that keeps the first write error and raises it when it is closed.

    For torch.export.save, whose writer ends the process if a write raises.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("wb")
        self._error: OSError | None = None

    def writable(self) -> bool:
        """Always True."""
        return True

    def seekable(self) -> bool:
        """Always True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position; after an error, do nothing and return 0."""
        return self._unless_failed(lambda: self._file.seek(offset, whence), 0)

    def tell(self) -> int:
        """The position in bytes."""
        return self._file.tell()

    def write(self, data: Any) -> int:
        """Write `data`; after an error, do nothing and report `data` as written."""
        return self._unless_failed(lambda: self._file.write(data), memoryview(data).nbytes)

    def _unless_failed(self, do: Callable[[], int], otherwise: int) -> int:
        try:
            if self._error is None:
                return do()
        except OSError as error:
            self._error = error
        return otherwise

    def close(self) -> None:
        """Close the file.

        Raises:
            OSError: a write failed.
        """
        if self.closed:
            return
        super().close()
        try:
            self._file.close()
        except OSError as error:
            self._error = self._error or error
        if self._error is not None:
            raise self._error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """`error` and all errors in its chain of causes and contexts."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        link = waiting.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            yield link
            waiting += [link.__context__, link.__cause__]


def _test_free_space(written: Path, n_bytes: int) -> OSError | None:
    """Try to reserve `n_bytes` beside `written`, and room at the end of each file; returns the error about space."""
    folder = written if written.is_dir() else written.parent
    files = [written] if written.is_file() else [path for path in folder.rglob("*") if path.is_file()]
    try:
        if shutil.disk_usage(folder).free < n_bytes:
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        for path in files:  # a file may have reached a limit on file sizes although the disk has room
            _reserve(os.open(path, os.O_WRONLY), _SMALL)
        handle, name = tempfile.mkstemp(dir=folder)
        try:
            _reserve(handle, n_bytes)
        finally:
            os.unlink(name)
    except OSError as error:
        return error if error.errno in NO_ROOM else None
    return None


def _reserve(handle: int, n_bytes: int) -> None:
    """Reserve room at the end of an open file, release it, and close the file.

    Raises:
        OSError: there is no room.
    """
    size = os.fstat(handle).st_size
    try:
        if hasattr(os, "posix_fallocate"):  # not on macOS
            os.posix_fallocate(handle, size, n_bytes)
    finally:
        with contextlib.suppress(OSError):
            os.ftruncate(handle, size)
        os.close(handle)
