"""Paired bootstrap: the uncertainty of the difference between two systems on the same questions."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from longspan.errors import InputError


class PairedDifference(NamedTuple):
    """Mean of `a - b` over questions, with its bootstrap interval.

    Attributes:
        difference: mean over all questions, in the unit of the scores.
        low: 2.5th percentile over resamples.
        high: 97.5th percentile over resamples.
        p_value: two-sided p value: twice the smaller share of resamples on one side of zero, at most 1. Resamples at
            zero count for both sides.
    """

    difference: float
    low: float
    high: float
    p_value: float


def paired_bootstrap(
    a: Sequence[float],
    b: Sequence[float],
    n: int = 1000,
    seed: int = 0,
    *,
    groups: Sequence[Hashable] | None = None,
) -> PairedDifference:
    """Compare the scores of two systems, one score per question in the same order, by resampling the questions.

    Paired bootstrap of Efron and Tibshirani (1993), used for translation by Koehn (2004).

    Args:
        a: scores of one system.
        b: scores of the other system.
        n: number of resamples.
        seed: seed of the resampling.
        groups: the group of each score. Scores of a group are drawn together, because they are not independent (a
            question in several languages). None: each score is its own group.

    Raises:
        InputError: there are no questions, the numbers of scores differ, or `n` is below 1.
    """
    if len(a) != len(b):
        raise InputError(f"the systems have {len(a)} and {len(b)} scores; a paired comparison needs the same questions")
    if groups is not None and len(groups) != len(a):
        raise InputError(f"there are {len(groups)} groups for {len(a)} scores; give one for each")
    if not len(a):
        raise InputError("there are no questions to compare on")
    if n < 1:
        raise InputError(f"n is {n}; choose 1 or more resamples")
    differences = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    random = np.random.default_rng(seed)
    named = range(len(a)) if groups is None else groups
    numbers = {group: i for i, group in enumerate(dict.fromkeys(named))}
    members = [numbers[group] for group in named]
    sums, sizes = np.bincount(members, differences), np.bincount(members)
    # One resample at a time: n x n_groups indices at once would be 100 MB for SQuAD.
    drawn = (random.integers(len(sums), size=len(sums)) for _ in range(n))
    means = np.array([sums[indices].sum() / sizes[indices].sum() for indices in drawn])
    low, high = np.percentile(means, [2.5, 97.5])
    p_value = min(1.0, 2 * min(float((means <= 0).mean()), float((means >= 0).mean())))
    return PairedDifference(float(differences.mean()), float(low), float(high), p_value)
