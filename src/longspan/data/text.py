"""A document as a user has it: one text file."""

from pathlib import Path

from longspan.data.corpora.fragments import Reading
from longspan.data.corpora.readers.tei import read_tei
from longspan.data.corpora.sources import format_of
from longspan.data.corpora.streams import Meter
from longspan.data.opening import read_text
from longspan.errors import InputError


def load_text(path: str | Path) -> str:
    """The text of a UTF-8 file (.txt; also .gz, .xz, .bz2, .zip, .zst), as it stands, line ends as newlines.

    Of a TEI file (.xml, .tei; as novels are kept in libraries) it is the text without the markup.

    Raises:
        InputError: there is no such file, it is not UTF-8 (the message says at which byte), it is XML but not TEI,
            or it holds no text.
    """
    text = _text_of_tei(Path(path)) if format_of(Path(path)) == "tei" else read_text(path)
    if not text.strip():
        raise InputError(f"{path} is empty; pass a document with text in it")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _text_of_tei(path: Path) -> str:
    reading = Reading(documents="file", text_field="")  # nothing that TEI needs to be told
    return "".join(fragment.text + "\n\n" * fragment.ends_document for fragment in read_tei(path, reading, Meter()))
