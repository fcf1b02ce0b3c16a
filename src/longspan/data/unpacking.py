"""Opens files as streams of decompressed bytes with an upper bound; memory does not grow with the file."""

import bz2
import gzip
import importlib
import io
import lzma
import os
import stat
import sys
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

from longspan.errors import InputError
from longspan.limits import DATA_BYTES, bound_of_archive, bound_of_file, too_large

CHUNK = 1 << 20
STANDARD_INPUT = "standard input"
"""Its name in errors."""
# 1 KiB of Zstandard data can unpack to 32 MiB; the package does not limit the output of one call.
_ZST_BYTES = 1 << 10


class ByteCounter:
    """Counts the bytes read from a source, as stored on the disk (compressed), for progress bars."""

    def __init__(self) -> None:
        self.n_bytes = 0


def open_stream(path: Path, counter: ByteCounter, *, most_bytes: int | None = None) -> io.BufferedReader:
    """Open a file for reading; .gz, .xz, .bz2, .zip (of one file) and .zst are decompressed.

    A file of another name is decompressed if its first bytes are those of one of these formats except .zip.

    Args:
        path: the file.
        counter: counts the bytes read.
        most_bytes: bound on the (unpacked) size, for files that are kept in memory as a whole. None: the file is read
            as a stream, so that only compressed files, pipes and devices are bounded.

    Raises:
        InputError: the file does not exist, is not readable, or needs the package zstandard; or, while reading, the
            compressed data is damaged or truncated, or the bound is exceeded.
    """
    try:
        raw = path.open("rb", buffering=0)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; pass a file") from None
    except PermissionError:
        raise InputError(f"{path} is not readable; change its permissions") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; pass a file") from None
    try:
        return io.BufferedReader(_Decompressed(str(path), path.suffix.lower(), raw, counter, most_bytes), CHUNK)
    except InputError:
        raw.close()
        raise


def open_standard_input(counter: ByteCounter, *, most_bytes: int | None = None) -> io.BufferedReader:
    """Open standard input, as `open_stream` opens a file without a suffix.

    Raises:
        InputError: as `open_stream`, or standard input is closed.
    """
    if sys.stdin is None:
        raise InputError(f"{STANDARD_INPUT} is closed; pass a file")
    return io.BufferedReader(_Decompressed(STANDARD_INPUT, "", sys.stdin.buffer, counter, most_bytes), CHUNK)


class _Decompressed(io.RawIOBase):
    """Decompresses an open file; errors name the file, and the bytes read are counted and bounded."""

    def __init__(self, name: str, ending: str, raw: IO[bytes], counter: ByteCounter, most_bytes: int | None) -> None:
        self.name, self.raw, self.counter = name, raw, counter
        self.n_out = 0
        self.counted = _Counted(raw, counter)
        is_regular, size = _regular_size(raw)
        try:
            self.ending = ending if ending in _OPENERS else self.counted.ending_of_content()
        except OSError as error:
            raise InputError(f"{name} cannot be read: {error}; pass a file") from error
        opener = _OPENERS.get(self.ending)
        self.is_packed = opener is not None
        self.bound: int | None = None if most_bytes is None else bound_of_file(most_bytes)
        if self.is_packed:
            of_archive = bound_of_archive(size)
            self.bound = of_archive if self.bound is None else min(self.bound, of_archive)
        elif self.bound is None and not is_regular:
            self.bound = bound_of_file(DATA_BYTES)
        if not self.is_packed:
            self.require(size)
        try:
            self.opened: Any = self.counted if opener is None else opener(name, self.counted, self)
        except zipfile.BadZipFile as error:
            raise self.broken(error) from error

    def readable(self) -> bool:
        return True

    def require(self, n_bytes: int, *, is_whole: bool = True) -> None:
        """Refuse content of `n_bytes`, declared or read so far, if that is above the bound."""
        if self.bound is not None and n_bytes > self.bound:
            raise too_large(self.name, n_bytes, self.bound, is_packed=self.is_packed, is_whole=is_whole)

    def broken(self, error: Exception) -> InputError:
        return InputError(
            f"{self.name}: its {self.ending} data is broken or cut after byte {self.n_out:,} of the text "
            f"({error}); fetch the file again"
        )

    def readinto(self, buffer: Any, /) -> int:
        try:
            data = self.opened.read(len(buffer))
            if not data and self.is_packed and not self.counted.n_read:
                raise EOFError("the file is empty")  # gzip would return no data
        except InputError:
            raise
        except (EOFError, lzma.LZMAError, zlib.error, zipfile.BadZipFile, NotImplementedError, OSError) as error:
            # bz2 ("Invalid data stream") and gzip ("Not a gzipped file") raise OSError.
            if not self.is_packed:
                raise InputError(f"{self.name} cannot be read: {error}; pass a file") from error
            raise self.broken(error) from error
        self.n_out += len(data)
        self.require(self.n_out, is_whole=False)
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed and self.name != STANDARD_INPUT:
            self.raw.close()
        super().close()


class _Counted(io.RawIOBase):
    """An open file that counts the bytes read; pipes have no position."""

    def __init__(self, raw: IO[bytes], counter: ByteCounter) -> None:
        self.raw, self.counter = raw, counter
        self.n_read = 0
        self.head = b""  # bytes that were read to detect the format

    def ending_of_content(self) -> str:
        """The suffix of the compression format of the content; "" if it is not compressed."""
        while len(self.head) < _LONGEST_SIGNATURE and (data := self.raw.read(_LONGEST_SIGNATURE - len(self.head))):
            self.head += data
        return next((ending for start, ending in _SIGNATURES.items() if self.head.startswith(start)), "")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self.raw.seekable()

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self.raw.seek(offset, whence)

    def tell(self) -> int:
        return self.raw.tell()

    def readinto(self, buffer: Any, /) -> int:
        if self.head:
            n = min(len(buffer), len(self.head))
            buffer[:n], self.head = self.head[:n], self.head[n:]
        else:
            n = self.raw.readinto(buffer)  # pyright: ignore[reportAttributeAccessIssue]
        self.n_read += n
        self.counter.n_bytes += n
        return n


class _Zst:
    """Reads Zstandard frames by the package zstandard, whose own reader does not detect a truncated file."""

    def __init__(self, name: str, raw: IO[bytes], decompressed: _Decompressed) -> None:
        try:
            self.zstandard = importlib.import_module("zstandard")
        except ModuleNotFoundError:
            raise InputError(f"reading {name} needs the package zstandard: pip install 'longspan[zstd]'") from None
        self.raw, self.decompressed = io.BufferedReader(raw, 1 << 16), decompressed  # pyright: ignore[reportArgumentType]
        self.frame = self.zstandard.ZstdDecompressor().decompressobj()
        self.is_at_start = False  # an empty file has no frame and is an error
        self.is_new = True  # the frame's header comes next
        self.out = memoryview(b"")

    def read(self, n: int) -> bytes | memoryview:
        while not self.out:
            if self.frame.eof:
                data = self.frame.unused_data
                self.frame = self.zstandard.ZstdDecompressor().decompressobj()
                self.is_at_start, self.is_new = not data, True
            else:
                data = b""
            data = data or self.raw.read(_ZST_BYTES)
            if not data:
                if self.is_at_start:
                    return b""
                raise EOFError("the last frame is not complete")
            self.is_at_start = False
            try:
                if self.is_new and len(data) >= _LONGEST_ZST_HEADER:
                    declared = self.zstandard.frame_content_size(data)
                    self.decompressed.require(self.decompressed.n_out + max(declared, 0))
                self.is_new = False
                self.out = memoryview(self.frame.decompress(data))
            except self.zstandard.ZstdError as error:
                raise EOFError(str(error)) from error
        some, self.out = self.out[:n], self.out[n:]
        return some


_LONGEST_ZST_HEADER = 18  # bytes; a shorter rest is decompressed without reading its declared size


def _gz(_: str, raw: IO[bytes], _decompressed: _Decompressed) -> gzip.GzipFile:
    return gzip.GzipFile(fileobj=raw)


def _xz(_: str, raw: IO[bytes], _decompressed: _Decompressed) -> lzma.LZMAFile:
    return lzma.LZMAFile(raw)


def _bz2(_: str, raw: IO[bytes], _decompressed: _Decompressed) -> bz2.BZ2File:
    return bz2.BZ2File(raw)


def _zip(name: str, raw: IO[bytes], decompressed: _Decompressed) -> IO[bytes]:
    try:
        archive = zipfile.ZipFile(raw)
    except io.UnsupportedOperation:
        raise InputError(f"{name} is a pipe, and a .zip cannot be read from one; pass the file") from None
    members = [
        member for member in archive.infolist() if not member.is_dir() and not member.filename.startswith("__MACOSX")
    ]
    if len(members) != 1:
        names = ", ".join(member.filename for member in members[:5]) or "none"
        raise InputError(f"{name} holds {len(members)} files ({names}); unpack it and pass one of them")
    if members[0].flag_bits & 1:
        raise InputError(f"{name} is encrypted; unpack it and pass the file")
    decompressed.require(members[0].file_size)
    return archive.open(members[0])


_OPENERS: dict[str, Any] = {".gz": _gz, ".xz": _xz, ".bz2": _bz2, ".zip": _zip, ".zst": _Zst}
# First bytes of compressed data; no text begins with them. A .zip is recognised by its name only, because .docx and
# other document formats are zip archives.
_SIGNATURES = {
    b"\x1f\x8b": ".gz",
    b"\xfd7zXZ\0": ".xz",
    b"\x28\xb5\x2f\xfd": ".zst",
    **{b"BZh%d1AY&SY" % level: ".bz2" for level in range(1, 10)},
}
_LONGEST_SIGNATURE = max(map(len, _SIGNATURES))


def _regular_size(raw: IO[bytes]) -> tuple[bool, int]:
    """Return whether an open file is a regular file, and its size."""
    try:
        status = os.fstat(raw.fileno())
    except OSError:  # it has no file descriptor
        return False, 0
    return stat.S_ISREG(status.st_mode), status.st_size
