"""Keeps the text and tokens of a document of any length in temporary files, and reads slices on demand."""

import contextlib
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from longspan.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_IN_MEMORY = 4 << 20
"""Bytes of a temporary file that stay in memory; enough for a novel."""
_BLOCK = 1 << 14  # characters; a slice of the text decodes the blocks it touches


class StoredText:
    """A text whose slices are read from a temporary file. Close it to remove the file."""

    def __init__(self) -> None:
        self._file = _TemporaryFile()
        self._ends = array("q", [0])  # of the blocks, in bytes
        self._n_characters = 0
        self._held = ""
        self._has_words = False
        # Callers read neighbouring slices one after the other.
        self._read_block = lru_cache(maxsize=4)(self._block)

    @property
    def is_blank(self) -> bool:
        """Whether the text has nothing but white space."""
        return not self._has_words

    def append(self, text: str) -> None:
        """Add `text` at the end."""
        self._has_words = self._has_words or not (text.isspace() or not text)
        self._n_characters += len(text)
        text = self._held + text
        end = len(text) - len(text) % _BLOCK
        for start in range(0, end, _BLOCK):
            self._ends.append(self._ends[-1] + self._file.append(text[start : start + _BLOCK].encode()))
        self._held = text[end:]

    def __len__(self) -> int:
        return self._n_characters

    def __getitem__(self, characters: slice) -> str:
        start, stop, step = characters.indices(self._n_characters)
        assert step == 1
        if start >= stop:
            return ""
        first, last = start // _BLOCK, (stop - 1) // _BLOCK
        blocks = [self._read_block(i) for i in range(first, last + 1)]
        blocks[-1] = blocks[-1][: stop - last * _BLOCK]
        blocks[0] = blocks[0][start - first * _BLOCK :]
        return "".join(blocks)

    def chunks(self) -> Iterator[str]:
        """Yield the whole text in order."""
        for i in range(len(self._ends)):
            yield self._block(i)

    def close(self) -> None:
        """Remove the file."""
        self._file.close()

    def _block(self, i: int) -> str:
        if i == len(self._ends) - 1:
            return self._held
        return self._file.read(self._ends[i], self._ends[i + 1] - self._ends[i]).decode()


class StoredDocument:
    """The tokens of a text, without special tokens, in temporary files. `close` removes them, but not the text.

    Attributes:
        text: the document's text.
        tokens: its tokens, which are read in slices.
    """

    def __init__(self, text: StoredText, tokenizer: "PreTrainedTokenizerBase") -> None:
        from longspan.data.qa.tokens import DocumentTokens, tokenise_in_pieces

        self.text = text
        self._ids, self._spans = _TemporaryFile(), _TemporaryFile()
        dtype = np.dtype(np.int32 if len(text) <= np.iinfo(np.int32).max else np.int64)
        n_tokens = 0
        for piece in tokenise_in_pieces(text.chunks(), tokenizer, dtype=dtype.type):
            self._ids.append(np.asarray(piece.ids).tobytes())
            self._spans.append(np.asarray(piece.spans).tobytes())
            n_tokens += len(piece.ids)
        self.tokens = DocumentTokens(
            _StoredRows(self._ids, n_tokens, (), np.dtype(np.int32)), _StoredRows(self._spans, n_tokens, (2,), dtype)
        )

    def close(self) -> None:
        """Remove the files."""
        for file in (self._ids, self._spans):
            file.close()


def store_text(chunks: Iterable[str]) -> StoredText:
    """Store the text of `chunks`.

    Raises:
        InputError: the folder of temporary files has no room; or any error of `chunks`.
    """
    text = StoredText()
    try:
        for chunk in chunks:
            text.append(chunk)
    except BaseException:
        text.close()
        raise
    return text


class _StoredRows:
    """Rows of an array in a file."""

    def __init__(self, file: "_TemporaryFile", n_rows: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._file, self._n_rows, self._shape, self._dtype = file, n_rows, shape, dtype
        self._n_bytes = dtype.itemsize * int(np.prod(shape))

    def __len__(self) -> int:
        return self._n_rows

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, step = rows.indices(self._n_rows)
        assert step == 1
        data = self._file.read(start * self._n_bytes, max(stop - start, 0) * self._n_bytes)
        return np.frombuffer(data, self._dtype).reshape(-1, *self._shape)


class _TemporaryFile:
    """A temporary file that is appended to and read anywhere. It has no name, so it is removed even after a kill."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 (`close` closes it)
        self._n_bytes = 0

    def append(self, data: bytes) -> int:
        with _explain_full_disk():
            self._file.seek(self._n_bytes)
            self._file.write(data)
        self._n_bytes += len(data)
        return len(data)

    def read(self, start: int, n_bytes: int) -> bytes:
        with _explain_full_disk():  # reading may first flush a write buffer
            self._file.seek(start)
            data = self._file.read(n_bytes)
        assert len(data) == n_bytes, "the range was written"
        return data

    def close(self) -> None:
        # A failed flush does not matter: the file is removed.
        with contextlib.suppress(OSError):
            self._file.close()


@contextlib.contextmanager
def _explain_full_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"the document cannot be kept in {tempfile.gettempdir()} ({error.strerror}); it needs some five times the "
            "size of its text there: make room, or name another folder with TMPDIR"
        ) from error
