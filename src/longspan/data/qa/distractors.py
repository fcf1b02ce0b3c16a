"""Draws distractors: paragraphs to join with a question's own paragraph, from its article or from others."""

import random
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from longspan.errors import InputError

Distractors = Literal["neighbours", "same article", "other articles"]


class DrawnDistractors(NamedTuple):
    """The distractors of one paragraph, in the order they were drawn."""

    paragraphs: list[int]
    n_filled: int  # number of distractors, at the end, that are not from the requested source


def draw_distractors(
    paragraphs: Sequence[str],
    titles: Sequence[str],
    n: int,
    source: Literal["same article", "other articles"],
    seed: int,
    name: str,
) -> list[DrawnDistractors]:
    """Draw `n` distractors for each paragraph; none has the paragraph's own text.

    The draw for a paragraph depends only on the seed, its number and the source. A larger `n` adds distractors and
    keeps the others.

    Args:
        paragraphs: the texts.
        titles: the article of each paragraph.
        n: number of distractors per paragraph.
        source: source of the distractors. If it has too few, all of them are taken and the rest come from elsewhere.
        seed: seed of the draw.
        name: the data set's name, for messages.

    Raises:
        InputError: a paragraph has fewer than `n` other paragraphs with another text.
    """
    of_title: dict[str, list[int]] = {}
    of_text: dict[str, list[int]] = {}
    for i, (paragraph, title) in enumerate(zip(paragraphs, titles, strict=True)):
        of_title.setdefault(title, []).append(i)
        of_text.setdefault(paragraph, []).append(i)
    result = []
    for i, (paragraph, title) in enumerate(zip(paragraphs, titles, strict=True)):
        same_text = set(of_text[paragraph])
        inside = [j for j in of_title[title] if j not in same_text]
        n_outside = len(paragraphs) - len(of_title[title]) - sum(titles[j] != title for j in same_text)
        if len(inside) + n_outside < n:
            raise InputError(
                f"{name} has {len(inside) + n_outside} other paragraphs to put beside paragraph {i + 1}; choose fewer "
                f"than {n + 1} to join"
            )
        rng = random.Random(f"{seed} {i} {source}")
        rng.shuffle(inside)

        def is_outside(j: int, title: str = title, same_text: set[int] = same_text) -> bool:
            return titles[j] != title and j not in same_text

        if source == "same article":
            own = inside[:n]
            rest = _draw(rng, len(paragraphs), is_outside, n - len(own))
        else:
            own = _draw(rng, len(paragraphs), is_outside, min(n, n_outside))
            rest = inside[: n - len(own)]
        result.append(DrawnDistractors([*own, *rest], len(rest)))
    return result


def _draw(rng: random.Random, n_all: int, is_allowed: Callable[[int], bool], n: int) -> list[int]:
    """Draw `n` different allowed numbers below `n_all`; at least `n` are allowed.

    They are drawn one by one, because a list of the allowed numbers would be slow to make for thousands of paragraphs.
    """
    found: dict[int, None] = {}
    while len(found) < n:
        number = rng.randrange(n_all)
        if is_allowed(number):
            found[number] = None
    return list(found)
