"""Files as streams of text, decompressed and decoded a megabyte at a time: memory does not grow with the file."""

import bz2
import gzip
import importlib
import io
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from longspan.data.decoding import decode_chunks
from longspan.data.opening import COMPRESSIONS
from longspan.errors import InputError

STREAMED = tuple(ending for ending in COMPRESSIONS if ending != ".zip")
"""Compressions of one stream of bytes: all but .zip, which is an archive of files."""
_CHUNK = 1 << 20


class Meter:
    """Counts the bytes of the source read so far, compressed as they lie on the disk; a progress bar reads it."""

    def __init__(self) -> None:
        self.n_bytes = 0


def open_stream(path: Path, meter: Meter) -> io.BufferedReader:
    """The bytes of a file, decompressed where its name ends in one of `STREAMED`.

    Raises:
        InputError: there is no such file, it may not be read, zstandard is missing; or, while reading, the compressed
            data is broken or cut.
    """
    try:
        raw = path.open("rb")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; pass a file") from None
    except PermissionError:
        raise InputError(f"{path} is not readable; change its permissions") from None
    return io.BufferedReader(_Decompressed(path, raw, meter), _CHUNK)


def text_chunks(path: Path, meter: Meter) -> Iterator[str]:
    """The text of a UTF-8 file, a million characters at a time; line ends as newlines, no byte order mark.

    Raises:
        InputError: as `open_stream`, or the bytes are not UTF-8 (the message has the offset of the first wrong byte,
            counted in the decompressed file).
    """
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    with open_stream(path, meter) as stream:
        for text in decode_chunks(path, iter(lambda: stream.read(_CHUNK), b"")):
            yield newlines.decode(text)
        yield newlines.decode("", final=True)


class _Decompressed(io.RawIOBase):
    """The decompressed bytes of an open file; names the file where they are broken, and counts what was read."""

    def __init__(self, path: Path, raw: IO[bytes], meter: Meter) -> None:
        self.path, self.raw, self.meter = path, raw, meter
        self.n_before = meter.n_bytes
        self.n_out = 0
        opened: Any = _OPENERS.get(path.suffix.lower(), lambda _, raw: raw)(path, raw)
        self.opened = opened

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        try:
            data = self.opened.read(len(buffer))
            if not data and self.opened is not self.raw and not self.raw.tell():
                raise EOFError("the file is empty")  # gzip takes it for one without text
        except (EOFError, lzma.LZMAError, zlib.error, OSError) as error:
            # OSError: bz2 says "Invalid data stream" with it, gzip "Not a gzipped file".
            raise InputError(
                f"{self.path}: its {self.path.suffix} data is broken or cut after byte {self.n_out:,} of the text "
                f"({error}); fetch the file again"
            ) from error
        buffer[: len(data)] = data
        self.n_out += len(data)
        self.meter.n_bytes = self.n_before + self.raw.tell()
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self.raw.close()
        super().close()


class _Zst:
    """Reads Zstandard frames through the package zstandard, whose own reader takes a cut file for a short one."""

    def __init__(self, path: Path, raw: IO[bytes]) -> None:
        try:
            self.zstandard = importlib.import_module("zstandard")
        except ModuleNotFoundError:
            raw.close()
            raise InputError(f"reading {path} needs the package zstandard: pip install 'longspan[zstd]'") from None
        self.raw = raw
        self.frame = self.zstandard.ZstdDecompressor().decompressobj()
        self.is_at_start = False  # an empty file holds no frame: it is broken
        self.out = memoryview(b"")

    def read(self, n: int) -> bytes | memoryview:
        while not self.out:
            if self.frame.eof:
                data = self.frame.unused_data
                self.frame = self.zstandard.ZstdDecompressor().decompressobj()
                self.is_at_start = not data
            else:
                data = b""
            data = data or self.raw.read(1 << 16)
            if not data:
                if self.is_at_start:
                    return b""
                raise EOFError("the last frame is not complete")
            self.is_at_start = False
            try:
                self.out = memoryview(self.frame.decompress(data))
            except self.zstandard.ZstdError as error:
                raise EOFError(str(error)) from error
        some, self.out = self.out[:n], self.out[n:]
        return some


def _gz(_: Path, raw: IO[bytes]) -> gzip.GzipFile:
    return gzip.GzipFile(fileobj=raw)


def _xz(_: Path, raw: IO[bytes]) -> lzma.LZMAFile:
    return lzma.LZMAFile(raw)


def _bz2(_: Path, raw: IO[bytes]) -> bz2.BZ2File:
    return bz2.BZ2File(raw)


_OPENERS: dict[str, Any] = {".gz": _gz, ".xz": _xz, ".bz2": _bz2, ".zst": _Zst}
