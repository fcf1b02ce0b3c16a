"""Precision, recall and F1 of words and sets, with the order of operations of SQuAD's and HotpotQA's scorers."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from longspan.errors import InputError


class Overlap(NamedTuple):
    """How well a prediction matches the gold, each between 0 and 1.

    Attributes:
        em: 1 if both are equal, else 0.
        f1: harmonic mean of precision and recall.
        precision: share of what is predicted that is gold.
        recall: share of what is gold that is predicted.
    """

    em: float
    f1: float
    precision: float
    recall: float


NOTHING = Overlap(0.0, 0.0, 0.0, 0.0)
"""Scores of a missing prediction."""


def word_overlap(predicted: Sequence[str], gold: Sequence[str]) -> Overlap:
    """Overlap of two lists of words, a repeated word counted as often as both have it.

    Two empty lists are equal, and their F1, precision and recall are 0, as in SQuAD 1.1's and HotpotQA's scorers.
    """
    em = float(list(predicted) == list(gold))
    n_shared = sum((Counter(predicted) & Counter(gold)).values())
    if n_shared == 0:
        return Overlap(em, 0.0, 0.0, 0.0)
    precision, recall = n_shared / len(predicted), n_shared / len(gold)
    return Overlap(em, 2 * precision * recall / (precision + recall), precision, recall)


def set_overlap(predicted: Collection[Any], gold: Collection[Any]) -> Overlap:
    """Overlap of two collections of distinct things, as HotpotQA's scorer compares supporting facts.

    Two empty collections are equal, and their F1, precision and recall are 0. An element that comes twice counts twice.
    """
    right = sum(one in gold for one in predicted)
    wrong, missed = len(predicted) - right, sum(one not in predicted for one in gold)
    precision = right / (right + wrong) if predicted else 0.0
    recall = right / (right + missed) if right + missed else 0.0
    return Overlap(float(wrong + missed == 0), harmonic_mean(precision, recall), precision, recall)


def harmonic_mean(precision: float, recall: float) -> float:
    """F1 of a precision and a recall; 0 if both are 0."""
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def mean_in_per_cent(rows: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Mean of each figure over questions, times 100.

    Values are added one by one in their order and divided at the end, as the official scorers do: Python's `sum` and
    NumPy's mean round otherwise, so that last digits would differ.

    Args:
        rows: a mapping for each question, all with the same figures, each between 0 and 1.

    Raises:
        InputError: there are no questions.
        KeyError: a question lacks a figure that the first one has.
    """
    totals: dict[str, float] = {}
    n = 0
    for row in rows:
        totals = totals or dict.fromkeys(row, 0.0)
        for name in totals:
            totals[name] += row[name]
        n += 1
    if not n:
        raise InputError("there are no questions to average over")
    return {name: 100 * (total / n) for name, total in totals.items()}


def require_pairs(n_predictions: int, n_golds: int) -> None:
    """Refuse numbers of predictions and questions that differ, and no questions.

    Raises:
        InputError: the numbers differ or are 0.
    """
    if n_predictions != n_golds:
        raise InputError(f"there are {n_predictions} predictions for {n_golds} questions; give one for each")
    if not n_golds:
        raise InputError("there are no questions to score")
