"""Scores of predictions, per language, equal to those of the official scorers. Imports no torch."""

from longspan.metrics.answers import (
    RULES,
    aggregate,
    best_over_gold,
    exact_match,
    f1,
    normalize_answer,
    official_scores,
    score_answer,
)
from longspan.metrics.bootstrap import PairedDifference, paired_bootstrap
from longspan.metrics.squad_v2 import squad_v2_scores

__all__ = [
    "RULES",
    "PairedDifference",
    "aggregate",
    "best_over_gold",
    "exact_match",
    "f1",
    "normalize_answer",
    "official_scores",
    "paired_bootstrap",
    "score_answer",
    "squad_v2_scores",
]
