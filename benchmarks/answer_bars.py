"""The bars of the packaged model, from the records of the grid `answers`."""

import functools
from collections.abc import Callable
from statistics import fmean

from bar import Bar, NotMeasuredError
from evaluation_tables import f1_by_slot, pooled

from longspan.records import EvaluationRecord, Score

LONG = "window + global question"
TRUNCATED, WINDOWS = "truncate 512", "windows of 512"
_ALL_OF_SQ10 = 2067


def asked(record: EvaluationRecord, system: str, n_questions: int) -> list[Score]:
    """The scores of a system.

    Raises:
        NotMeasuredError: they do not cover `n_questions` questions.
    """
    cells = [score for score in record.scores if score.system == system]
    counted = sum(score.n_items for score in cells)
    if counted != n_questions:
        raise NotMeasuredError(f"{system} was asked {counted:,} questions of {n_questions:,}")
    return cells


def mean_f1(n_questions: int) -> Callable[[EvaluationRecord], float]:
    """The mean over languages of the long model's F1."""

    def measure(record: EvaluationRecord) -> float:
        return fmean(score.metrics["f1"] for score in asked(record, LONG, n_questions))

    return measure


def above(system: str) -> Callable[[EvaluationRecord], float]:
    """The long model's F1 on SQ-10 minus that of another system."""

    def measure(record: EvaluationRecord) -> float:
        ours, theirs = (pooled(asked(record, name, _ALL_OF_SQ10), "f1") for name in (LONG, system))
        return ours - theirs

    return measure


def spread(record: EvaluationRecord) -> float:
    """The long model's F1 with the answer in its best slot, minus that in its worst slot."""
    asked(record, LONG, _ALL_OF_SQ10)
    slots = f1_by_slot(record, LONG).values()
    return max(slots) - min(slots)


_F1 = functools.partial(Bar, at_least=True, is_ratio=False, kind=EvaluationRecord)
ANSWER_BARS = [
    _F1("SQuAD, development part, 10,570 questions: F1 of the packaged adapter", "answers-squad", 78, mean_f1(10_570)),
    _F1("XQuAD, 12 languages, 14,280 questions, zero-shot: mean F1", "answers-xquad", 58, mean_f1(14_280)),
    _F1("SQ-10, ten paragraphs, 2,067 questions: F1, long, question global", "answers-sq10", 65, mean_f1(_ALL_OF_SQ10)),
    Bar("the same: best slot of the answer less worst", "answers-sq10", 15, spread, is_ratio=False,
        kind=EvaluationRecord),
    _F1("the same less the short model truncated at 512 tokens", "answers-sq10", 35, above(TRUNCATED)),
    _F1("the same less the short model in overlapping windows (a goal)", "answers-sq10", 5, above(WINDOWS)),
]  # fmt: skip
