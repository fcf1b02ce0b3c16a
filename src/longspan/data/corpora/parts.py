"""A long text tokenised in parts, which is quicker; where they meet, a window over both tells whether that is the same.

A tokenizer takes longer a character for long texts than for short ones (docs/experiments.md). Parts end before white
space. Where they meet, the tokens of the words around, tokenised together, have to be the last of one part and
the first of the next.
"""

from itertools import pairwise

from longspan.data.corpora.cutting import SPACE, from_first_word, to_last_word

PART = 2048  # characters
_WINDOW = 64  # characters on each side of where parts meet
_LOOKED_AT = 128  # characters before the end of a part in which to look for white space


def split(text: str) -> tuple[list[str], list[str]]:
    """Parts that make up `text`, and a window of text over each place where two of them meet."""
    ends = [0]
    while len(text) - ends[-1] > PART + _LOOKED_AT:
        last = ends[-1] + PART
        places = [found.start() for found in SPACE.finditer(text, last - _LOOKED_AT, last)]
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
    """How many tokens at the start of `after` are there only because a text starts there; None where parts differ.

    Args:
        before: tokens of a part.
        after: tokens of the next one.
        window: tokens of the text around the place where they meet.
    """
    for n in range(1, len(window) if before else 0):
        if window[n - 1] == before[-1] and window[:n] == before[-n:]:
            for skipped in (0, 1):
                if after[skipped : skipped + len(window) - n] == window[n:]:
                    return skipped
    return None
