"""What a system reads of each document: its windows, and whether a gold answer is in one of them."""

from collections.abc import Sequence
from typing import NamedTuple

from longspan.data.qa import GoldAnswer, QaExample


class Reading(NamedTuple):
    """What a system reads of one question's document."""

    n_tokens: int  # question and whole document
    spans: list[tuple[int, int]]  # characters from the first to the last token of each window that is read


def has_lost_its_gold(example: QaExample) -> bool:
    """Whether the example has gold answers, and none of them is in its document."""
    return bool(example.answers) and all(answer.start is None for answer in example.answers)


def is_read(example: QaExample, spans: Sequence[tuple[int, int]]) -> bool:
    """Whether a window that is read contains a whole gold answer; answers without a place are counted separately."""
    placed = [characters for answer in example.answers if (characters := characters_of(answer)) is not None]
    return not placed or any(first <= start and end <= last for start, end in placed for first, last in spans)


def characters_of(answer: GoldAnswer) -> tuple[int, int] | None:
    """The characters of a gold answer in its document, without blanks around it; None if it is not there."""
    if answer.start is None:
        return None
    text = answer.text
    return answer.start + len(text) - len(text.lstrip()), answer.start + len(text.rstrip())
