"""Documents and questions as tokens with their places in the text, and the special tokens that go around both."""

import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from longspan.data.plain_text import plain_text_of
from longspan.errors import InputError


class DocumentTokens(NamedTuple):
    """A text's tokens, without special ones: int32 `ids` [T], and `spans` [T, 2], their characters (see `_tidy`)."""

    ids: np.ndarray
    spans: np.ndarray


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
            waiting[text] = None
            n_characters += len(text)
            # Enough to keep the tokenizer's threads busy, little enough to hold in memory.
            if n_characters > 1_000_000:
                flush()
                n_characters = 0
        bar.update()
    flush()
    return [tokens[text] for text in texts]


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
    """Spans as a reader would draw them: no blanks at their ends, no accent cut off.

    Tokenizers differ in whether a token holds the blank before it. And where a normaliser composes a letter and its
    combining mark, or strips the mark, the token's span ends before the mark.
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
        is_mark = np.fromiter((unicodedata.category(character) == "Mn" for character in text), bool, len(text))
        after_marks = np.append(np.where(is_mark, len(text), places), len(text))
        after_marks = np.minimum.accumulate(after_marks[::-1])[::-1]
        next_start = np.append(tidy[1:, 0], len(text))
        tidy[:, 1] = np.maximum(tidy[:, 1], np.minimum(after_marks[tidy[:, 1]], next_start))
    return tidy.astype(np.int32)
