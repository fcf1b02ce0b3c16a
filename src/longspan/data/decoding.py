"""The gate of all text: bytes are decoded and strings checked here, from files, standard input and records alike."""

import codecs
from collections.abc import Iterable, Iterator
from itertools import chain, count
from pathlib import Path
from typing import TypeVar

from longspan.errors import InputError

# How files begin that people take for documents.
_NOT_TEXT = {
    b"%PDF": "a PDF",
    b"PK\x03\x04": "an archive (as .docx, .odt and .epub files are)",
    b"\xd0\xcf\x11\xe0": "an old Office file",
}
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_HEAD = 1024
BYTE_ORDER_MARK = "\ufeff"

Row = TypeVar("Row")


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
    place = find_surrogate(text)
    if place is not None:
        raise InputError(
            f"{where} is not valid text: character {place:,} is U+{ord(text[place]):04X}, half of a surrogate pair; "
            "write the whole character or remove it"
        )
    return text


def find_surrogate(text: str) -> int | None:
    """The place of the first lone surrogate; None if there is none."""
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None


def require_name(path: Path) -> None:
    """Refuse a file that is found in a folder and whose name is not UTF-8: records name the files that were read.

    Raises:
        InputError: its name is not UTF-8.
    """
    if find_surrogate(str(path)) is not None:
        raise InputError(f"{str(path)!a}: this name is not UTF-8, and no record can hold it; rename the file")


def decoded_rows(rows: Iterable[Row], name: str | Path, *, first: int = 1, n_at_once: int = 1) -> Iterator[Row]:
    """Rows of Arrow's columns, whose bytes are decoded when a row is asked for.

    Args:
        rows: the rows, or batches of them.
        name: what errors call the file or data set.
        first: number of the first row.
        n_at_once: rows in a batch.

    Raises:
        InputError: text in a row is not UTF-8; Arrow does not look when it reads a file.
    """
    iterator = iter(rows)
    for n in count(first, n_at_once):
        try:
            row = next(iterator)
        except StopIteration:
            return
        except UnicodeDecodeError as error:
            told = f"row {n:,}" if n_at_once == 1 else f"one of the rows {n:,} to {n + n_at_once - 1:,}"
            before = error.object[: error.start][-30:].decode(errors="ignore")
            raise InputError(
                f"{name}: {told} holds text that is not UTF-8: byte {error.start:,} of it is "
                f"0x{error.object[error.start]:02x}, after {before!r}; write the file anew"
            ) from error
        yield row


def decode(name: str | Path, data: bytes, *, keep_mark: bool = False) -> str:
    """The text of UTF-8 bytes; arguments and errors as `decode_chunks`."""
    return "".join(decode_chunks(name, (data,), keep_mark=keep_mark))


def decode_chunks(name: str | Path, chunks: Iterable[bytes], *, keep_mark: bool = False) -> Iterator[str]:
    """The text of UTF-8 bytes that come in chunks of any size; line ends stay as they are.

    Args:
        name: what errors call the file.
        chunks: its bytes, decompressed.
        keep_mark: leave a byte order mark at the beginning where it is.

    Raises:
        InputError: the bytes are not UTF-8 (the message has the offset of the first wrong one).
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    n_read, is_start = 0, True
    for data in chain(chunks, [b""]):
        if not n_read:
            _refuse_utf_16(name, data[:_HEAD])
        n_read += len(data)
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            # error.object is what the decoder had kept from before and the chunk: it ends where reading stands.
            raise not_utf8(name, n_read - len(error.object), error) from error
        if text and is_start:
            text = text if keep_mark else text.removeprefix(BYTE_ORDER_MARK)
            is_start = False
        yield text


def not_utf8(name: str | Path, offset: int, error: UnicodeDecodeError) -> InputError:
    """What to say of bytes, starting at `offset` in the file, that did not decode."""
    data = error.object
    return (_no_text(name, data) if offset == 0 else None) or InputError(
        f"{name} is not UTF-8: byte {offset + error.start:,} is 0x{data[error.start]:02x} ({error.reason}); "
        "save the file as UTF-8"
    )


def _no_text(name: str | Path, data: bytes) -> InputError | None:
    """What to say of a file that begins as another kind of file does."""
    kind = next((kind for signature, kind in _NOT_TEXT.items() if data.startswith(signature)), None)
    return None if kind is None else InputError(f"{name} is {kind}, not text; convert it to a text file first")


def _refuse_utf_16(name: str | Path, head: bytes) -> None:
    """Refuse UTF-16: without its mark, English in UTF-16 is valid UTF-8 of which every second character is NUL."""
    if head.startswith(_UTF_16) or head.count(0) > max(3, len(head) // 4):
        raise _no_text(name, head) or InputError(f"{name} is not UTF-8 but UTF-16, or no text; save the file as UTF-8")
