"""Scores of coreference by how far back a mention's antecedent is."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from longspan.metrics.coreference.counts import Ratio, sum_ratios

Span = tuple[int, int]
SpanClusters = Sequence[Sequence[Span]]

DISTANCES = (64, 256, 512, 1024, 2048, 4096)
"""Where one range of distances ends and the next begins, in tokens."""


def scores_by_distance(
    keys: Sequence[SpanClusters], responses: Sequence[SpanClusters], edges: Sequence[int] = DISTANCES
) -> dict[str, Ratio]:
    """Recall and precision of mentions that refer back, by the distance to their nearest antecedent.

    A mention refers back if an earlier mention is in its cluster; mentions are ordered by their first token, then by
    their end. Its distance is the number of tokens from the first token of the nearest earlier mention of its cluster
    to its own. So the first mention of a cluster and a singleton are in no range.

    - Recall: such a mention of the key is found if the response has it in a cluster with at least one of the earlier
      mentions of its cluster in the key. Its range is by the nearest antecedent in the key.
    - Precision: the same with key and response exchanged. Its range is by the nearest antecedent in the response.

    Args:
        keys: the right clusters of each document, mentions as spans of tokens.
        responses: the predicted ones, in the same tokens; a mention that comes twice counts where it comes first.
        edges: in ascending order; the first range has the distances below the first edge, the last those from the last
            edge on.

    Returns:
        The name of each range ("0-63", "64-255", ..., "4096+") -> numerators and denominators over all documents.

    Raises:
        ValueError: the numbers of documents differ, or the edges do not ascend from above 0.
    """
    if len(keys) != len(responses):
        raise ValueError(f"{len(keys)} keys and {len(responses)} responses; both must be the same number")
    bounds = [0, *edges]
    if any(low >= high for low, high in zip(bounds, edges, strict=False)):
        raise ValueError(f"the edges {tuple(edges)} do not ascend from above 0")
    names = [f"{low}-{high - 1}" for low, high in zip(bounds, edges, strict=False)] + [f"{bounds[-1]}+"]
    rows: list[list[Ratio]] = [[] for _ in names]
    for key, response in zip(keys, responses, strict=True):
        for distance, is_found in _referring(key, response):
            rows[bisect_right(edges, distance)].append(Ratio(is_found, 1, 0, 0))
        for distance, is_right in _referring(response, key):
            rows[bisect_right(edges, distance)].append(Ratio(0, 0, is_right, 1))
    return {name: sum_ratios(found) for name, found in zip(names, rows, strict=True)}


def _referring(clusters: SpanClusters, others: SpanClusters) -> Iterator[tuple[int, bool]]:
    """The distance of each mention that refers back, and whether `others` has it with an earlier one of its cluster."""
    cluster_of = _cluster_of(others)
    known: set[Span] = set()
    for cluster in clusters:
        mentions = sorted(set(cluster) - known)
        known.update(mentions)
        before: set[int] = set()
        for i, mention in enumerate(mentions):
            other = cluster_of.get(mention)
            if i:
                yield mention[0] - mentions[i - 1][0], other is not None and other in before
            if other is not None:
                before.add(other)


def _cluster_of(clusters: SpanClusters) -> dict[Span, int]:
    found: dict[Span, int] = {}
    for i, cluster in enumerate(clusters):
        for mention in cluster:
            found.setdefault(mention, i)
    return found
