"""Graphemes: user-perceived characters (extended grapheme clusters of Unicode's UAX #29).

A grapheme can have several code points: a syllable of conjoining jamo, a consonant cluster with its vowel signs, a
letter with combining marks, an emoji of several parts, a flag. Answers and excerpts begin and end between graphemes.

The package regex implements the rules. Only the neighbourhood of a position is read, not the whole text.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Protocol

import regex

# If no sure boundary is found within this distance of a position, the position itself counts as a boundary. No language
# has graphemes this long: Unicode's Stream-Safe form allows 30 marks in a row. All flags in a row are 516 characters.
MOST_CHARACTERS = 1024

_GRAPHEME = regex.compile(r"\X")
_EXTENDS = regex.compile(r"[\p{GCB=Extend}\p{GCB=ZWJ}]")


class Text(Protocol):
    """A string, or an object whose slices are strings."""

    def __len__(self) -> int: ...
    def __getitem__(self, characters: slice, /) -> str: ...


def whole_graphemes(text: Text, start: int, end: int) -> tuple[int, int]:
    """Widen the span `start`, `end` so that it cuts no grapheme of `text`."""
    return grapheme_start(text, start), grapheme_end(text, end)


def grapheme_start(text: Text, place: int) -> int:
    """Start of the grapheme around position `place`; `place` itself if it is between two graphemes."""
    return _grapheme_around(text, place)[0]


def grapheme_end(text: Text, place: int) -> int:
    """End of the grapheme around position `place`; `place` itself if it is between two graphemes."""
    return _grapheme_around(text, place)[1]


def split_graphemes(text: str) -> Iterator[tuple[int, str]]:
    """The graphemes of a text, each with its start."""
    return ((found.start(), found[0]) for found in _GRAPHEME.finditer(text))


def _grapheme_around(text: Text, place: int) -> tuple[int, int]:
    """Start and end of the grapheme around position `place`; both are `place` if it is between two graphemes."""
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
    """Whether a grapheme ends between the two characters of `pair`, independent of the characters before them.

    Three rules of UAX #29 depend on earlier characters. For conjuncts (GB9c) and emoji sequences (GB11) the first
    character of the pair is an extending one; flags (GB12, GB13) are never cut by the pair alone. In these cases the
    boundary is not sure.
    """
    return _EXTENDS.match(pair) is None and len(_GRAPHEME.findall(pair)) == 2
