"""Decodes bytes and validates strings; all text from files, standard input and records passes through here."""

import codecs
from collections.abc import Iterable, Iterator
from itertools import chain, count
from pathlib import Path
from typing import TypeVar

from longspan.errors import InputError

# First bytes of files that are often passed as text by mistake.
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
    r"""Return `text` if it has no lone surrogate.

    A lone surrogate (half of a surrogate pair) cannot be encoded in UTF-8, and no tokenizer accepts it. JSON can
    contain one (`"\ud83d"`), and Python uses one for each byte that it cannot decode.

    Args:
        text: the value of a field.
        where: its file, record and field, for the error.

    Raises:
        InputError: there is a lone surrogate (the message has its code and its character offset, from 0).
    """
    place = find_surrogate(text)
    if place is not None:
        raise InputError(
            f"{where} is not valid text: character {place:,} is U+{ord(text[place]):04X}, half of a surrogate pair; "
            "write the whole character or remove it"
        )
    return text


def find_surrogate(text: str) -> int | None:
    """Offset of the first lone surrogate; None if there is none."""
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None


def require_name(path: Path) -> None:
    """Refuse a file whose name is not UTF-8, because records contain the names of the files read.

    Raises:
        InputError: the name is not UTF-8.
    """
    if find_surrogate(str(path)) is not None:
        raise InputError(f"{str(path)!a}: this name is not UTF-8, and no record can hold it; rename the file")


def decoded_rows(rows: Iterable[Row], name: str | Path, *, first: int = 1, n_at_once: int = 1) -> Iterator[Row]:
    """Yield rows of Arrow data, with an InputError instead of a UnicodeDecodeError for text that is not UTF-8.

    Arrow decodes text when a row is accessed, and does not check it when it reads the file.

    Args:
        rows: the rows, or batches of rows.
        name: name of the file or data set in errors.
        first: number of the first row.
        n_at_once: rows per batch.

    Raises:
        InputError: text in a row is not UTF-8.
    """
    iterator = iter(rows)
    for n in count(first, n_at_once):
        try:
            row = next(iterator)
        except StopIteration:
            return
        except UnicodeDecodeError as error:
            which = f"row {n:,}" if n_at_once == 1 else f"one of the rows {n:,} to {n + n_at_once - 1:,}"
            before = error.object[: error.start][-30:].decode(errors="ignore")
            raise InputError(
                f"{name}: {which} holds text that is not UTF-8: byte {error.start:,} of it is "
                f"0x{error.object[error.start]:02x}, after {before!r}; write the file again as UTF-8"
            ) from error
        yield row


def decode(name: str | Path, data: bytes, *, keep_mark: bool = False) -> str:
    """Decode UTF-8 bytes; arguments and errors as in `decode_chunks`."""
    return "".join(decode_chunks(name, (data,), keep_mark=keep_mark))


def decode_chunks(name: str | Path, chunks: Iterable[bytes], *, keep_mark: bool = False) -> Iterator[str]:
    """Decode UTF-8 bytes that come in chunks of any size; line ends are not changed.

    Args:
        name: name of the file in errors.
        chunks: its decompressed bytes.
        keep_mark: keep a byte order mark at the beginning.

    Raises:
        InputError: the bytes are not UTF-8 (the message has the offset of the first wrong byte).
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
            # error.object is the rest of the last chunk and this chunk, so it ends after `n_read` bytes.
            raise not_utf8(name, n_read - len(error.object), error) from error
        if text and is_start:
            text = text if keep_mark else text.removeprefix(BYTE_ORDER_MARK)
            is_start = False
        yield text


def not_utf8(name: str | Path, offset: int, error: UnicodeDecodeError, row: str = "") -> InputError:
    """Return the error for bytes from `offset` of the file that are not UTF-8; `row` names their row or line."""
    data = error.object
    return (_no_text(name, data) if offset == 0 else None) or InputError(
        f"{name} is not UTF-8: byte {offset + error.start:,} is 0x{data[error.start]:02x} ({error.reason})"
        f"{row and f', in {row}'}; save the file as UTF-8"
    )


def _no_text(name: str | Path, data: bytes) -> InputError | None:
    """Return the error for a file that begins like a PDF, an archive or an Office file; None for other files."""
    kind = next((kind for signature, kind in _NOT_TEXT.items() if data.startswith(signature)), None)
    return None if kind is None else InputError(f"{name} is {kind}, not text; convert it to a text file first")


def _refuse_utf_16(name: str | Path, head: bytes) -> None:
    """Refuse UTF-16. Without a byte order mark, English in UTF-16 is valid UTF-8 with NUL as every second character."""
    if head.startswith(_UTF_16) or head.count(0) > max(3, len(head) // 4):
        raise _no_text(name, head) or InputError(f"{name} is not UTF-8 but UTF-16, or no text; save the file as UTF-8")
