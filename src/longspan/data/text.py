"""A document as a user has it: one text file."""

from pathlib import Path

from longspan.data.opening import read_text
from longspan.errors import InputError


def load_text(path: str | Path) -> str:
    """The text of a UTF-8 file (.txt; also .gz, .xz, .bz2, .zip, .zst), as it stands, line ends as newlines.

    Raises:
        InputError: there is no such file, it is not UTF-8 (the message says at which byte), or it holds no text.
    """
    text = read_text(path)
    if not text.strip():
        raise InputError(f"{path} is empty; pass a document with text in it")
    return text.replace("\r\n", "\n").replace("\r", "\n")
