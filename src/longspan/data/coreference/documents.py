"""Documents with coreference clusters, as every reader of them gives them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from longspan.errors import InputError

Span = tuple[int, int]
"""Start and end, counted from 0; the end is not in it."""
Clusters = tuple[tuple[Span, ...], ...]


@dataclass(frozen=True)
class CoreferenceDocument:
    """One text, its tokens, and which of its mentions mean the same.

    Attributes:
        id: unique in its data set; of a CoNLL file the document's name, with `_` and the part's number if it has one.
        text: the characters. Of corpora that give words only, the words with spaces where writers put them
            (`join_words`).
        tokens: the characters of each token. `text[start:end]` is the word, exactly as the corpus has it.
        sentences: the tokens of each sentence, in order and without gaps; one sentence if the corpus marks none.
        speakers: who says each token, None if it is not known; empty if the corpus names no speaker.
        clusters: the tokens of each mention. Every cluster has a mention, no mention comes twice, and the mentions of
            a cluster are sorted. The clusters are sorted by their first mention.
        header: what follows `#begin document` in a CoNLL file, which scorers compare; None in other formats.
    """

    id: str
    text: str
    tokens: tuple[Span, ...]
    sentences: tuple[Span, ...]
    speakers: tuple[str | None, ...]
    clusters: Clusters
    header: str | None = None

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The text of each token."""
        return tuple(self.text[start:end] for start, end in self.tokens)

    @property
    def singletons(self) -> tuple[Span, ...]:
        """The mentions that are alone in their cluster."""
        return tuple(cluster[0] for cluster in self.clusters if len(cluster) == 1)

    @cached_property
    def character_clusters(self) -> Clusters:
        """The clusters with the characters of each mention: from its first token's start to its last token's end."""
        return tuple(tuple(self.characters(mention) for mention in cluster) for cluster in self.clusters)

    def characters(self, mention: Span) -> Span:
        """The characters of a span of tokens."""
        return self.tokens[mention[0]][0], self.tokens[mention[1] - 1][1]

    def mentions_across_sentences(self) -> Iterator[Span]:
        """The mentions that end in a later sentence than they start in, as the clusters have them."""
        sentence_of = [i for i, (start, end) in enumerate(self.sentences) for _ in range(start, end)]
        for cluster in self.clusters:
            yield from (one for one in cluster if sentence_of[one[0]] != sentence_of[one[1] - 1])


@dataclass(frozen=True)
class CoreferenceDataset:
    """The documents of one data set, and what its reader found.

    Attributes:
        name: as in tables.
        language: of the texts.
        documents: in the order of the data.
        has_singletons: the corpus marks mentions that nothing else refers to. OntoNotes does not.
        is_partial: only some mentions are marked (GAP: three a text), so that figures of whole clusters mean nothing.
        counts: `documents`, `tokens`, `sentences`, `mentions`, `clusters`, `singletons`; if not zero also
            `documents_without_mentions`, `mentions_across_sentences`, and what a reader mended or left out.
        notes: one line for each thing that was left out, with its file, line and document.
        sha256: name of each file read -> SHA-256 of its bytes.
    """

    name: str
    language: str
    documents: Sequence[CoreferenceDocument]
    has_singletons: bool
    is_partial: bool
    counts: dict[str, int]
    notes: tuple[str, ...]
    sha256: dict[str, str]


class FaultLog:
    """What a reader does with the faults of a corpus: it refuses the first one, or counts and describes each.

    Attributes:
        counts: kind -> how often it was found.
        notes: one line for each fault.
    """

    def __init__(self, *, refuse: bool) -> None:
        self._refuse = refuse
        self.counts: Counter[str] = Counter()
        self.notes: list[str] = []

    def add(self, kind: str, what: str, remedy: str) -> None:
        """A fault by which something of the corpus is lost.

        Raises:
            InputError: faults are refused.
        """
        if self._refuse:
            raise InputError(f"{what}; {remedy}, or pass faults='leave_out' to leave such things out and count them")
        self.counts[kind] += 1
        self.notes.append(what)

    def count(self, kind: str, n: int = 1) -> None:
        """Something that is odd and by which nothing is lost."""
        self.counts[kind] += n


def distinct_clusters(
    clusters: Iterable[Sequence[Span]], words: Sequence[str], where: str, faults: FaultLog
) -> Clusters:
    """Clusters in which every mention comes once, both sorted; clusters that lose all mentions are gone.

    A mention that comes again in its own cluster is counted as `repeated_mentions`. One that comes again in another
    cluster is a fault (`mentions_in_two_clusters`), and stays in the first cluster only, as the reference scorer has
    it.

    Args:
        clusters: the mentions of each cluster, as spans of tokens, in the order of the corpus.
        words: of the document.
        where: its file and document, for errors.
        faults: of the corpus.

    Raises:
        InputError: a mention is in two clusters, and faults are refused.
    """
    place: dict[Span, int] = {}
    kept: list[list[Span]] = []
    for i, cluster in enumerate(clusters):
        kept.append([])
        for mention in cluster:
            first = place.setdefault(mention, i)
            if first != i:
                faults.add(
                    "mentions_in_two_clusters",
                    f"{where}: the mention {show_mention(mention, words)} is in two clusters",
                    "leave it in one of them",
                )
            elif mention in kept[i]:
                faults.count("repeated_mentions")
            else:
                kept[i].append(mention)
    return tuple(sorted(tuple(sorted(cluster)) for cluster in kept if cluster))


def show_mention(mention: Span, words: Sequence[str]) -> str:
    """A mention as errors show it: its first words and its tokens, counted from 0."""
    start, end = mention
    shown = " ".join(words[start : min(end, start + 5)]) + (" ..." if end - start > 5 else "")
    return f"{shown!r} (token {start:,})" if end == start + 1 else f"{shown!r} (tokens {start:,} to {end - 1:,})"


def make_coreference_dataset(
    documents: Iterable[CoreferenceDocument],
    *,
    source: str,
    name: str,
    language: str,
    sha256: dict[str, str],
    faults: FaultLog,
    has_singletons: bool | None = None,
    is_partial: bool = False,
) -> CoreferenceDataset:
    """Check the documents as a whole and count what they hold.

    Args:
        documents: what a reader read.
        source: what errors call the data.
        name: as in tables.
        language: of the texts.
        sha256: name -> hash of what was read.
        faults: what the reader found.
        has_singletons: whether the corpus marks singletons; whether there is one if None.
        is_partial: only some mentions are marked.

    Raises:
        InputError: there is no document, or an id comes twice.
    """
    rows = tuple(documents)
    if not rows:
        raise InputError(f"{source} holds no documents; pass data with at least one")
    repeated = next((one for one, n in Counter(row.id for row in rows).items() if n > 1), None)
    if repeated is not None:
        raise InputError(f"{source}: the document {repeated!r} comes twice; give each document a name of its own")
    counts = {
        "documents": len(rows),
        "tokens": sum(len(row.tokens) for row in rows),
        "sentences": sum(len(row.sentences) for row in rows),
        "mentions": sum(len(cluster) for row in rows for cluster in row.clusters),
        "clusters": sum(len(row.clusters) for row in rows),
        "singletons": sum(len(row.singletons) for row in rows),
    }
    odd = {
        "documents_without_mentions": sum(not row.clusters for row in rows),
        "mentions_across_sentences": sum(1 for row in rows for _ in row.mentions_across_sentences()),
        **faults.counts,
    }
    return CoreferenceDataset(
        name=name,
        language=language,
        documents=rows,
        has_singletons=counts["singletons"] > 0 if has_singletons is None else has_singletons,
        is_partial=is_partial,
        counts={**counts, **{key: n for key, n in odd.items() if n}},
        notes=tuple(faults.notes),
        sha256=sha256,
    )
