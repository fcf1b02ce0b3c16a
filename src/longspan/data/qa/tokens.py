"""Documents and questions as tokens with their places in the text, and the special tokens that go around both."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from longspan.data.corpora.cutting import SENTENCE_END, SPACE
from longspan.data.plain_text import plain_text_of
from longspan.errors import InputError
from longspan.graphemes import is_sure_boundary, whole_graphemes


class Rows(Protocol):
    """Rows of an array, in memory or in a file, which slices read."""

    def __len__(self) -> int: ...
    def __getitem__(self, rows: slice, /) -> np.ndarray: ...


class DocumentTokens(NamedTuple):
    """A text's tokens, without special ones: int32 `ids` [T], and `spans` [T, 2], their characters (see `_tidy`)."""

    ids: Rows
    spans: Rows


class Template(NamedTuple):
    """How the tokenizer frames a pair: special tokens (ids, types) before, between and after the two texts."""

    before: list[tuple[int, int]]
    between: list[tuple[int, int]]
    after: list[tuple[int, int]]
    question_type: int
    context_type: int

    @property
    def n_special(self) -> int:
        """Special tokens around a pair."""
        return len(self.before) + len(self.between) + len(self.after)


def find_template(tokenizer: PreTrainedTokenizerBase) -> Template:
    """Read the frame off one tokenised pair: no table of tokenizer families is needed."""
    encoding = _backend_encode(tokenizer, [("a", "a")], add_special_tokens=True)[0]
    frame = list(zip(encoding.ids, encoding.type_ids, strict=True))
    of_question = [i for i, sequence in enumerate(encoding.sequence_ids) if sequence == 0]
    of_context = [i for i, sequence in enumerate(encoding.sequence_ids) if sequence == 1]
    if not of_question or not of_context or of_context[0] < of_question[-1]:
        raise InputError(
            f"{type(tokenizer).__name__} does not put the question before the document in a pair; "
            "use a tokenizer whose pair template does"
        )
    return Template(
        before=frame[: of_question[0]],
        between=frame[of_question[-1] + 1 : of_context[0]],
        after=frame[of_context[-1] + 1 :],
        question_type=encoding.type_ids[of_question[0]],
        context_type=encoding.type_ids[of_context[0]],
    )


def tokenise(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, bar: tqdm) -> list[DocumentTokens]:
    """Tokens of each text, none of them special even where one is written in it; equal texts share one result."""
    tokens: dict[str, DocumentTokens] = {}
    waiting: dict[str, None] = {}
    n_characters = 0

    def flush() -> None:
        encodings = _backend_encode(tokenizer, list(waiting), add_special_tokens=False)
        for text, encoding in zip(waiting, encodings, strict=True):
            spans = np.array(encoding.offsets, np.int32).reshape(-1, 2)
            tokens[text] = DocumentTokens(np.array(encoding.ids, np.int32), _tidy(text, spans))
        waiting.clear()

    for text in texts:
        if text not in tokens and text not in waiting:
            if len(text) > _PIECE + _CONTEXT:
                # Cut, because the tokenizer takes over a hundred bytes for each character.
                parts = list(tokenise_in_pieces([text], tokenizer))
                tokens[text] = DocumentTokens(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
                continue
            waiting[text] = None
            n_characters += len(text)
            # Enough to keep the tokenizer's threads busy, little enough to hold in memory.
            if n_characters > 1_000_000:
                flush()
                n_characters = 0
        bar.update()
    flush()
    return [tokens[text] for text in texts]


def tokenise_ids(text: str, tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    """Return the tokens of a text, int32 [T], none of them special: those of `tokenise_in_pieces`, without places."""
    if len(text) > _PIECE + _CONTEXT:
        return np.concatenate([np.asarray(piece.ids) for piece in tokenise_in_pieces([text], tokenizer)])
    (encoding,) = _backend_encode(tokenizer, [text], add_special_tokens=False)
    return np.array(encoding.ids, np.int32)


_PIECE = 1 << 15
"""Characters that are tokenised at once of a longer text, where there is a safe place to cut it."""
_LONGEST_PIECE = 1 << 18
_CONTEXT = 200
"""Characters after a cut that it is checked with."""
_N_TRIES = 12


def tokenise_in_pieces(
    chunks: Iterable[str], tokenizer: PreTrainedTokenizerBase, *, dtype: Any = np.int32
) -> Iterator[DocumentTokens]:
    """Tokens of one piece of a text after the other; together they are those of the whole text.

    A piece is tokenised with the characters that follow it, and ends where these, tokenised alone, have the same
    tokens. Such places are looked for before white space, then after the ends of sentences. Where a text has none in
    32,768 characters, the piece grows, up to 262,144 characters. A text that has none in these is cut between
    any two tokens; there a token or two may differ from those of the whole text.

    Args:
        chunks: the text, in order.
        tokenizer: a fast one.
        dtype: of the spans, which count characters of the whole text.
    """
    held, n_before, n_skipped = "", 0, 0

    def shift(tokens: DocumentTokens) -> DocumentTokens:
        return DocumentTokens(tokens.ids[n_skipped:], tokens.spans[n_skipped:].astype(dtype) + dtype(n_before))

    wanted = _PIECE
    for chunk in chunks:
        held += chunk
        start = 0
        while len(held) - start > wanted + _CONTEXT:
            cut = _cut(held[start : start + wanted + _CONTEXT], wanted, tokenizer)
            if cut is None:
                wanted *= 2
                continue
            tokens, end, n_next = cut
            yield shift(tokens)
            start, n_before, n_skipped, wanted = start + end, n_before + end, n_next, _PIECE
        held = held[start:]
    yield shift(_encode(held, tokenizer))


def _encode(text: str, tokenizer: PreTrainedTokenizerBase) -> DocumentTokens:
    (encoding,) = _backend_encode(tokenizer, [text], add_special_tokens=False)
    spans = np.array(encoding.offsets, np.int32).reshape(-1, 2)
    return DocumentTokens(np.array(encoding.ids, np.int32), _tidy(text, spans))


def _cut(text: str, last: int, tokenizer: PreTrainedTokenizerBase) -> tuple[DocumentTokens, int, int] | None:
    """The tokens of a piece that begins `text`, its end, `last` at most, and the tokens to leave out of the next.

    None if no place is safe, unless the text is as long as a piece may be.
    """
    is_longest = last >= _LONGEST_PIECE
    first = 0 if is_longest else last - last // 4
    found = [[match.start() for match in pattern.finditer(text, first, last)] for pattern in (SPACE, SENTENCE_END)]
    places = [place for some in found for place in some[: -_N_TRIES - 1 : -1]]
    if not places and not is_longest:
        return None
    tokens = _encode(text, tokenizer)
    if is_longest:
        ends = np.asarray(tokens.spans)[::-1, 1].tolist()
        places += [end for end in ends if 0 < end <= last][:_N_TRIES]
    for place in places:
        if (
            is_sure_boundary(text[place - 1 : place + 1])
            and (cut := _check(text, place, tokens, tokenizer)) is not None
        ):
            n, n_next = cut
            return DocumentTokens(tokens.ids[:n], tokens.spans[:n]), place, n_next
    return (_encode(text[:last], tokenizer), last, 0) if is_longest else None


def _check(text: str, place: int, tokens: DocumentTokens, tokenizer: PreTrainedTokenizerBase) -> tuple[int, int] | None:
    """How many of the text's tokens stand before a safe place, and how many are only at the start of the text after it.

    None if the place is not safe: the text after it has other tokens, or is blank and tells nothing.
    """
    if not text[place:].strip():
        return None
    ids, spans = np.asarray(tokens.ids), np.asarray(tokens.spans)
    after = _encode(text[place:], tokenizer)
    for n_skipped in (0, 1):  # some tokenizers put a lone "▁" before every text
        n_after = len(after.ids) - n_skipped
        n = len(ids) - n_after
        if n_after < 1 or n < 1 or spans[n - 1, 1] > place or not np.array_equal(after.ids[n_skipped:], ids[n:]):
            continue
        if np.array_equal(after.spans[n_skipped:] + np.int32(place), spans[n:]):
            return n, n_skipped
    return None


def _backend_encode(tokenizer: PreTrainedTokenizerBase, texts: Sequence[Any], *, add_special_tokens: bool) -> list[Any]:
    """The tokenizers library's own encodings, without truncation or padding; the tokenizer is left as it was."""
    backend: Any = getattr(tokenizer, "backend_tokenizer")  # noqa: B009 - only fast tokenizers have one
    truncation, padding = backend.truncation, backend.padding
    backend.no_truncation()
    backend.no_padding()
    try:
        return backend.encode_batch(texts) if add_special_tokens else plain_text_of(tokenizer).encode_batch(texts)
    finally:
        if truncation is not None:
            backend.enable_truncation(**truncation)
        if padding is not None:
            backend.enable_padding(**padding)


def _tidy(text: str, spans: np.ndarray) -> np.ndarray:
    """Spans as a reader would draw them: no blanks at their ends, no grapheme cut.

    Tokenizers differ in whether a token holds the blank before it. And a token may be a part of a grapheme: of an emoji
    in bytes, of a syllable that a normaliser composes, of a letter whose mark it strips. All tokens of a grapheme have
    its whole span.
    """
    is_blank = np.fromiter((character.isspace() for character in text), bool, len(text))
    places = np.arange(len(text))
    # For each character (and the end), the next that is no blank, and the end of the last before it that is none.
    next_full = np.append(np.where(is_blank, len(text), places), len(text))
    next_full = np.minimum.accumulate(next_full[::-1])[::-1]
    last_full = np.insert(np.where(is_blank, 0, places + 1), 0, 0)
    last_full = np.maximum.accumulate(last_full)
    start, end = next_full[spans[:, 0]], last_full[spans[:, 1]]
    # A token of blanks only keeps its span.
    tidy = np.where((start < end)[:, None], np.stack([start, end], 1), spans)
    if len(spans) and not text.isascii():
        # Between two characters before U+0300, white space apart, a grapheme ends.
        may_join = np.fromiter((character >= "\u0300" for character in text), bool, len(text))
        may_join = np.append(may_join, False)[np.stack([tidy - 1, tidy])].any((0, 2))
        for row in np.flatnonzero(may_join):
            tidy[row] = whole_graphemes(text, *tidy[row].tolist())
    return tidy.astype(np.int32)
