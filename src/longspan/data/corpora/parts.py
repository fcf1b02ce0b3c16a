"""Splits a long text into parts that are tokenised separately, and checks that the tokens are the same.

Tokenizers seem to take longer per character for long texts than for short ones (docs/experiments.md). Parts end before
white space. A window of words around each boundary is tokenised, too. Its tokens must be the last tokens of one part
followed by the first tokens of the next.
"""

from itertools import pairwise

from longspan.data.corpora.cutting import SPACE, from_first_word, to_last_word

PART = 2048  # characters
_WINDOW = 64  # characters on each side of a boundary
_SEARCHED = 128  # characters before the end of a part that are searched for white space


def split(text: str) -> tuple[list[str], list[str]]:
    """Split `text` into parts; returns them and the window of text around each boundary."""
    ends = [0]
    while len(text) - ends[-1] > PART + _SEARCHED:
        last = ends[-1] + PART
        places = [found.start() for found in SPACE.finditer(text, last - _SEARCHED, last)]
        if not places:
            return [text], []
        ends.append(places[-1])
    ends.append(len(text))
    parts = [text[start:end] for start, end in pairwise(ends)]
    windows = [
        from_first_word(text[end - _WINDOW : end]) + to_last_word(text[end : end + _WINDOW]) for end in ends[1:-1]
    ]
    return parts, windows


def n_added(before: list[int], after: list[int], window: list[int]) -> int | None:
    """Number of tokens at the start of `after` that exist only because a text starts there; None if tokens differ.

    Args:
        before: tokens of a part.
        after: tokens of the next part.
        window: tokens of the text around their boundary.
    """
    for n in range(1, len(window) if before else 0):
        if window[n - 1] == before[-1] and window[:n] == before[-n:]:
            for skipped in (0, 1):
                if after[skipped : skipped + len(window) - n] == window[n:]:
                    return skipped
    return None
