"""Clusters of overlapping windows -> clusters of the document, through the mentions that windows share."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from longspan.data.coreference.documents import Clusters, Span
from longspan.errors import InputError

WINDOW_CONFLICTS = ("join", "keep_apart")


def merge_window_clusters(windows: Iterable[Sequence[Sequence[Span]]], *, conflicts: str = "join") -> Clusters:
    """Clusters of a document from those of its windows; clusters that share a mention become one.

    Windows may disagree: one has two clusters of which the other makes one. With "join" they become one, so that the
    result does not depend on the order of the windows. With "keep_apart" two clusters of one window are never joined.
    There the windows are read in order, and each cluster continues at most one cluster of the windows before it, and
    no two of a window the same one, so that the shared mentions are as many as possible; a mention stays where the
    first window put it.

    Args:
        windows: the clusters of each window, with mentions as spans of the document's tokens.
        conflicts: "join" or "keep_apart".

    Returns:
        Disjoint clusters, each sorted, sorted by their first mention. Every mention of the windows is in one of them.

    Raises:
        InputError: `conflicts` is neither, or a mention is in two clusters of one window.
    """
    if conflicts not in WINDOW_CONFLICTS:
        raise InputError(f"conflicts is {conflicts!r}; it must be one of {', '.join(WINDOW_CONFLICTS)}")
    cluster_of: dict[Span, int] = {}
    n_clusters = 0
    parent: list[int] = []
    for number, window in enumerate(windows):
        clusters = [sorted(set(cluster)) for cluster in window if cluster]
        if len({mention for cluster in clusters for mention in cluster}) < sum(map(len, clusters)):
            raise InputError(f"window {number} has a mention in two clusters; leave it in one of them")
        if conflicts == "join":
            continues = [{cluster_of[one] for one in cluster if one in cluster_of} for cluster in clusters]
        else:
            continues = _matched(clusters, cluster_of)
        for cluster, earlier in zip(clusters, continues, strict=True):
            # A cluster before this one may have joined them.
            joined = sorted({_root(parent, one) for one in earlier})
            if not joined:
                joined = [n_clusters]
                parent.append(n_clusters)
                n_clusters += 1
            for one in joined[1:]:
                parent[one] = joined[0]
            for mention in cluster:
                cluster_of.setdefault(mention, joined[0])
    found: dict[int, list[Span]] = defaultdict(list)
    for mention, cluster in cluster_of.items():
        found[_root(parent, cluster)].append(mention)
    return tuple(sorted(tuple(sorted(cluster)) for cluster in found.values()))


def _root(parent: list[int], cluster: int) -> int:
    """The cluster that a cluster was joined to."""
    while parent[cluster] != cluster:
        parent[cluster] = parent[parent[cluster]]
        cluster = parent[cluster]
    return cluster


def _matched(clusters: Sequence[Sequence[Span]], cluster_of: dict[Span, int]) -> list[set[int]]:
    """The earlier cluster that each cluster of a window continues: one or none, each at most once."""
    from scipy.optimize import linear_sum_assignment

    earlier = sorted({cluster_of[mention] for cluster in clusters for mention in cluster if mention in cluster_of})
    continued: list[set[int]] = [set() for _ in clusters]
    if not earlier:
        return continued
    column = {cluster: i for i, cluster in enumerate(earlier)}
    n_shared = np.zeros((len(clusters), len(earlier)))
    for row, cluster in enumerate(clusters):
        for mention in cluster:
            if mention in cluster_of:
                n_shared[row, column[cluster_of[mention]]] += 1
    for row, i in zip(*linear_sum_assignment(n_shared, maximize=True), strict=True):
        if n_shared[row, i]:
            continued[row].add(earlier[i])
    return continued
