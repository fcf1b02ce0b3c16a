"""Scores of coreference over documents, as the CoNLL reference scorer sums them."""

from collections.abc import Sequence

from longspan.metrics.coreference.counts import METRICS, Clusters, Ratio, count_document, sum_ratios

CONLL_METRICS = ("muc", "b_cubed", "ceaf_e")
"""Of whose F1 the CoNLL score is the mean."""


def coreference_scores(keys: Sequence[Clusters], responses: Sequence[Clusters]) -> dict[str, float]:
    """Scores of documents in per cent: recall, precision and F1 by each metric, and the CoNLL score.

    Numerators and denominators are summed over the documents (`count_document`), as the reference scorer does
    (Pradhan et al. 2014, version 8.01), so that long documents weigh more.

    Args:
        keys: the right clusters of each document.
        responses: the predicted clusters of each document; empty for a document without any.

    Returns:
        `conll_f1`, the mean of the F1 of MUC, B-cubed and CEAF-e, and `NAME_recall`, `NAME_precision`, `NAME_f1` for
        each NAME of mention, muc, b_cubed, ceaf_m, ceaf_e, blanc and lea.

    Raises:
        ValueError: there is no document, the numbers of documents differ, or a mention comes twice in a key.
    """
    if len(keys) != len(responses) or not keys:
        raise ValueError(f"{len(keys)} keys and {len(responses)} responses; both must be the same number, not 0")
    return scores_of_counts([count_document(key, response) for key, response in zip(keys, responses, strict=True)])


def scores_of_counts(counts: Sequence[dict[str, Ratio]]) -> dict[str, float]:
    """`coreference_scores` of documents that `count_document` counted; a bootstrap draws these counts."""
    totals = {name: sum_ratios(document[name] for document in counts) for name in METRICS}
    figures = {
        name: (total.recall, total.precision, total.f1)
        for name, total in totals.items()
        if not name.startswith("blanc_")
    }
    figures["blanc"] = blanc(totals["blanc_links"], totals["blanc_non_links"])
    conll_f1 = sum(figures[name][2] for name in CONLL_METRICS) / len(CONLL_METRICS)
    return {
        "conll_f1": 100 * conll_f1,
        **{
            f"{name}_{what}": 100 * value
            for name, values in figures.items()
            for what, value in zip(("recall", "precision", "f1"), values, strict=True)
        },
    }


def blanc(links: Ratio, non_links: Ratio) -> tuple[float, float, float]:
    """Recall, precision and F1 of BLANC, from 0 to 1: the means of those of links and of non-links.

    If the key has no links or no non-links, only the other kind counts (Luo et al. 2014).
    """
    kinds = [kind for kind in (links, non_links) if kind.recall_denominator]
    if not kinds:
        return 0.0, 0.0, 0.0
    n = len(kinds)
    return (
        sum(one.recall for one in kinds) / n,
        sum(one.precision for one in kinds) / n,
        sum(one.f1 for one in kinds) / n,
    )
