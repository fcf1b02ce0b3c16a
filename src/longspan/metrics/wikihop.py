"""Accuracy of WikiHop and MedHop (Welbl, Stenetorp and Riedel 2018)."""

from collections.abc import Sequence

from longspan.metrics.overlap import mean_in_per_cent, require_pairs


def wikihop_scores(predictions: Sequence[str | None], golds: Sequence[str]) -> dict[str, float]:
    """`accuracy` in per cent: how many of the chosen candidates are the answer.

    A prediction is one of the candidates, so that it is compared as it is, without normalisation.

    Args:
        predictions: the candidate chosen for each question; None counts as wrong.
        golds: the answer of each question, in the same order.

    Raises:
        InputError: there are no questions, or numbers that differ.
    """
    require_pairs(len(predictions), len(golds))
    return mean_in_per_cent({"accuracy": float(one == other)} for one, other in zip(predictions, golds, strict=True))
