"""Reads whole files, compressed or not, with errors that name the file and the byte."""

import json
import re
from pathlib import Path
from typing import Any

from longspan.data.decoding import decode
from longspan.data.unpacking import CHUNK, ByteCounter, open_stream
from longspan.errors import InputError
from longspan.limits import DATA_BYTES

COMPRESSIONS = (".gz", ".xz", ".bz2", ".zip", ".zst")


def read_bytes(path: str | Path) -> bytes:
    """Read the bytes of a file; .gz, .xz, .bz2, .zip (of one file) and .zst are decompressed.

    Raises:
        InputError: the file does not exist, is a folder or not readable, has damaged or truncated compressed data, or
            is larger than the bound (`longspan.limits`).
    """
    with open_stream(Path(path), ByteCounter(), most_bytes=DATA_BYTES) as stream:
        return b"".join(iter(lambda: stream.read(CHUNK), b""))


def read_text(path: str | Path) -> str:
    """Read a UTF-8 file as text, decompressed as by `read_bytes`, without a byte order mark.

    Raises:
        InputError: as `read_bytes`; or the bytes are not UTF-8 (the message has the offset).
    """
    return decode(path, read_bytes(path))


def split_lines(text: str) -> list[str]:
    r"""Split a text at \n, \r\n and \r; `str.splitlines` also splits at U+2028, U+0085 and other characters."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def read_json(path: str | Path) -> Any:
    """Read the value in a JSON file, decompressed as by `read_bytes`.

    Raises:
        InputError: as `read_bytes` and `parse_json`.
    """
    return parse_json(path, read_bytes(path))


def parse_json(path: str | Path, data: bytes) -> Any:
    """Parse the bytes of a JSON file; `path` is for errors.

    Raises:
        InputError: the bytes are not UTF-8 or not JSON. The message has the length of a truncated file, or the offset
            of another mistake (both in bytes of the decompressed file).
    """
    try:
        text = decode(path, data)
    except InputError:
        if _ends_inside_a_character(data):
            raise cut_json(path, len(data)) from None
        raise
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if is_cut_json(error, text):
            raise cut_json(path, len(data)) from error
        byte = len(data) - len(text.encode()) + len(text[: error.pos].encode())
        raise InputError(
            f"{path} is not JSON: {error.msg} at byte {byte} (line {error.lineno}, column {error.colno})"
        ) from error
    except ValueError:  # Python reads no integer of more than 4,300 digits
        raise InputError(f"{path} holds an integer that is too long to be data") from None
    except RecursionError:
        raise InputError(f"{path} is nested too deeply to be a data set") from None


def cut_json(path: str | Path, n_bytes: int) -> InputError:
    """What to say of a JSON file that ends too early, after `n_bytes` of its decompressed content."""
    return InputError(f"{path} is cut: it ends after byte {n_bytes:,} in the middle of its JSON; fetch the file again")


def _ends_inside_a_character(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return False


# Values that may be unfinished at the end of a truncated file, besides a string.
_WORDS = ("true", "false", "null", "NaN", "Infinity", "-Infinity")
_NUMBER_TAIL = re.compile(r"\.|[eE][+-]?")


def is_cut_json(error: json.JSONDecodeError, text: str) -> bool:
    """Whether the JSON goes wrong only because the text ends."""
    if error.msg.startswith("Unterminated string"):
        return True
    rest = text[error.pos :].strip()
    if error.msg.startswith("Invalid \\"):
        # An escape such as \u00e4 that is cut off by the end of the text is within its last six characters.
        return len(rest) < len("\\u00e4") and '"' not in rest
    is_unfinished = any(word.startswith(rest) for word in _WORDS) or _NUMBER_TAIL.fullmatch(rest) is not None
    return is_unfinished and error.msg.startswith("Expecting")
