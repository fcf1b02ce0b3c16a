"""Whether something could not be written for want of room: a full disk, a used-up quota, a limit on a file's size."""

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
# A disk that cannot take this much more is full, whatever size of block it has.
_SMALL = 1 << 16


def is_full_disk(error: BaseException, written: Path | None = None, n_bytes: int = 0) -> bool:
    """Whether `error` says that there was no room to write; the arguments are those of `no_room_behind`."""
    return no_room_behind(error, written, n_bytes) is not None


def no_room_behind(error: BaseException, written: Path | None = None, n_bytes: int = 0) -> OSError | None:
    """The system's refusal to write for want of room that is behind `error`; None if it is an error of another kind.

    The error itself or one it is chained to has the number of such a refusal. Where no number is in the chain (torch,
    safetensors and numpy write files by themselves), the disk is asked whether it could take more.

    Args:
        error: raised while something was written.
        written: the file that was written, or the folder that holds nothing but what was; None: the disk is not asked.
        n_bytes: size of what was to be written where the library removes what it could not finish.
    """
    has_number = False
    for link in _chain(error):
        if isinstance(link, OSError) and link.errno is not None:
            has_number = True
            if link.errno in NO_ROOM:
                return link
    if has_number or written is None or isinstance(error, (InputError, KeyboardInterrupt, SystemExit, GeneratorExit)):
        return None
    return _ask(written, max(n_bytes, _SMALL))


class PatientFile(io.RawIOBase):
    """A file for a library that does not survive a refusal: the first one is kept, and raised when it is closed.

    What torch.export.save uses ends the process instead of raising an error.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("wb")
        self._refusal: OSError | None = None

    def writable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As in other files; nowhere after a refusal."""
        return self._unless_refused(lambda: self._file.seek(offset, whence), 0)

    def tell(self) -> int:
        """As in other files."""
        return self._file.tell()

    def write(self, data: Any) -> int:
        """Write `data`, or nothing any more after a refusal."""
        return self._unless_refused(lambda: self._file.write(data), memoryview(data).nbytes)

    def _unless_refused(self, do: Callable[[], int], otherwise: int) -> int:
        try:
            if self._refusal is None:
                return do()
        except OSError as error:
            self._refusal = error
        return otherwise

    def close(self) -> None:
        """Close the file.

        Raises:
            OSError: not everything could be written.
        """
        if self.closed:
            return
        super().close()
        try:
            self._file.close()
        except OSError as error:
            self._refusal = self._refusal or error
        if self._refusal is not None:
            raise self._refusal


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """`error`, what it was raised from or during, and so on."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        link = waiting.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            yield link
            waiting += [link.__context__, link.__cause__]


def _ask(written: Path, n_bytes: int) -> OSError | None:
    """The error with which the system refuses `n_bytes` more beside or at the end of what was written, if it does."""
    folder = written if written.is_dir() else written.parent
    files = [written] if written.is_file() else [path for path in folder.rglob("*") if path.is_file()]
    try:
        if shutil.disk_usage(folder).free < n_bytes:
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        for path in files:  # a file may have reached the largest size that is allowed, on a disk with room
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
    """Let the system reserve room at the end of an open file, give it back, and close the file.

    Raises:
        OSError: it refuses.
    """
    size = os.fstat(handle).st_size
    try:
        if hasattr(os, "posix_fallocate"):  # not on macOS
            os.posix_fallocate(handle, size, n_bytes)
    finally:
        with contextlib.suppress(OSError):
            os.ftruncate(handle, size)
        os.close(handle)
