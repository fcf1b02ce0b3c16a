"""Reading whole files, compressed or not, with errors that name the file and the byte."""

import bz2
import gzip
import json
import lzma
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

from longspan.data.decoding import decode
from longspan.errors import InputError

COMPRESSIONS = (".gz", ".xz", ".bz2", ".zip", ".zst")


def read_bytes(path: str | Path) -> bytes:
    """The bytes of a file, decompressed where its name ends in .gz, .xz, .bz2, .zip (of one file) or .zst.

    Raises:
        InputError: there is no such file, it is a folder or not readable, or its compressed data is broken or cut.
    """
    path = Path(path)
    try:
        return _READERS.get(path.suffix.lower(), Path.read_bytes)(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; pass a file") from None
    except PermissionError:
        raise InputError(f"{path} is not readable; change its permissions") from None
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zipfile.BadZipFile, zlib.error, OSError) as error:
        # OSError last: bz2 says "Invalid data stream" with it.
        raise InputError(f"{path}: its {path.suffix} data is broken or cut ({error}); fetch the file again") from error


def read_text(path: str | Path) -> str:
    """The text of a UTF-8 file, decompressed as by `read_bytes`; a byte order mark is left out.

    Raises:
        InputError: as `read_bytes`; or the bytes are not UTF-8 (the message says at which byte).
    """
    return decode(path, read_bytes(path))


def read_json(path: str | Path) -> Any:
    """The value in a JSON file, decompressed as by `read_bytes`.

    Raises:
        InputError: as `read_text`; or the text is not JSON. A file that was cut says after which byte it ends, other
            mistakes at which byte they stand (both counted in the decompressed file).
    """
    data = read_bytes(path)
    try:
        text = decode(path, data)
    except InputError:
        if _ends_inside_a_character(data):
            raise _cut(path, len(data)) from None
        raise
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if _is_cut(error, text):
            raise _cut(path, len(data)) from error
        byte = len(data) - len(text.encode()) + len(text[: error.pos].encode())
        raise InputError(
            f"{path} is not JSON: {error.msg} at byte {byte} (line {error.lineno}, column {error.colno})"
        ) from error
    except RecursionError:
        raise InputError(f"{path} is nested too deeply to be a data set") from None


def _cut(path: str | Path, n_bytes: int) -> InputError:
    return InputError(f"{path} is cut: it ends after byte {n_bytes:,} in the middle of its JSON; fetch the file again")


def _ends_inside_a_character(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return False


# What may stand unfinished at the end of a cut file, besides a string.
_WORDS = ("true", "false", "null", "NaN", "Infinity", "-Infinity")
_NUMBER_TAIL = re.compile(r"\.|[eE][+-]?")


def _is_cut(error: json.JSONDecodeError, text: str) -> bool:
    """The JSON goes wrong only because the text ends."""
    if error.msg.startswith("Unterminated string"):
        return True
    rest = text[error.pos :].strip()
    if error.msg.startswith("Invalid \\"):
        # An escape such as \u00e4 that the end of the text cuts; it stands within the last six characters.
        return len(rest) < len("\\u00e4") and '"' not in rest
    is_unfinished = any(word.startswith(rest) for word in _WORDS) or _NUMBER_TAIL.fullmatch(rest) is not None
    return is_unfinished and error.msg.startswith("Expecting")


def _read_zip(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        members = [
            member
            for member in archive.infolist()
            if not member.is_dir() and not member.filename.startswith("__MACOSX")
        ]
        if len(members) != 1:
            names = ", ".join(member.filename for member in members[:5]) or "none"
            raise InputError(f"{path} holds {len(members)} files ({names}); unpack it and pass one of them")
        if members[0].flag_bits & 1:
            raise InputError(f"{path} is encrypted; unpack it and pass the file")
        return archive.read(members[0])


def _read_zst(path: Path) -> bytes:
    try:
        import zstandard  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError:
        raise InputError(f"reading {path} needs the package zstandard: pip install 'longspan[zstd]'") from None
    data, parts = path.read_bytes(), []
    try:
        # Frame by frame: zstandard's own reader takes a cut file for a short one.
        while data or not parts:
            frame = zstandard.ZstdDecompressor().decompressobj()
            parts.append(frame.decompress(data))
            if not frame.eof:
                raise EOFError("its last frame is not complete")
            data = frame.unused_data
    except zstandard.ZstdError as error:
        raise EOFError(str(error)) from error
    return b"".join(parts)


def _read_gz(path: Path) -> bytes:
    with gzip.open(path) as file:
        return file.read()


def _read_xz(path: Path) -> bytes:
    with lzma.open(path) as file:
        return file.read()


def _read_bz2(path: Path) -> bytes:
    with bz2.open(path) as file:
        return file.read()


_READERS = {".gz": _read_gz, ".xz": _read_xz, ".bz2": _read_bz2, ".zip": _read_zip, ".zst": _read_zst}
