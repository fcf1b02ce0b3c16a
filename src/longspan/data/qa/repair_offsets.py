"""Finds gold answers in their context if the data set's offset is wrong."""

import unicodedata
from typing import NamedTuple

from longspan.data.qa.examples import GoldAnswer
from longspan.graphemes import split_graphemes


class Located(NamedTuple):
    """A located gold answer.

    Attributes:
        answer: the answer; `answer.start` is None if the text is not in the context.
        how: "given" (the offset was right), "repaired" (found elsewhere), "respelled" (found with other blanks or
            another Unicode form; `answer.text` is then the context's spelling), or "missing".
    """

    answer: GoldAnswer
    how: str


def locate_answer(context: str, text: str, start: int) -> Located:
    """Find `text` in `context`, nearest to `start`.

    Tries in this order: the given offset; the nearest occurrence of the same characters; the nearest occurrence if
    blanks around the text are ignored, runs of blanks are one blank, and canonically equivalent characters are equal
    (Unicode NFC). Letters, case and punctuation always count.
    """
    if text and start >= 0 and context.startswith(text, start):
        return Located(GoldAnswer(text, start), "given")
    if text.strip():
        found = _nearest(context, text, start)
        if found is not None:
            return Located(GoldAnswer(text, found), "repaired")
        span = _nearest_folded(context, text, start)
        if span is not None:
            return Located(GoldAnswer(context[span[0] : span[1]], span[0]), "respelled")
    return Located(GoldAnswer(text, None), "missing")


def _nearest(context: str, text: str, start: int) -> int | None:
    """Start of the occurrence of `text` nearest to `start`; of two at the same distance, the earlier one."""
    start = min(max(start, 0), len(context))
    before = context.rfind(text, 0, start + len(text))
    after = context.find(text, start)
    if before < 0 or after < 0:
        return None if before == after else max(before, after)
    return before if start - before <= after - start else after


def _nearest_folded(context: str, text: str, start: int) -> tuple[int, int] | None:
    """Character span of `context` that equals `text` once both are folded."""
    wanted, _ = _fold(text.strip())
    folded, origin = _fold(context)
    folded_start = next((i for i, begin in enumerate(origin) if begin >= start), len(folded))
    # A hit inside the folding of a single context character has no span in the context and is skipped.
    while (found := _nearest(folded, wanted, folded_start)) is not None:
        begin, end = origin[found], origin[found + len(wanted)]
        if _fold(context[begin:end])[0] == wanted:
            return begin, end
        # Mask this hit and search again; this happens if the text splits a combined character.
        folded = folded[:found] + "\0" + folded[found + 1 :]
    return None


def _fold(text: str) -> tuple[str, list[int]]:
    """Return `text` in NFC with runs of blanks as one blank, and the offset in `text` of each character and the end."""
    folded: list[str] = []
    origin: list[int] = []
    for start, part in split_graphemes(text):
        if part.isspace():
            if folded[-1:] != [" "]:
                folded.append(" ")
                origin.append(start)
            continue
        # Canonically equivalent texts have the same graphemes. Offsets inside a grapheme that NFC changes are unknown.
        composed = unicodedata.normalize("NFC", part)
        folded.append(composed)
        origin += range(start, start + len(part)) if composed == part else [start] * len(composed)
    return "".join(folded), [*origin, len(text)]
