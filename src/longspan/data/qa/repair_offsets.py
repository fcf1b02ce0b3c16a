"""Where a gold answer stands in its context, when the offset a data set gives may be wrong."""

import unicodedata
from typing import NamedTuple

from longspan.data.qa.examples import GoldAnswer
from longspan.graphemes import split_graphemes


class Located(NamedTuple):
    """A gold answer as found, and how.

    Attributes:
        answer: `answer.start` is None where the text is not in the context.
        how: "given" (the offset was right), "repaired" (found elsewhere), "respelled" (found with other blanks or
            another Unicode form; `answer.text` is then the context's own spelling), or "missing".
    """

    answer: GoldAnswer
    how: str


def locate_answer(context: str, text: str, start: int) -> Located:
    """Find `text` in `context`, nearest to `start`.

    Tried in this order: the given offset; the nearest occurrence of the same characters; the nearest occurrence when
    blanks around the text don't count, runs of blanks are one blank and canonically equivalent characters are equal
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
    """Start of the occurrence of `text` nearest to `start`, the earlier one of two at the same distance."""
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
    # A hit that starts or ends inside a character that one context character folded to does not map back.
    while (found := _nearest(folded, wanted, folded_start)) is not None:
        begin, end = origin[found], origin[found + len(wanted)]
        if _fold(context[begin:end])[0] == wanted:
            return begin, end
        # Hide this hit and look again; it happens for text that splits a combined character.
        folded = folded[:found] + "\0" + folded[found + 1 :]
    return None


def _fold(text: str) -> tuple[str, list[int]]:
    """`text` in NFC with runs of blanks as one blank, and for each character (and the end) its place in `text`."""
    folded: list[str] = []
    origin: list[int] = []
    for start, part in split_graphemes(text):
        if part.isspace():
            if folded[-1:] != [" "]:
                folded.append(" ")
                origin.append(start)
            continue
        # Canonically equivalent texts have the same graphemes; inside of one that NFC changes no place maps back.
        composed = unicodedata.normalize("NFC", part)
        folded.append(composed)
        origin += range(start, start + len(part)) if composed == part else [start] * len(composed)
    return "".join(folded), [*origin, len(text)]
