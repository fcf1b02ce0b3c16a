"""Numerators and denominators of one document by each metric of coreference."""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

Mention = Hashable
"""Any value that is equal for the same mention; readers give (first token, token after the last)."""
Clusters = Sequence[Sequence[Mention]]

METRICS = ("mention", "muc", "b_cubed", "ceaf_m", "ceaf_e", "blanc_links", "blanc_non_links", "lea")


@dataclass(frozen=True)
class Ratio:
    """Recall and precision as numerators and denominators, which are summed over documents.

    Attributes:
        recall_numerator: what is right, counted by the key.
        recall_denominator: of the key.
        precision_numerator: what is right, counted by the response.
        precision_denominator: of the response.
    """

    recall_numerator: float
    recall_denominator: float
    precision_numerator: float
    precision_denominator: float

    @property
    def recall(self) -> float:
        """From 0 to 1; 0 if the denominator is 0."""
        return self.recall_numerator / self.recall_denominator if self.recall_denominator else 0.0

    @property
    def precision(self) -> float:
        """From 0 to 1; 0 if the denominator is 0."""
        return self.precision_numerator / self.precision_denominator if self.precision_denominator else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of recall and precision; 0 if both are 0."""
        total = self.recall + self.precision
        return 2 * self.recall * self.precision / total if total else 0.0


def sum_ratios(ratios: Iterable[Ratio]) -> Ratio:
    """The sums of numerators and denominators; they do not depend on the order of the ratios."""
    rows = list(ratios)
    return Ratio(
        math.fsum(row.recall_numerator for row in rows),
        math.fsum(row.recall_denominator for row in rows),
        math.fsum(row.precision_numerator for row in rows),
        math.fsum(row.precision_denominator for row in rows),
    )


def count_document(key: Clusters, response: Clusters) -> dict[str, Ratio]:
    """The numerators and denominators of one document by each metric of `METRICS`.

    Singletons count as they are given, in the key and in the response. A mention that comes again in the response
    counts where it comes first, as in the reference scorer.

    - mention: mentions of the key that are in the response.
    - muc: links (Vilain et al. 1995). A cluster of n mentions has n - 1.
    - b_cubed: for each mention, the share of its cluster that the other side has with it (Bagga and Baldwin 1998).
    - ceaf_m, ceaf_e: the best assignment of clusters one to one, by shared mentions (m) or by
      2 |K and R| / (|K| + |R|) (e) (Luo 2005).
    - blanc_links, blanc_non_links: pairs of mentions in one cluster, and in different ones (Luo et al. 2014).
    - lea: for each cluster, the share of its pairs that the other side has in one cluster, weighted by its size
      (Moosavi and Strube 2016). A singleton is found if it is a singleton of the other side, too.

    Args:
        key: the right clusters; no mention comes twice.
        response: the predicted clusters.

    Raises:
        ValueError: a mention comes twice in the key.
    """
    gold = [list(cluster) for cluster in key if len(cluster)]
    found = _distinct(response)
    in_gold = {mention: i for i, cluster in enumerate(gold) for mention in cluster}
    if len(in_gold) < sum(map(len, gold)):
        repeated = next(one for one, n in Counter(one for cluster in gold for one in cluster).items() if n > 1)
        raise ValueError(f"the mention {repeated!r} comes twice in the key")
    gold_sizes, found_sizes = list(map(len, gold)), list(map(len, found))
    # Pairs of clusters that share mentions -> how many.
    shared = Counter((in_gold[one], j) for j, cluster in enumerate(found) for one in cluster if one in in_gold)
    n_gold, n_found, n_shared = sum(gold_sizes), sum(found_sizes), sum(shared.values())
    n_links = sum(n - 1 for n in shared.values())
    similarity = {
        "ceaf_m": dict(shared),
        "ceaf_e": {(i, j): 2 * n / (gold_sizes[i] + found_sizes[j]) for (i, j), n in shared.items()},
    }
    best = {name: _best_assignment(values) for name, values in similarity.items()}
    return {
        "mention": Ratio(n_shared, n_gold, n_shared, n_found),
        "muc": Ratio(n_links, n_gold - len(gold), n_links, n_found - len(found)),
        "b_cubed": Ratio(
            math.fsum(n * n / gold_sizes[i] for (i, _), n in shared.items()),
            n_gold,
            math.fsum(n * n / found_sizes[j] for (_, j), n in shared.items()),
            n_found,
        ),
        "ceaf_m": Ratio(best["ceaf_m"], n_gold, best["ceaf_m"], n_found),
        "ceaf_e": Ratio(best["ceaf_e"], len(gold), best["ceaf_e"], len(found)),
        **_blanc(gold_sizes, found_sizes, shared),
        "lea": _lea(gold_sizes, found_sizes, shared),
    }


def _distinct(clusters: Clusters) -> list[list[Mention]]:
    known: set[Mention] = set()
    kept: list[list[Mention]] = []
    for cluster in clusters:
        kept.append([])
        for mention in cluster:
            if mention not in known:
                known.add(mention)
                kept[-1].append(mention)
    return [cluster for cluster in kept if cluster]


def _best_assignment(similarity: dict[tuple[int, int], float]) -> float:
    """The largest sum of similarities of pairs in which each row and each column comes at most once."""
    from scipy.optimize import linear_sum_assignment

    # Rows and columns without any similarity change nothing.
    rows = {row: i for i, row in enumerate(sorted({row for row, _ in similarity}))}
    columns = {column: i for i, column in enumerate(sorted({column for _, column in similarity}))}
    matrix = np.zeros((len(rows), len(columns)))
    for (row, column), value in similarity.items():
        matrix[rows[row], columns[column]] = value
    chosen = linear_sum_assignment(matrix, maximize=True)
    return math.fsum(matrix[chosen].tolist())


def _n_pairs(n: int) -> int:
    return n * (n - 1) // 2


def _blanc(gold_sizes: list[int], found_sizes: list[int], shared: Counter[tuple[int, int]]) -> dict[str, Ratio]:
    """Links and non-links: pairs of mentions of one side that are in one cluster of it, and that are not."""
    links = [sum(map(_n_pairs, sizes)) for sizes in (gold_sizes, found_sizes)]
    non_links = [_n_pairs(sum(sizes)) - n for sizes, n in zip((gold_sizes, found_sizes), links, strict=True)]
    # Among the mentions that both sides have: pairs that are linked in both, in the key, in the response.
    in_both = sum(map(_n_pairs, shared.values()))
    by_gold, by_found = Counter[int](), Counter[int]()
    for (i, j), n in shared.items():
        by_gold[i] += n
        by_found[j] += n
    in_key, in_response = sum(map(_n_pairs, by_gold.values())), sum(map(_n_pairs, by_found.values()))
    in_neither = _n_pairs(sum(shared.values())) - in_key - in_response + in_both
    return {
        "blanc_links": Ratio(in_both, links[0], in_both, links[1]),
        "blanc_non_links": Ratio(in_neither, non_links[0], in_neither, non_links[1]),
    }


def _lea(gold_sizes: list[int], found_sizes: list[int], shared: Counter[tuple[int, int]]) -> Ratio:
    recall, precision = [], []
    for (i, j), n in shared.items():
        if gold_sizes[i] == 1 or found_sizes[j] == 1:
            if gold_sizes[i] == found_sizes[j]:
                recall.append(1.0)
                precision.append(1.0)
        else:
            recall.append(gold_sizes[i] * _n_pairs(n) / _n_pairs(gold_sizes[i]))
            precision.append(found_sizes[j] * _n_pairs(n) / _n_pairs(found_sizes[j]))
    return Ratio(math.fsum(recall), sum(gold_sizes), math.fsum(precision), sum(found_sizes))
