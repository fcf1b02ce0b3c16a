"""The sentence around a place in a text, in any script, without a model."""

import re

from longspan.graphemes import Text, grapheme_end, whole_graphemes

# A full stop of many scripts with closing marks after it, or an empty line. A Western one needs space after it.
_END = re.compile(r"(?:[.!?…؟۔]+[\"'»”’)\]]*(?=\s)|[。！？｡।॥]+[」』”’）]*|\n\s*\n)")
# Scripts without full stops (Thai) and tables get at most this much on either side.
_MOST_CHARACTERS = 300


def sentence_around(text: Text, start: int, end: int) -> tuple[int, int]:
    """Start and end of the sentence, or run of sentences, of `text` that holds `text[start:end]`; no grapheme is cut.

    A sentence with more than 300 characters on a side is cut there, between words if it has blanks.
    """
    assert 0 <= start <= end <= len(text)
    # One character more than is searched on each side, to tell the text's start and end from a cut.
    at, stop = max(0, start - _MOST_CHARACTERS - 1), min(len(text), end + _MOST_CHARACTERS + 1)
    at, stop = whole_graphemes(text, at, stop)
    first, last = _in_part(text[at:stop], start - at, end - at)
    return at + first, at + last


def _in_part(text: str, start: int, end: int) -> tuple[int, int]:
    start, end = whole_graphemes(text, start, end)
    low, high = max(0, start - _MOST_CHARACTERS), min(len(text), end + _MOST_CHARACTERS)
    before = [match.end() for match in _END.finditer(text, low, start)]
    first = before[-1] if before else _between_words(text, low, start)
    after = _END.search(text, max(end - 1, start), high)
    if after is not None and after.end() >= end:
        last = after.end()
    else:
        last = high if high == len(text) else _last_blank(text, end, high)
    # A mark after the full stop (a variation selector) belongs to the sentence that it ends.
    first, last = grapheme_end(text, first), grapheme_end(text, last)
    while first < start and text[first].isspace():
        first += 1
    while last > end and text[last - 1].isspace():
        last -= 1
    return whole_graphemes(text, first, last)


def _between_words(text: str, low: int, start: int) -> int:
    if low == 0:
        return 0
    blank = text.find(" ", low, start)
    return low if blank < 0 else blank + 1


def _last_blank(text: str, end: int, high: int) -> int:
    blank = text.rfind(" ", end, high)
    return high if blank < 0 else blank
