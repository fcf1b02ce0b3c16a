"""Reading whole files, compressed or not, with errors that name the file and the byte."""

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
    """The bytes of a file, decompressed where its name ends in .gz, .xz, .bz2, .zip (of one file) or .zst.

    Raises:
        InputError: there is no such file, it is a folder or not readable, its compressed data is broken or cut, or it
            holds more than the bound (`longspan.limits`).
    """
    with open_stream(Path(path), ByteCounter(), most_bytes=DATA_BYTES) as stream:
        return b"".join(iter(lambda: stream.read(CHUNK), b""))


def read_text(path: str | Path) -> str:
    """The text of a UTF-8 file, decompressed as by `read_bytes`; a byte order mark is left out.

    Raises:
        InputError: as `read_bytes`; or the bytes are not UTF-8 (the message says at which byte).
    """
    return decode(path, read_bytes(path))


def split_lines(text: str) -> list[str]:
    """The lines of a text. `str.splitlines` ends lines at U+2028, U+0085 and other characters of a text, too."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def read_json(path: str | Path) -> Any:
    """The value in a JSON file, decompressed as by `read_bytes`.

    Raises:
        InputError: as `read_bytes` and `parse_json`.
    """
    return parse_json(path, read_bytes(path))


def parse_json(path: str | Path, data: bytes) -> Any:
    """The value in the bytes of a JSON file; `path` is for errors.

    Raises:
        InputError: the bytes are not UTF-8 or not JSON. A file that was cut says after which byte it ends, other
            mistakes at which byte they stand (both counted in the decompressed file).
    """
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
    except ValueError:  # Python reads no integer of more than 4,300 digits
        raise InputError(f"{path} holds an integer that is too long to be data") from None
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
