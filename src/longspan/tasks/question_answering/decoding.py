"""Logits of all windows of one document -> its best answer spans. NumPy only.

Letters: T tokens of one window. With K the longest answer in tokens, a band of T x K spans is scored, never T x T.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from longspan.errors import InputError
from longspan.graphemes import Text, whole_graphemes


@dataclass(frozen=True)
class Span:
    """One candidate answer: `context[start:end] == text`.

    `score` is the softmax over the candidates that were kept, between 0 and 1; `logit` is the start logit plus the
    end logit, comparable between windows of one document and with the no-answer score.
    """

    text: str
    start: int
    end: int
    score: float
    logit: float = float("-inf")


class WindowLogits(NamedTuple):
    """The logits of a model for one window.

    start_T, end_T: floating point logits of the window's tokens, without padding. offsets: the character span in the
    context of each context token, None for the question, special tokens and others that cannot be in an answer.
    The first token is the one that stands for "no answer" (CLS).
    """

    start_T: NDArray[np.floating]
    end_T: NDArray[np.floating]
    offsets: Sequence[tuple[int, int] | None]


class Decoded(NamedTuple):
    """Best spans, best first (empty if no window holds a context token), and the no-answer score."""

    spans: list[Span]
    no_answer_score: float


def decode_spans(
    windows: Sequence[WindowLogits], context: str, *, max_answer_tokens: int = 30, n_best: int = 20
) -> Decoded:
    """The `n_best` spans with the highest start + end logit over all windows of one document.

    A span starts and ends on context tokens of one window, does not end before it starts and has at most
    `max_answer_tokens` tokens. White space at its edges is cut off, and no grapheme is cut. A span that several
    overlapping windows (or several token spans) describe is listed once, with its best score. Equal scores are
    ordered by place in the document.
    The no-answer score is the start + end logit of the first token, the smallest over the windows: a document has no
    answer only if no window does (the rule of google-research/bert's run_squad.py).

    Raises:
        InputError: a logit is NaN, or `max_answer_tokens` or `n_best` is below 1.
    """
    decoder = SpanDecoder(context, max_answer_tokens=max_answer_tokens, n_best=n_best)
    for window in windows:
        decoder.add(window)
    return decoder.decoded()


class SpanDecoder:
    """`decode_spans` for windows that come one by one, in any order; keeps `n_best` spans and no logits.

    Args:
        context: the document, or an object that returns the text of a slice.
        max_answer_tokens: longest answer.
        n_best: spans to keep.

    Raises:
        InputError: `max_answer_tokens` or `n_best` is below 1.
    """

    def __init__(self, context: Text, *, max_answer_tokens: int = 30, n_best: int = 20) -> None:
        if max_answer_tokens < 1 or n_best < 1:
            raise InputError(f"max_answer_tokens ({max_answer_tokens}) and n_best ({n_best}) must be at least 1")
        self._context, self._max_answer_tokens, self._n_best = context, max_answer_tokens, n_best
        self._ranked: list[tuple[tuple[int, int], float]] = []
        self._no_answer_score = float("inf")

    def add(self, window: WindowLogits) -> None:
        """Rank the spans of a window among those of earlier windows.

        Raises:
            InputError: a logit is NaN.
        """
        if np.isnan(window.start_T).any() or np.isnan(window.end_T).any():
            raise InputError("the model's logits are NaN; try float32, or train again with a lower learning rate")
        self._no_answer_score = min(self._no_answer_score, float(window.start_T[0]) + float(window.end_T[0]))
        logit_of_span = dict(self._ranked)
        for span, logit in _best_of_window(window, self._context, self._max_answer_tokens, self._n_best).items():
            logit_of_span[span] = max(logit, logit_of_span.get(span, float("-inf")))
        # A span that is dropped is worse than `n_best` others, whose logits only grow.
        self._ranked = sorted(logit_of_span.items(), key=lambda item: (-item[1], item[0]))[: self._n_best]

    def decoded(self) -> Decoded:
        """The best spans of the windows so far, and the no-answer score."""
        scores = _softmax(np.array([logit for _, logit in self._ranked]))
        spans = [
            Span(self._context[start:end], start, end, float(score), logit)
            for ((start, end), logit), score in zip(self._ranked, scores, strict=True)
        ]
        return Decoded(spans, self._no_answer_score)


def argmax_span(window: WindowLogits) -> tuple[int, int] | None:
    """First and last token of one window: the likeliest start and the likeliest end, chosen independently.

    Any token can be chosen, including the question's and special ones, at any length; None if the end is before the
    start. Sagen's thesis decodes this way (docs/evaluation-protocol.md); it is kept for comparison.
    """
    first, last = int(window.start_T.argmax()), int(window.end_T.argmax())
    return (first, last) if first <= last else None


def is_aligned(offsets: Sequence[tuple[int, int] | None], start: int, end: int) -> bool:
    """Whether the characters `start` and `end - 1` of the context are each in a token of the window."""
    spans = [offset for offset in offsets if offset is not None]
    return start < end and all(
        any(first <= character < last for first, last in spans) for character in (start, end - 1)
    )


def _best_of_window(
    window: WindowLogits, context: Text, max_answer_tokens: int, n_best: int
) -> dict[tuple[int, int], float]:
    """At least the `n_best` best distinct character spans of one window (fewer if it has fewer) -> logit."""
    places = [place for place, offset in enumerate(window.offsets) if offset is not None]
    if not places:
        return {}
    first, last = places[0], places[-1] + 1
    is_context_T = np.array([offset is not None for offset in window.offsets[first:last]])
    start_T = np.where(is_context_T, window.start_T[first:last].astype(np.float64), -np.inf)
    end_T = np.where(is_context_T, window.end_T[first:last].astype(np.float64), -np.inf)
    n_lengths = min(max_answer_tokens, last - first)
    padded = np.concatenate([end_T, np.full(n_lengths - 1, -np.inf)])
    # Row i holds the spans that start at token i, column k those of k + 1 tokens.
    band = (start_T[:, None] + np.lib.stride_tricks.sliding_window_view(padded, n_lengths)).ravel()
    n_spans = int(np.count_nonzero(band > -np.inf))
    n_wanted = min(n_best, n_spans)
    best: dict[tuple[int, int], float] = {}
    while n_wanted > 0:
        smallest = np.partition(band, -n_wanted)[-n_wanted]
        best = {}
        for place in np.flatnonzero(band >= smallest):
            i, k = divmod(int(place), n_lengths)
            span = _characters(window.offsets, first + i, first + i + k, context)
            if span is not None:
                best[span] = max(float(band[place]), best.get(span, float("-inf")))
        if len(best) >= n_best or n_wanted == n_spans:
            break
        # Some token spans were the same characters (byte-level pieces, a space before a word): take more.
        n_wanted = min(2 * n_wanted, n_spans)
    return best


def _characters(
    offsets: Sequence[tuple[int, int] | None], first: int, last: int, context: Text
) -> tuple[int, int] | None:
    """The graphemes of tokens `first` to `last` inclusive, less white space at the edges; None if nothing is left."""
    first_offset, last_offset = offsets[first], offsets[last]
    assert first_offset is not None and last_offset is not None, "spans start and end on context tokens"
    start, text = first_offset[0], context[first_offset[0] : last_offset[1]]
    start += len(text) - len(text.lstrip())
    text = text.strip()
    return whole_graphemes(context, start, start + len(text)) if text else None


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    if not logits.size:
        return logits
    shares = np.exp(logits - logits.max())
    return shares / shares.sum()
