"""Documents as overlapping windows of tokens, with the document's label where they are trained on."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from longspan.errors import InputError
from longspan.tasks.task import FeatureSet

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from longspan.data.classification import LabelledText


class WindowRow(dict[str, Any]):
    """One window: `input_ids`, `token_type_ids`, `example_index`, `window_index`, and `labels` where it has some."""


class DocumentWindows(FeatureSet):
    """The windows of some documents, tokenised once.

    Args:
        examples: the documents.
        tokenizer: a fast one.
        max_length: longest window in tokens, special ones included.
        overlap: tokens of the document that neighbouring windows share.
        first_only: make the first window of each document alone.
        target_of: example -> what the model is trained towards; None for rows without labels.

    Raises:
        InputError: special tokens and a pair's second text leave no room for the document.
    """

    def __init__(
        self,
        examples: "Sequence[LabelledText]",
        tokenizer: "PreTrainedTokenizerBase",
        *,
        max_length: int,
        overlap: int,
        first_only: bool = False,
        target_of: Callable[[Any], Any] | None = None,
    ) -> None:
        from longspan.data.qa.tokens import tokenise_ids

        self.counts: dict[str, int] = {}
        self.lengths: list[int] = []
        self.n_tokens: list[int] = []
        self._rows: list[WindowRow] = []
        single = _find_frame(tokenizer, None)
        n_cut = 0
        for index, example in enumerate(examples):
            pair = None if example.pair is None else tokenise_ids(example.pair, tokenizer).tolist()
            frame = single if pair is None else _find_frame(tokenizer, pair)
            room = frame.room(max_length, example.id)
            ids = tokenise_ids(example.text, tokenizer).tolist()
            self.n_tokens.append(frame.n_tokens + len(ids))
            n_cut += len(ids) > room
            for window, own in enumerate(overlapping([ids], room, overlap)):
                if first_only and window:
                    break
                row = frame.row(own, index, window)
                if target_of is not None:
                    row["labels"] = target_of(example)
                self._rows.append(row)
                self.lengths.append(len(row["input_ids"]))
        if first_only and n_cut:
            self.counts["documents_cut"] = n_cut

    def __getitem__(self, index: int) -> WindowRow:
        """Return one window."""
        return self._rows[index]

    def sort_longest_first(self) -> None:
        """Put long windows first: what does not fit into memory fails at once."""
        order = np.argsort([-n for n in self.lengths], kind="stable")
        self._rows = [self._rows[i] for i in order]
        self.lengths = [self.lengths[i] for i in order]


class DocumentStream:
    """The windows of one document, made while its text is read: memory does not grow with the document.

    They are those of `DocumentWindows`. A text is read and tokenised to its end also if only its first window is made,
    because its tokens are counted.

    Attributes:
        n_tokens: of the whole document, special ones once; of what was read so far until the last window is out.

    Args:
        index: of the document, for its rows.
        chunks: its text, in order.
        tokenizer: a fast one.
        max_length: longest window in tokens, special ones included.
        overlap: tokens of the document that neighbouring windows share.
        first_only: make the first window alone.

    Raises:
        InputError: special tokens leave no room for the document.
    """

    def __init__(
        self,
        index: int,
        chunks: Iterable[str],
        tokenizer: "PreTrainedTokenizerBase",
        *,
        max_length: int,
        overlap: int,
        first_only: bool = False,
    ) -> None:
        self._index, self._chunks, self._tokenizer = index, chunks, tokenizer
        self._frame = _find_frame(tokenizer, None)
        self._room = self._frame.room(max_length, str(index))
        self._overlap, self._first_only = overlap, first_only
        self.n_tokens = self._frame.n_tokens

    def __iter__(self) -> Iterator[WindowRow]:
        for window, ids in enumerate(overlapping(self._counted_ids(), self._room, self._overlap)):
            if window == 0 or not self._first_only:
                yield self._frame.row(ids, self._index, window)

    def _counted_ids(self) -> Iterator[list[int]]:
        from longspan.data.qa.tokens import tokenise_in_pieces

        for piece in tokenise_in_pieces(self._chunks, self._tokenizer, dtype=np.int64):
            self.n_tokens += len(piece.ids)
            yield np.asarray(piece.ids).tolist()


def overlapping(pieces: Iterable[list[int]], room: int, overlap: int) -> Iterator[list[int]]:
    """Return windows of at most `room` tokens; each but the last is full, and one without tokens stands for no text.

    Args:
        pieces: the tokens of a document, in order.
        room: tokens of a window, at least 1.
        overlap: tokens that neighbouring windows share; windows share half if `overlap` is not below `room`.
    """
    step = room - overlap if overlap < room else (room + 1) // 2
    held: list[int] = []
    for piece in pieces:
        held += piece
        start = 0
        while len(held) - start > room:
            yield held[start : start + room]
            start += step
        held = held[start:]
    yield held


class _Frame(NamedTuple):
    """What stands around a document's tokens in a window: special tokens, and a pair's second text; (id, type) each."""

    before: list[tuple[int, int]]
    after: list[tuple[int, int]]
    document_type: int
    has_pair: bool

    @property
    def n_tokens(self) -> int:
        return len(self.before) + len(self.after)

    def room(self, max_length: int, name: str) -> int:
        """Return how many tokens of the document a window holds."""
        room = max_length - self.n_tokens
        if room >= 1:
            return room
        if self.has_pair:
            raise InputError(
                f"document {name!r}: its second text and the special tokens are {self.n_tokens:,} tokens and leave no "
                f"room in a window of {max_length:,}; shorten the second text"
            )
        raise InputError(
            f"a window of {max_length:,} tokens holds no text beside {self.n_tokens:,} special tokens; raise max_length"
        )

    def row(self, ids: list[int], index: int, window: int) -> WindowRow:
        """Return the window with these tokens of the document."""
        return WindowRow(
            input_ids=[*(i for i, _ in self.before), *ids, *(i for i, _ in self.after)],
            token_type_ids=[
                *(kind for _, kind in self.before),
                *[self.document_type] * len(ids),
                *(kind for _, kind in self.after),
            ],
            example_index=index,
            window_index=window,
        )


def _find_frame(tokenizer: "PreTrainedTokenizerBase", pair: list[int] | None) -> _Frame:
    """Return the frame of a document, or of a document and its second text."""
    from longspan.data.corpora.encoder import find_frame
    from longspan.data.qa.tokens import find_template

    if pair is None:
        frame = find_frame(tokenizer)
        return _Frame([(i, 0) for i in frame.before], [(i, 0) for i in frame.after], 0, False)
    template = find_template(tokenizer)
    after = [*template.between, *((i, template.context_type) for i in pair), *template.after]
    return _Frame(template.before, after, template.question_type, True)
