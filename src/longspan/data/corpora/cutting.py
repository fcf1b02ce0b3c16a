"""Documents of any length in pieces that are tokenised one by one, cut where the tokens stay those of the whole.

A tokenizer looks at a whole text, but what it makes of one word does not depend on words far away. So a place is safe
to cut where the tokens of some 200 characters before and after it, tokenised together, are those of the two sides
tokenised apart; this is looked up for every cut, with the tokenizer itself, and cuts that fail are tried elsewhere.
Where words decide alone (every tokenizer that splits at white space first: BERT's WordPiece, RoBERTa's byte-level BPE,
the Unigram models of XLM-R and its kin) the tokens are then those of the whole document.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from longspan.data.corpora.fragments import Fragment

MAX_PIECE = 1 << 15  # characters; a token's characters are kept in 16 bits, so never more than 65,535
_CONTEXT = 200  # characters on each side that a cut is checked with
_N_TRIES = 12

SPACE = re.compile(r"(?<=\S)(?=\s)")
# For texts without white space (Chinese, Japanese, Thai, ...): after the end of a sentence or a clause, else anywhere.
SENTENCE_END = re.compile(r"(?<=[。．！？…；，、」』।॥።؟.!?;,])(?=[^\s。．！？…」』.!?])")

Encode = Callable[[list[str]], list[list[int]]]


class Piece(NamedTuple):
    """Text to tokenise: what of the document follows the piece before.

    Attributes:
        document: number of the document, from 0; its pieces follow each other.
        n_skipped: tokens at the start of the piece that are there only because a text starts there (XLM-R's lone "▁"),
            and are to be left out.
    """

    document: int
    text: str
    n_skipped: int


class Cutter:
    """Makes pieces of fragments; counts documents and cuts.

    Attributes:
        n_documents: given out so far.
        n_empty: records or files that held nothing but white space, and are left out.
        n_cuts: places where documents were cut.
        n_unsafe_cuts: those of them where no safe place was found: a token or two may differ from the whole's there.
        counts_empty: what holds no text is a record or a file, and not just more blank lines between documents.
    """

    def __init__(self, encode: Encode, *, max_piece: int = MAX_PIECE, context: int = _CONTEXT) -> None:
        self.encode, self.max_piece, self.context = encode, max_piece, context
        self.counts_empty = False
        self.n_documents = self.n_empty = self.n_cuts = self.n_unsafe_cuts = 0

    def pieces(self, fragments: Iterable[Fragment]) -> Iterator[Piece]:
        """Pieces of at most `max_piece + context` characters, documents without the white space around them."""
        parts: list[str] = []  # of the document that have not been given out
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
        """Where to end the piece that begins at `start`, and how many tokens to leave out of the next one."""
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
        """How many tokens to leave out of what begins at `end` so that nothing differs; None where it would."""
        left = from_first_word(text[max(start, end - self.context) : end])
        right = to_last_word(text[end : end + self.context])
        both, before, after = self.encode([left + right, left, right])
        if both == before + after:
            return 0
        # More has to follow than the token that is left out: else the cut is inside of one token of the whole, such as
        # the [UNK] of a very long word, and the characters behind it would belong to none.
        adds = len(after) > 1 or right.isspace()
        return 1 if adds and both == before + after[1:] else None


def from_first_word(text: str) -> str:
    """Without the word that the start of the text may cut, where there is another."""
    found = SPACE.search(text)
    return text[found.start() :] if found and found.start() < len(text) - 1 else text


def to_last_word(text: str) -> str:
    """Without the word that the end of the text may cut, where there is another."""
    words = text.rstrip()
    ends = [found.start() for found in SPACE.finditer(words)]
    return words[: ends[-1]] if ends and ends[-1] > 0 else words
