"""Cuts documents of any length into pieces that are tokenised one by one, without changing their tokens.

The tokens of a word do not depend on words far away. So a cut is safe if the 200 characters before and after it have
the same tokens together as apart. The tokenizer itself checks every cut; if a check fails, another place is tried. For
tokenizers that split at white space first (BERT's WordPiece, RoBERTa's byte-level BPE, the Unigram models of XLM-R and
similar), the pieces then have exactly the tokens of the whole document.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from longspan.data.corpora.fragments import Fragment

MAX_PIECE = 1 << 15  # characters; at most 65,535, because a token's number of characters is stored in 16 bits
_CONTEXT = 200  # characters on each side of a cut that are used to check it
_N_TRIES = 12

SPACE = re.compile(r"(?<=\S)(?=\s)")
# For texts without white space (Chinese, Japanese, Thai, ...): the end of a sentence or a clause.
SENTENCE_END = re.compile(r"(?<=[。．！？…；，、」』।॥።؟.!?;,])(?=[^\s。．！？…」』.!?])")

Encode = Callable[[list[str]], list[list[int]]]


class Piece(NamedTuple):
    """The next part of a document to tokenise.

    Attributes:
        document: number of the document, from 0; its pieces are consecutive.
        text: the text.
        n_skipped: number of tokens at the start of the piece to leave out, because they exist only since a text starts
            there (XLM-R's lone "▁").
    """

    document: int
    text: str
    n_skipped: int


class Cutter:
    """Joins fragments and cuts them into pieces; counts documents and cuts.

    Attributes:
        n_documents: number of finished documents.
        n_empty: number of records or files without text, which are left out.
        n_cuts: number of cuts inside documents.
        n_unsafe_cuts: number of cuts without a safe place; one or two tokens may differ from those of the whole there.
        counts_empty: whether a document without text counts as empty; False if it is only a further blank line.
    """

    def __init__(self, encode: Encode, *, max_piece: int = MAX_PIECE, context: int = _CONTEXT) -> None:
        self.encode, self.max_piece, self.context = encode, max_piece, context
        self.counts_empty = False
        self.n_documents = self.n_empty = self.n_cuts = self.n_unsafe_cuts = 0

    def pieces(self, fragments: Iterable[Fragment]) -> Iterator[Piece]:
        """Yield pieces of at most `max_piece + context` characters; white space around documents is removed."""
        parts: list[str] = []  # parts of the current document that are not in a piece yet
        n_held, n_skipped, is_open = 0, 0, False
        for text, ends_document in fragments:
            if not is_open:
                text = text.lstrip()  # noqa: PLW2901  (the fragment itself is not needed)
            if text:
                parts.append(text)
                n_held += len(text)
                is_open = True
            if n_held > self.max_piece + self.context:
                held = "".join(parts)
                start = 0
                while len(held) - start > self.max_piece + self.context:
                    end, n_next = self._find_cut(held, start)
                    yield Piece(self.n_documents, held[start:end], n_skipped)
                    start, n_skipped = end, n_next
                parts, n_held = [held[start:]], len(held) - start
            if ends_document:
                rest = "".join(parts).rstrip()
                if rest:
                    yield Piece(self.n_documents, rest, n_skipped)
                if is_open:
                    self.n_documents += 1
                else:
                    self.n_empty += self.counts_empty
                parts, n_held, n_skipped, is_open = [], 0, 0, False

    def _find_cut(self, text: str, start: int) -> tuple[int, int]:
        """Return the end of the piece that begins at `start`, and the number of tokens to skip in the next piece."""
        self.n_cuts += 1
        last = start + self.max_piece
        for places in (SPACE, SENTENCE_END):
            for width in (self.max_piece // 16, self.max_piece // 2):
                ends = [found.start() for found in places.finditer(text, max(last - width, start + 1), last)]
                for end in ends[: -_N_TRIES - 1 : -1]:
                    if (n_skipped := self._check(text, start, end)) is not None:
                        return end, n_skipped
                if ends:
                    break
        for end in range(last, last - _N_TRIES, -1):
            if (n_skipped := self._check(text, start, end)) is not None:
                return end, n_skipped
        self.n_unsafe_cuts += 1
        return last, 0

    def _check(self, text: str, start: int, end: int) -> int | None:
        """Number of tokens to skip after a cut at `end`; None if the cut would change tokens."""
        left = from_first_word(text[max(start, end - self.context) : end])
        right = to_last_word(text[end : end + self.context])
        both, before, after = self.encode([left + right, left, right])
        if both == before + after:
            return 0
        # Another token must follow the skipped one. Otherwise the cut is inside a token of the whole text, such as the
        # [UNK] of a very long word, and the characters after the cut would belong to no token.
        adds = len(after) > 1 or right.isspace()
        return 1 if adds and both == before + after[1:] else None


def from_first_word(text: str) -> str:
    """Remove the first word, which may be cut, if there is another word."""
    found = SPACE.search(text)
    return text[found.start() :] if found and found.start() < len(text) - 1 else text


def to_last_word(text: str) -> str:
    """Remove the last word, which may be cut, if there is another word."""
    words = text.rstrip()
    ends = [found.start() for found in SPACE.finditer(words)]
    return words[: ends[-1]] if ends and ends[-1] > 0 else words
