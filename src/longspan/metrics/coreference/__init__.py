"""Clusters -> MUC, B-cubed, CEAF, BLANC, LEA and the CoNLL score, equal to the reference scorer; no torch."""

from longspan.metrics.coreference.counts import Ratio, count_document, sum_ratios
from longspan.metrics.coreference.distance import DISTANCES, scores_by_distance
from longspan.metrics.coreference.scores import coreference_scores, scores_of_counts

__all__ = [
    "DISTANCES",
    "Ratio",
    "coreference_scores",
    "count_document",
    "scores_by_distance",
    "scores_of_counts",
    "sum_ratios",
]
