"""Is one system better than another on the same questions, or is it luck of the draw?"""

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
        p_value: two-sided: twice the smaller share of resamples on one side of zero (those at zero count for both),
            at most 1.
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
    """Compare two systems' scores, one a question in the same order, by drawing the questions anew `n` times.

    Paired bootstrap of Efron and Tibshirani (1993), as for translation by Koehn (2004).

    Args:
        a: scores of one system.
        b: of the other.
        n: resamples.
        seed: of the draws.
        groups: what each score belongs to; those of one group are drawn together, since they are not independent (a
            question in several languages). Each score is a group of its own where None.

    Raises:
        InputError: no questions, two lengths, or `n` below 1.
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
