"""Tokenises documents and questions with character spans, and finds the tokenizer's template for pairs."""

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
    """Rows of an array, in memory or in a file, that are read in slices."""

    def __len__(self) -> int: ...
    def __getitem__(self, rows: slice, /) -> np.ndarray: ...


class DocumentTokens(NamedTuple):
    """A text's tokens without special tokens: int32 `ids` [T], and their character `spans` [T, 2] (see `_tidy`)."""

    ids: Rows
    spans: Rows


class Template(NamedTuple):
    """The tokenizer's template of a pair: special tokens (id, type) before, between and after the two texts."""

    before: list[tuple[int, int]]
    between: list[tuple[int, int]]
    after: list[tuple[int, int]]
    question_type: int
    context_type: int

    @property
    def n_special(self) -> int:
        """Number of special tokens in a pair."""
        return len(self.before) + len(self.between) + len(self.after)


def find_template(tokenizer: PreTrainedTokenizerBase) -> Template:
    """Find the template by tokenising a pair, so that no table of tokenizer families is needed."""
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
    """Tokenise each text, with special tokens in it read as letters; equal texts share one result."""
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
                # In pieces, because the tokenizer takes over a hundred bytes per character.
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
"""Characters of a longer text that are tokenised at once, if there is a safe place to cut."""
_LONGEST_PIECE = 1 << 18
_CONTEXT = 200
"""Characters after a cut that are used to check it."""
_N_TRIES = 12


def tokenise_in_pieces(
    chunks: Iterable[str], tokenizer: PreTrainedTokenizerBase, *, dtype: Any = np.int32
) -> Iterator[DocumentTokens]:
    """Yield the tokens of a text piece by piece; together they are the tokens of the whole text.

    A piece is tokenised together with the characters that follow it. It may end at a place where these characters,
    tokenised alone, have the same tokens. Such safe places are searched before white space, then after the ends of
    sentences. If there is none in 32,768 characters, the piece grows, up to 262,144 characters. If there is none in
    these either, the text is cut between any two tokens, and one or two tokens may differ from those of the whole text.

    Args:
        chunks: the text, in order.
        tokenizer: a fast tokenizer.
        dtype: dtype of the spans, which count characters of the whole text.
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
    """Cut a piece of at most `last` characters off the start of `text`.

    Returns its tokens, its end, and the number of tokens to skip at the start of the next piece. None if there is no
    safe place and the piece may still grow.
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
    """Return the number of tokens before a safe place, and the number of tokens to skip at the start of the rest.

    None if the place is not safe: the rest, tokenised alone, has other tokens, or it is blank.
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
    """Encode without truncation or padding by the tokenizers library; the tokenizer's settings are restored."""
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
    """Return spans without blanks at their ends and without cut graphemes.

    Tokenizers differ in whether a token includes the blank before it. A token can also be a part of a grapheme: bytes
    of an emoji, a part of a syllable that a normaliser composes, a letter whose mark is stripped. All tokens of a
    grapheme get the grapheme's span.
    """
    is_blank = np.fromiter((character.isspace() for character in text), bool, len(text))
    places = np.arange(len(text))
    # For each character (and the end): the next non-blank character, and the end of the last non-blank one before it.
    next_full = np.append(np.where(is_blank, len(text), places), len(text))
    next_full = np.minimum.accumulate(next_full[::-1])[::-1]
    last_full = np.insert(np.where(is_blank, 0, places + 1), 0, 0)
    last_full = np.maximum.accumulate(last_full)
    start, end = next_full[spans[:, 0]], last_full[spans[:, 1]]
    # A token that consists of blanks keeps its span.
    tidy = np.where((start < end)[:, None], np.stack([start, end], 1), spans)
    if len(spans) and not text.isascii():
        # There is a grapheme boundary between any two characters below U+0300, except in white space.
        may_join = np.fromiter((character >= "\u0300" for character in text), bool, len(text))
        may_join = np.append(may_join, False)[np.stack([tidy - 1, tidy])].any((0, 2))
        for row in np.flatnonzero(may_join):
            tidy[row] = whole_graphemes(text, *tidy[row].tolist())
    return tidy.astype(np.int32)
