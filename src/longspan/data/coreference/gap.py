"""GAP (Webster et al. 2018): a pronoun and two names in a passage, and which of them it means."""

import csv
import io
from collections.abc import Iterator

from longspan.data.coreference.documents import CoreferenceDocument, FaultLog, Span, distinct_clusters
from longspan.data.coreference.members import Member
from longspan.data.coreference.words import split_words, tokens_of_characters
from longspan.data.decoding import decode
from longspan.errors import InputError

ENDINGS = (".tsv",)
_COLUMNS = ("ID", "Text", "Pronoun", "Pronoun-offset", "A", "A-offset", "A-coref", "B", "B-offset", "B-coref")


def read_gap(member: Member, faults: FaultLog) -> Iterator[CoreferenceDocument]:
    """The passages of one file; the pronoun is in a cluster with the name that it means, or alone.

    A passage has three mentions: the pronoun and the names A and B. Its other mentions are not marked. The words are
    those of `split_words`; a mention that begins or ends within a word takes the whole word (`mentions_widened`).

    Args:
        member: the file, tab-separated with a header.
        faults: of the corpus.

    Raises:
        InputError: the file is not UTF-8, lacks a column, or a row has other cells, an offset at which its name does
            not stand, both names as what the pronoun means, or something else than TRUE and FALSE. The message has
            the file, the row and the id.
    """
    rows = csv.DictReader(
        io.StringIO(decode(member.where, member.data), newline=""), delimiter="\t", quoting=csv.QUOTE_NONE
    )
    missing = [column for column in _COLUMNS if column not in (rows.fieldnames or ())]
    if missing:
        raise InputError(f"{member.where} lacks the columns {', '.join(missing)}; pass a file of GAP")
    for number, row in enumerate(rows, 1):
        if None in row or None in row.values():
            raise InputError(f"{member.where}: row {number:,} has not as many cells as the header; mend the row")
        where = f"{member.where}: row {number:,} ({row['ID']})"
        text = row["Text"]
        tokens = split_words(text)
        spans = [_tokens(row, name, text, tokens, where, faults) for name in ("Pronoun", "A", "B")]
        means = [_is_true(row, column, where) for column in ("A-coref", "B-coref")]
        if all(means):
            raise InputError(f"{where}: the pronoun means both names, which GAP does not have; mend the row")
        together = [spans[0], *(span for span, is_meant in zip(spans[1:], means, strict=True) if is_meant)]
        alone = [[span] for span, is_meant in zip(spans[1:], means, strict=True) if not is_meant]
        words = [text[start:end] for start, end in tokens]
        yield CoreferenceDocument(
            id=row["ID"],
            text=text,
            tokens=tokens,
            sentences=((0, len(tokens)),),
            speakers=(),
            clusters=distinct_clusters([together, *alone], words, where, faults),
        )


def _tokens(row: dict[str, str], name: str, text: str, tokens: tuple[Span, ...], where: str, faults: FaultLog) -> Span:
    offset, mention = row[f"{name}-offset"], row[name]
    start = int(offset) if offset.isdecimal() else len(text)
    end = start + len(mention)
    touched = tokens_of_characters((start, end), tokens)
    if not mention or text[start:end] != mention or touched is None:
        raise InputError(f"{where}: {name} is {mention!r}, which does not stand at character {offset}; mend the offset")
    faults.count("mentions_widened", tokens[touched[0]][0] < start or tokens[touched[1] - 1][1] > end)
    return touched


def _is_true(row: dict[str, str], column: str, where: str) -> bool:
    value = row[column].strip().upper()
    if value not in {"TRUE", "FALSE"}:
        raise InputError(f"{where}: {column} is {row[column]!r}; it must be TRUE or FALSE")
    return value == "TRUE"
