"""The gate of all text: bytes are decoded and strings checked here, from files, standard input and records alike."""

import codecs
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from longspan.errors import InputError

# How files begin that people take for documents.
_NOT_TEXT = {
    b"%PDF": "a PDF",
    b"PK\x03\x04": "an archive (as .docx, .odt and .epub files are)",
    b"\xd0\xcf\x11\xe0": "an old Office file",
}
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_HEAD = 1024
_MARK = "\ufeff"  # a byte order mark, decoded


def require_text(text: str, where: str) -> str:
    r"""`text`, if it consists of characters.

    A lone surrogate, half of a pair, is none: UTF-8 cannot hold it and no tokenizer takes it. JSON can write one
    (`"\ud83d"`), and Python puts one for each byte that it could not decode.

    Args:
        text: the value of a field.
        where: its file, record and field, for the error.

    Raises:
        InputError: there is a lone surrogate (the message says which one and at which character, from 0).
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{where} is not valid text: character {error.start:,} is U+{ord(text[error.start]):04X}, half of a "
            "surrogate pair; write the whole character or remove it"
        ) from None
    return text


def decode(name: str | Path, data: bytes, *, keep_mark: bool = False) -> str:
    """The text of UTF-8 bytes; arguments and errors as `decode_chunks`."""
    return "".join(decode_chunks(name, (data,), keep_mark=keep_mark))


def decode_chunks(name: str | Path, chunks: Iterable[bytes], *, keep_mark: bool = False) -> Iterator[str]:
    """The text of UTF-8 bytes that come in chunks of any size; line ends stay as they are.

    Args:
        name: what errors call the file.
        chunks: its bytes, decompressed.
        keep_mark: put a blank for a byte order mark, so that every character keeps its place; else leave it out.

    Raises:
        InputError: the bytes are not UTF-8 (the message has the offset of the first wrong one).
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    n_read = n_given = 0
    for data in chain(chunks, [b""]):
        if not n_read:
            _refuse_utf_16(name, data[:_HEAD])
        n_read += len(data)
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            # error.object is what the decoder had kept from before and the chunk: it ends where reading stands.
            raise not_utf8(name, n_read - len(error.object), error) from error
        if not n_given and text.startswith(_MARK):
            n_given += 1
            text = " " * keep_mark + text[1:]
        n_given += len(text)
        yield text


def not_utf8(name: str | Path, offset: int, error: UnicodeDecodeError) -> InputError:
    """What to say of bytes, starting at `offset` in the file, that did not decode."""
    data = error.object
    for signature, kind in _NOT_TEXT.items():
        if offset == 0 and data.startswith(signature):
            return InputError(f"{name} is {kind}, not text; convert it to a text file first")
    return InputError(
        f"{name} is not UTF-8: byte {offset + error.start:,} is 0x{data[error.start]:02x} ({error.reason}); "
        "save the file as UTF-8"
    )


def _refuse_utf_16(name: str | Path, head: bytes) -> None:
    """Refuse UTF-16: without its mark, English in UTF-16 is valid UTF-8 of which every second character is NUL."""
    if head.startswith(_UTF_16) or head.count(0) > len(head) // 4:
        raise InputError(f"{name} is not UTF-8 but UTF-16, or no text; save the file as UTF-8")
