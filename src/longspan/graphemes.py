"""Graphemes: what a reader takes for one character (extended grapheme clusters of Unicode's UAX #29).

A syllable of conjoining jamo, a consonant cluster with its vowel signs, a letter with combining marks, an emoji of
several parts and a flag are one grapheme of several code points. An answer or an excerpt neither begins nor ends
inside of one.

The rules are those of the package regex. Only the neighbourhood of a place is looked at, never the whole text.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Protocol

import regex

# A place without a sure boundary this far before or behind it is taken for a boundary itself. No grapheme of a
# language is as long (Unicode's Stream-Safe form allows 30 marks in a row), and all flags in a row are 516 characters.
MOST_CHARACTERS = 1024

_GRAPHEME = regex.compile(r"\X")
_EXTENDS = regex.compile(r"[\p{GCB=Extend}\p{GCB=ZWJ}]")


class Text(Protocol):
    """A string, or an object whose slices are strings."""

    def __len__(self) -> int: ...
    def __getitem__(self, characters: slice, /) -> str: ...


def whole_graphemes(text: Text, start: int, end: int) -> tuple[int, int]:
    """`start` and `end`, moved outwards where they are inside a grapheme of `text`."""
    return grapheme_start(text, start), grapheme_end(text, end)


def grapheme_start(text: Text, place: int) -> int:
    """Start of the grapheme that `place` is inside of; `place` itself between two graphemes."""
    return _around(text, place)[0]


def grapheme_end(text: Text, place: int) -> int:
    """End of the grapheme that `place` is inside of; `place` itself between two graphemes."""
    return _around(text, place)[1]


def split_graphemes(text: str) -> Iterator[tuple[int, str]]:
    """The graphemes of a whole text, each with its start."""
    return ((found.start(), found[0]) for found in _GRAPHEME.finditer(text))


def _around(text: Text, place: int) -> tuple[int, int]:
    """Start and end of the grapheme that `place` is inside of; twice `place` between two graphemes."""
    if not 0 < place < len(text) or is_sure_boundary(text[place - 1 : place + 1]):
        return place, place
    start = place - 1
    while start > 0 and not is_sure_boundary(text[start - 1 : start + 1]):
        start -= 1
        if place - start > MOST_CHARACTERS:
            return place, place
    part = text[start : place + MOST_CHARACTERS]
    for grapheme in _GRAPHEME.finditer(part):
        if grapheme.end() >= place - start + MOST_CHARACTERS:
            break
        if start + grapheme.end() >= place:
            found = start + grapheme.start(), start + grapheme.end()
            return found if found[1] > place else (place, place)
    return place, place


@lru_cache(1 << 14)
def is_sure_boundary(pair: str) -> bool:
    """Return whether a grapheme ends between the two characters of `pair`, whatever stands before them.

    The rules look further back than one character in three cases: conjuncts (GB9c) and emoji sequences (GB11), where
    the character before is an extending one, and flags (GB12, GB13), where the pair alone is not cut.
    """
    return _EXTENDS.match(pair) is None and len(_GRAPHEME.findall(pair)) == 2
