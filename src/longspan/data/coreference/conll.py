"""CoNLL columns with coreference brackets in the last one: OntoNotes, LitBank, OpenBoek, GerDraCor, GUM and others."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from longspan.data.coreference.documents import CoreferenceDocument, FaultLog, Span, distinct_clusters
from longspan.data.coreference.members import Member
from longspan.data.coreference.words import join_words
from longspan.data.decoding import decode
from longspan.data.opening import split_lines
from longspan.errors import InputError

ENDINGS = ("conll",)
"""Also `.v4_gold_conll` and `.gold_conll`."""
_BEGIN = re.compile(r"#\s*begin document(?: (.*))?")
_END = re.compile(r"#\s*end document.*")
_NAME_AND_PART = re.compile(r"\((.*)\);(?: part (\d+))?")
_BRACKET = re.compile(r"(\()?([^()|\s]+)(\))?")
_NOTHING = ("-", "_", "*")
_SPEAKER_COLUMN = 9
_COLUMNS_WITH_SPEAKER = 11
_COLUMNS_WITH_NAME = 4
_FEWEST_COLUMNS = 3


@dataclass
class _Columns:
    """The lines of one document, read so far."""

    header: str
    where: str  # file and document
    line: int  # of #begin document
    words: list[str] = field(default_factory=list)
    speakers: list[str | None] = field(default_factory=list)
    sentence_starts: list[int] = field(default_factory=list)
    is_new_sentence: bool = True
    clusters: dict[str, list[Span]] = field(default_factory=dict)
    opened: dict[str, list[tuple[int, int]]] = field(default_factory=dict)  # cluster -> (token, line) of each


def read_conll(member: Member, faults: FaultLog) -> Iterator[CoreferenceDocument]:
    """The documents of one file of CoNLL columns; each part of a document is a document.

    A line has its columns between tabs, or between spaces if it has no tab. The last column has the brackets, between
    `|` or not: `(3`, `3)`, `(3)`, with any name of a cluster in place of the number; `-`, `_`, `*` and nothing stand
    for no mention. The word is in column 4, or in column 2 of lines with three columns, as GUM has them. Of 11 columns
    and more, column 10 is the speaker. A blank line ends a sentence. A closing bracket closes the last open one of its
    cluster. Lines that begin with `#` are comments.

    A bracket that is never closed or never opened is a fault (`unbalanced_brackets`), and no mention is made of it. A
    mention that ends in another sentence is kept.

    Args:
        member: the file.
        faults: of the corpus.

    Raises:
        InputError: the file is not UTF-8, a line stands outside of a document, has too few columns or something in its
            last column that is no bracket, a document is empty or does not end; or as `distinct_clusters`; or a
            bracket is unbalanced and faults are refused. The message has the file, the line and the document.
    """
    columns: _Columns | None = None
    n_documents = 0
    for number, text in enumerate(split_lines(decode(member.where, member.data)), 1):
        begin = _BEGIN.match(text)
        if begin:
            if columns is not None:
                raise _not_ended(columns)
            n_documents += 1
            header = begin[1] or ""
            columns = _Columns(header, f"{member.where}: document {id_of_header(header)!r}", number)
            if not id_of_header(header):
                raise InputError(f"{member.where}: line {number:,} begins a document without a name; give it one")
        elif _END.match(text):
            if columns is None:
                raise InputError(f"{member.where}: line {number:,} ends a document that did not begin; mend the file")
            yield _document(columns, faults)
            columns = None
        elif not text.strip():
            if columns is not None:
                columns.is_new_sentence = True
        elif not _is_comment(text):
            if columns is None:
                raise InputError(
                    f"{member.where}: line {number:,} stands before '#begin document'; pass a file of CoNLL columns"
                )
            _read_line(columns, number, text, faults)
    if columns is not None:
        raise _not_ended(columns)
    if not n_documents:
        raise InputError(f"{member.where} has no line '#begin document'; pass a file of CoNLL columns")


def parts_of_header(header: str) -> tuple[str, str | None]:
    """The name of a document and the number of its part, as they follow `#begin document`; None without a part."""
    found = _NAME_AND_PART.match(header)
    return (header.strip(), None) if found is None else (found[1], found[2])


def id_of_header(header: str) -> str:
    """The id of a document: `(bc/cctv_0000); part 003` has the id `bc/cctv_0000_3`; the name if there is no part."""
    name, part = parts_of_header(header)
    return name if part is None else f"{name}_{int(part)}"


def _not_ended(columns: _Columns) -> InputError:
    return InputError(
        f"{columns.where}, begun in line {columns.line:,}, has no '#end document'; the file is cut: fetch it again"
    )


def _is_comment(text: str) -> bool:
    return text.startswith("#") and text.count("\t") < _FEWEST_COLUMNS - 1


def _read_line(columns: _Columns, number: int, text: str, faults: FaultLog) -> None:
    cells = text.split("\t") if "\t" in text else text.split()
    while len(cells) > _COLUMNS_WITH_NAME + 1 and not cells[-1]:
        cells.pop()  # LitBank's last column may be empty, and some lines end in a tab
    where = f"{columns.where}, line {number:,}"
    if len(cells) < _FEWEST_COLUMNS:
        raise InputError(f"{where} has {len(cells)} columns; a line needs a number, a word and the column of brackets")
    word = cells[3] if len(cells) >= _COLUMNS_WITH_NAME else cells[-2]
    if not word:
        raise InputError(f"{where} has no word; mend the line")
    token = len(columns.words)
    if columns.is_new_sentence:
        columns.sentence_starts.append(token)
        columns.is_new_sentence = False
    columns.words.append(word)
    speaker = cells[_SPEAKER_COLUMN] if len(cells) >= _COLUMNS_WITH_SPEAKER else "-"
    columns.speakers.append(None if speaker in _NOTHING else speaker)
    if cells[-1].strip() not in ("", *_NOTHING):
        _read_brackets(columns, number, token, cells[-1].strip(), faults)


def _read_brackets(columns: _Columns, number: int, token: int, cell: str, faults: FaultLog) -> None:
    where = f"{columns.where}, line {number:,}"
    place = 0
    for found in _BRACKET.finditer(cell):
        begins, cluster, ends = found.groups()
        if cell[place : found.start()].strip("|") or not (begins or ends):
            break
        place = found.end()
        # The order of clusters is that of their first brackets.
        mentions = columns.clusters.setdefault(cluster, [])
        opened = columns.opened.setdefault(cluster, [])
        if begins and ends:
            mentions.append((token, token + 1))
        elif begins:
            opened.append((token, number))
        elif opened:
            mentions.append((opened.pop()[0], token + 1))
        else:
            faults.add(
                "unbalanced_brackets",
                f"{where}: the bracket {found[0]!r} closes a mention that was not opened",
                "mend the bracket",
            )
    if cell[place:].strip("|"):
        raise InputError(
            f"{where}: the last column is {cell!r}; it must hold brackets such as (3, 3) or (3), or - for none"
        )


def _document(columns: _Columns, faults: FaultLog) -> CoreferenceDocument:
    if not columns.words:
        raise InputError(f"{columns.where}, begun in line {columns.line:,}, has no words; remove the document")
    for cluster, opened in columns.opened.items():
        for _, line in opened:
            faults.add(
                "unbalanced_brackets",
                f"{columns.where}, line {line:,}: the bracket '({cluster}' is never closed",
                "mend the bracket",
            )
    text, tokens = join_words(columns.words)
    n_tokens = len(tokens)
    return CoreferenceDocument(
        id=id_of_header(columns.header),
        text=text,
        tokens=tokens,
        sentences=tuple(zip(columns.sentence_starts, [*columns.sentence_starts[1:], n_tokens], strict=True)),
        speakers=tuple(columns.speakers) if any(columns.speakers) else (),
        clusters=distinct_clusters(columns.clusters.values(), columns.words, columns.where, faults),
        header=columns.header,
    )
