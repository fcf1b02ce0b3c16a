"""Documents and clusters -> CoNLL-2012 columns, for scorers and viewers of that format."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from longspan.data.coreference.conll import parts_of_header
from longspan.data.coreference.documents import CoreferenceDocument, Span, show_mention
from longspan.errors import InputError
from longspan.files import replace_file

_EMPTY = "\t-" * 5  # part of speech, parse, lemma, frameset, sense


def write_conll(
    path: Path,
    documents: Iterable[CoreferenceDocument],
    clusters: Iterable[Sequence[Sequence[Span]]] | None = None,
    *,
    leave_out_crossing: bool = False,
) -> int:
    """Write documents as CoNLL-2012 columns, with their own clusters or with predicted ones.

    Args:
        path: the file; it is written whole or not at all.
        documents: what to write.
        clusters: of each document, in the order of the documents; the documents' own clusters if None.
        leave_out_crossing: as in `conll_of_document`.

    Returns:
        The number of mentions that were left out.

    Raises:
        InputError: as `conll_of_document`.
    """
    rows = list(documents)
    own = [row.clusters for row in rows] if clusters is None else list(clusters)
    texts: list[str] = []
    n_left_out = 0
    for row, one in zip(rows, own, strict=True):
        text, n = conll_of_document(row, one, leave_out_crossing=leave_out_crossing)
        texts.append(text)
        n_left_out += n
    with replace_file(path) as temporary:
        temporary.write_text("".join(texts), encoding="utf-8", newline="\n")
    return n_left_out


def conll_of_document(
    document: CoreferenceDocument,
    clusters: Sequence[Sequence[Span]] | None = None,
    *,
    leave_out_crossing: bool = False,
) -> tuple[str, int]:
    """One document as CoNLL-2012 columns; `read_conll` reads the same words, sentences, speakers and clusters.

    Clusters are numbered from 0 in their order. The header is the document's own, so that scorers find the document
    in a file of the corpus; without one it is `(id);`.

    Brackets of one cluster tell no mentions apart that overlap without one lying inside the other: `(1 (1 1) 1)` has
    the inner and the outer mention. Such mentions are refused or left out. So are two mentions of a cluster of which
    one ends at the token where the other begins, for which the reference scorer reads other mentions.

    Args:
        document: its words.
        clusters: spans of tokens; the document's own if None.
        leave_out_crossing: leave out a mention that overlaps an earlier one of its cluster in this way.

    Returns:
        The lines, and the number of mentions that were left out.

    Raises:
        InputError: two mentions of a cluster cross and are not left out, a mention comes twice or is not within the
            document, or a word holds a tab or a line's end.
    """
    clusters = document.clusters if clusters is None else clusters
    n_tokens = len(document.tokens)
    words = document.words
    known: set[Span] = set()
    begins: list[list[tuple[int, str]]] = [[] for _ in range(n_tokens)]
    singles: list[list[str]] = [[] for _ in range(n_tokens)]
    ends: list[list[tuple[int, str]]] = [[] for _ in range(n_tokens)]
    n_left_out = 0
    for number, cluster in enumerate(clusters):
        kept: list[Span] = []
        for start, end in sorted(cluster):
            if not 0 <= start < end <= n_tokens:
                raise InputError(
                    f"document {document.id!r}: the mention of tokens {start:,} to {end - 1:,} is not within its "
                    f"{n_tokens:,} tokens; pass clusters of this document"
                )
            if (start, end) in known:
                raise InputError(
                    f"document {document.id!r}: the mention {show_mention((start, end), words)} comes twice; "
                    "leave it in one cluster"
                )
            known.add((start, end))
            crossed = next((one for one in kept if one[0] < start < one[1] < end), None)
            if crossed is None:
                kept.append((start, end))
            elif leave_out_crossing:
                n_left_out += 1
            else:
                raise InputError(
                    f"document {document.id!r}: {show_mention(crossed, words)} and {show_mention((start, end), words)} "
                    "are in one cluster and cross, which brackets cannot say; pass leave_out_crossing=True"
                )
        for start, end in kept:
            if end == start + 1:
                singles[start].append(f"({number})")
            else:
                begins[start].append((-end, f"({number}"))
                ends[end - 1].append((-start, f"{number})"))

    header = document.header if document.header is not None else f"({document.id});"
    name, part = parts_of_header(header)
    lines = [f"#begin document {header}"]
    for first, last in document.sentences:
        for i in range(first, last):
            word = words[i]
            if any(mark in word for mark in "\t\r\n"):
                raise InputError(f"document {document.id!r}: the word {word!r} cannot be written in columns; mend it")
            speaker = (document.speakers[i] if document.speakers else None) or "-"
            # One-token mentions stand first, longer ones open outside in and close inside out.
            brackets = [
                *(text for _, text in sorted(begins[i])),
                *singles[i],
                *(text for _, text in sorted(ends[i])),
            ]
            cell = "|".join(brackets) or "-"
            lines.append(f"{name}\t{part or 0}\t{i - first}\t{word}{_EMPTY}\t{speaker}\t*\t{cell}")
        lines.append("")
    return "\n".join([*lines, "#end document", ""]), n_left_out
