"""Layouts of blocks: `documents` packs whole documents, `continuous` cuts one stream."""

from typing import NamedTuple, Protocol

import numpy as np

from longspan.data.corpora.corpus import SourceTokens
from longspan.data.corpora.encoder import Frame
from longspan.data.corpora.packing import pack


class Segment(NamedTuple):
    """Consecutive tokens of one document in a block.

    Attributes:
        document: number of the document in its source's cache.
        start: position of the first token in the document.
        length: number of tokens.
        at: position of the first token in the source's store.
    """

    document: int
    start: int
    length: int
    at: int


class Layout(Protocol):
    """Maps a source's documents to blocks."""

    n_blocks: int
    n_dropped_tokens: int

    def segments(self, block: int) -> tuple[list[Segment], bool]:
        """A block's segments in order; and is there a separator before the first one."""
        ...


class DocumentsLayout:
    """Packs documents, each framed by special tokens and separate from the others; only longer ones are cut."""

    n_dropped_tokens = 0

    def __init__(self, tokens: SourceTokens, frame: Frame, max_tokens: int) -> None:
        self.documents, self.starts = tokens.documents, tokens.starts
        self.packing = pack(tokens.lengths, max_tokens, len(frame.before) + len(frame.after))
        self.n_blocks = len(self.packing.first) - 1

    def segments(self, block: int) -> tuple[list[Segment], bool]:
        """A block's segments in order; never a separator."""
        some = slice(int(self.packing.first[block]), int(self.packing.first[block + 1]))
        columns = (self.packing.document[some], self.packing.start[some], self.packing.length[some])
        return [
            Segment(int(self.documents[i]), start, length, int(self.starts[i]) + start)
            for i, start, length in zip(*(column.tolist() for column in columns), strict=True)
        ], False


class ContinuousLayout:
    """Concatenates all documents to one stream, optionally with separators, and cuts it into blocks."""

    def __init__(
        self, tokens: SourceTokens, frame: Frame, max_tokens: int, *, has_separator: bool, drops_last: bool
    ) -> None:
        self.documents, self.starts = tokens.documents, tokens.starts
        self.n_separators = int(has_separator)
        self.capacity = max_tokens - len(frame.before) - len(frame.after)
        # The end of each document in the stream; there is a separator before each document but the first.
        sizes = tokens.lengths + self.n_separators
        self.ends = np.cumsum(sizes) - self.n_separators
        n_stream = int(self.ends[-1])
        self.n_blocks = n_stream // self.capacity if drops_last else -(-n_stream // self.capacity)
        self.n_dropped_tokens = 0
        if drops_last:
            rest = self._segments(self.n_blocks * self.capacity, n_stream)[0]
            self.n_dropped_tokens = sum(segment.length for segment in rest)

    def segments(self, block: int) -> tuple[list[Segment], bool]:
        """A block's segments in order; and is there a separator before the first one."""
        start = block * self.capacity
        return self._segments(start, min(start + self.capacity, int(self.ends[-1])))

    def _segments(self, start: int, stop: int) -> tuple[list[Segment], bool]:
        """Return the segments from `start` to `stop` of the stream.

        A segment of length 0 means that the separator before a document is the last token before `stop`.
        """
        found: list[Segment] = []
        has_separator_first = False
        i = int(np.searchsorted(self.ends, start, side="right"))
        at = start
        while at < stop:
            document_start = int(self.ends[i - 1]) + self.n_separators if i else 0
            if at < document_start:  # the separator before document i
                has_separator_first |= not found
                at = document_start
            end = min(stop, int(self.ends[i]))
            offset = at - document_start
            found.append(Segment(int(self.documents[i]), offset, end - at, int(self.starts[i]) + offset))
            at, i = end, i + 1
        return found, has_separator_first
