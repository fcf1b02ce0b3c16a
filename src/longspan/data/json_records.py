"""Records of JSON files one after the other: a list of objects, or objects that follow each other (JSON lines).

Memory holds one record and a chunk of the file, so that files of any length can be read, and files that were cut give
the records before the cut.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from longspan.data.decoding import decode_chunks
from longspan.data.opening import cut_json, is_cut_json
from longspan.data.unpacking import CHUNK, ByteCounter, open_stream
from longspan.errors import InputError
from longspan.limits import LINE_BYTES, bound_of_file, too_large

_BLANKS = " \t\r\n"
_DECODER = json.JSONDecoder()


class JsonRecords:
    """The objects of a JSON file with their numbers, from 1. Iterate over it once.

    The file is a list of objects, or holds one object after the other with blanks or line ends between them. It may be
    compressed, and may be a pipe.

    Args:
        path: the file.
        allow_cut: end at the last whole record of a list that was cut, instead of an error; `is_cut` then says so.
        counter: counts what is read of the file.

    Attributes:
        is_cut: the file ended before its list did. What stood behind the last whole record is unknown.

    Raises:
        InputError: while iterating: as `open_stream`; or the file is empty, not UTF-8, not JSON (with the byte), cut,
            or holds something else than objects.
    """

    def __init__(self, path: str | Path, *, allow_cut: bool = False, counter: ByteCounter | None = None) -> None:
        self.path = Path(path)
        self.allow_cut = allow_cut
        self.is_cut = False
        self._counter = ByteCounter() if counter is None else counter
        # The text that is read and not given yet begins at `_at`; before `_text` there are `_n_before` bytes.
        self._text, self._at, self._n_before = "", 0, 0
        self._ends_inside_character = False

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """The number and the value of each record."""
        bound = bound_of_file(LINE_BYTES)
        with open_stream(self.path, self._counter) as stream:
            chunks = decode_chunks(self.path, iter(lambda: stream.read(CHUNK), b""))
            first = self._next_character(chunks)
            if not first:
                raise InputError(f"{self.path} is empty; pass a file of records")
            is_list = first == "["
            self._at += is_list
            number = 0
            while True:
                character = self._next_character(chunks)
                if is_list and number and character == ",":
                    self._at += 1
                    character = self._next_character(chunks)
                elif is_list and number and character not in ("", "]"):
                    raise self._malformed(f"a comma is missing behind record {number:,}", self._at)
                if is_list and character == "]":
                    self._at += 1
                    if self._next_character(chunks):
                        raise self._malformed("something follows the end of its list", self._at)
                    return
                record = self._record(chunks, number + 1, bound) if character else None
                if record is None:
                    if (is_list or character or self._ends_inside_character) and not self._note_cut():
                        raise cut_json(self.path, self._n_before + len(self._text.encode()))
                    return
                number += 1
                yield number, record

    def _note_cut(self) -> bool:
        self.is_cut = self.allow_cut
        return self.allow_cut

    def _next_character(self, chunks: Iterator[str]) -> str:
        """The next character that is no blank, where `_at` then stands; "" at the end of the file."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _BLANKS:
                    return self._text[self._at]
                self._at += 1
            if not self._read(chunks):
                return ""

    def _read(self, chunks: Iterator[str]) -> bool:
        """Read at least as much as waits already, so that a long record is parsed a few times only."""
        self._n_before += len(self._text[: self._at].encode())
        parts = [self._text[self._at :]]
        self._at = 0
        wanted, n_read = max(1, len(parts[0])), 0
        while n_read < wanted and (chunk := self._next_chunk(chunks)):
            parts.append(chunk)
            n_read += len(chunk)
        self._text = "".join(parts)
        return n_read > 0

    def _next_chunk(self, chunks: Iterator[str]) -> str:
        try:
            return next((chunk for chunk in chunks if chunk), "")
        except InputError as error:
            cause = error.__cause__
            if isinstance(cause, UnicodeDecodeError) and cause.reason == "unexpected end of data":
                self._ends_inside_character = True
                return ""
            raise

    def _record(self, chunks: Iterator[str], number: int, bound: int) -> dict[str, Any] | None:
        """The record at `_at`; None if the file ends within it."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if not is_cut_json(error, self._text):
                    raise self._malformed(error.msg, error.pos) from error
                if len(self._text) - self._at > bound:
                    raise too_large(f"{self.path}: record {number:,}", len(self._text), bound, is_whole=False) from None
                if not self._read(chunks):
                    return None
                continue
            except ValueError:  # Python reads no integer of more than 4,300 digits
                raise InputError(f"{self.path}: record {number:,} holds an integer that is too long") from None
            except RecursionError:
                raise InputError(f"{self.path}: record {number:,} is nested too deeply") from None
            if not isinstance(value, dict):
                raise InputError(
                    f"{self.path}: record {number:,} is not an object but {type(value).__name__}; pass a list of "
                    "objects, or one object a line"
                )
            self._at = end
            return value

    def _malformed(self, problem: str, place: int) -> InputError:
        byte = self._n_before + len(self._text[:place].encode())
        return InputError(f"{self.path} is not JSON: {problem} at byte {byte:,}; mend the file or fetch it again")
