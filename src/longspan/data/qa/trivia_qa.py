"""Reads TriviaQA's Wikipedia part (Joshi et al. 2017): its release, or the rows of the hub's `rc.wikipedia`.

The data does not mark answers in the pages. As usual (Clark and Gardner 2018; Beltagy et al. 2020), every span that
equals an alias of the answer, after the normalisation of TriviaQA's scorer, is a gold answer, and
`QaExample.supervision` is "all". Evaluation compares with the aliases.

A question has one or more pages. For training, each page is a separate document, as for Longformer. For evaluation, a
question's pages are joined to one document, so that every question counts once.
"""

import hashlib
import re
import string
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, NamedTuple

from longspan.data.decoding import decoded_rows
from longspan.data.hub import fingerprint_of
from longspan.data.names import name_of_file
from longspan.data.opening import read_json, read_text
from longspan.data.qa.examples import GoldAnswer, QaDataset, QaExample
from longspan.data.qa.hub_rows import require_columns
from longspan.data.qa.squad import QaCollector
from longspan.errors import InputError
from longspan.records import hash_file

Documents = Literal["joined", "pages"]

_PAGE_BREAK = "\n\n"
_PUNCTUATION = "".join(dict.fromkeys(string.punctuation + "‘’´`"))
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def is_trivia_qa(content: Any) -> bool:
    """Whether a value read from JSON is a file of TriviaQA's release."""
    return isinstance(content, Mapping) and isinstance(content.get("Data"), list) and "Domain" in content


def read_trivia_qa(
    path: str | Path,
    *,
    evidence: str | Path | None = None,
    documents: Documents | None = None,
    name: str | None = None,
    content: Any = None,
) -> QaDataset:
    """Read a file of TriviaQA's release (`qa/wikipedia-dev.json`), plain or compressed, and its pages.

    If a file is made for the verified evaluation, only the questions and pages marked for it are read, as in the
    official scorer; the others are counted as `not_verified`.

    Args:
        path: the file of questions.
        evidence: the folder of the pages; None: `evidence/wikipedia` beside the file's folder.
        documents: "joined" makes one example of a question with all its pages; "pages" makes one example per page,
            with the id `<question>--<file of the page>`. None: "pages" for the training split, else "joined".
        name: name in tables; None: the file's name without suffixes.
        content: the file's content, if it was read already.

    Returns:
        Data set whose examples have `aliases`, "trivia_qa" as `rules` and "all" as `supervision`. Questions without an
        alias in the document are in `unlocatable_ids`. `counts` also has `pages`, `empty_pages` (left out), and
        `questions_without_page` (joined: asked with an empty document, so that they count as wrong; pages: left out).

    Raises:
        InputError: a file is missing or damaged, belongs to TriviaQA's web part, or has no answers; or a record lacks a
            field.
    """
    path = Path(path)
    content = read_json(path) if content is None else content
    if not is_trivia_qa(content):
        raise InputError(f"{path} is not in TriviaQA's format: it should be an object with `Data` and `Domain`")
    if content["Domain"] != "Wikipedia":
        raise InputError(f"{path} is of TriviaQA's {content['Domain']} part; longspan reads wikipedia-*.json")
    folder = Path(evidence) if evidence is not None else path.absolute().parent.parent / "evidence" / "wikipedia"
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; TriviaQA's pages belong there, beside the folder of {path.name}")
    pages = _Pages(folder)
    records = list(_records(content, pages, QaCollector(str(path))))
    if documents is None:
        documents = "pages" if content.get("Split") == "train" else "joined"
    n_left_out = len(content["Data"]) - len(records)
    dataset = _dataset(records, documents, str(path), name or name_of_file(path), {path.name: hash_file(path)})
    if n_left_out:
        dataset.counts["not_verified"] = n_left_out
    dataset.sha256[f"{folder.name} ({len(pages.texts)} pages)"] = pages.hash()
    return dataset


def trivia_qa_from_rows(rows: Any, *, source: str, name: str, documents: Documents) -> QaDataset:
    """Make a data set from a `datasets.Dataset` with the columns of the hub's `rc.wikipedia`; see `read_trivia_qa`.

    Raises:
        InputError: a column is missing, or a record has no answer.
    """
    require_columns(rows, ("question", "question_id", "entity_pages", "answer"), source)
    collector = QaCollector(source)
    return _dataset(
        _hub_records(decoded_rows(rows, source), collector), documents, source, name, {source: fingerprint_of(rows)}
    )


class _Page(NamedTuple):
    file: str
    title: str
    text: str


class _Record(NamedTuple):
    identifier: str
    question: str
    aliases: list[str]
    pages: list[_Page]


class _Pages:
    """The texts of the pages in a folder; each is read once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.texts: dict[str, str] = {}

    def text(self, file: str) -> str:
        if file not in self.texts:
            self.texts[file] = read_text(self.folder / file)
        return self.texts[file]

    def hash(self) -> str:
        digest = hashlib.sha256()
        for file, text in sorted(self.texts.items()):
            digest.update(file.encode() + b"\0" + text.encode() + b"\0")
        return digest.hexdigest()


def _records(content: Mapping[str, Any], pages: _Pages, collector: QaCollector) -> Iterator[_Record]:
    only_verified = content.get("VerifiedEval") is True
    for i, row in enumerate(content["Data"]):
        where = f"Data[{i}]"
        identifier = collector.text_of(row, "QuestionId", where)
        if only_verified and not row.get("QuestionPartOfVerifiedEval"):
            continue
        answer = row.get("Answer")
        if not answer:
            collector.fail(where, "has no `Answer`; a test set without answers can neither be trained on nor scored")
        if not isinstance(answer, Mapping):
            collector.fail(f"{where}.Answer", "should be an object with `NormalizedAliases`")
        aliases = []
        for key in ("NormalizedAliases", "HumanAnswers"):
            if answer.get(key) is not None:
                aliases += collector.list_of(answer, key, f"{where}.Answer")
        value = answer.get("NormalizedValue")
        found = []
        for p, page in enumerate(row.get("EntityPages") or []):
            if not only_verified or page.get("DocPartOfVerifiedEval"):
                file = collector.text_of(page, "Filename", f"{where}.EntityPages[{p}]")
                title = collector.text_of(page, "Title", f"{where}.EntityPages[{p}]", default="")
                found.append(_Page(file, title, pages.text(file)))
        question = collector.text_of(row, "Question", where)
        yield _Record(identifier, question, _checked(aliases, value, collector, where), found)


def _hub_records(rows: Iterable[Mapping[str, Any]], collector: QaCollector) -> Iterator[_Record]:
    for i, row in enumerate(rows):
        where, answer = f"row {i}", row["answer"]
        aliases = _checked(answer["normalized_aliases"], answer.get("normalized_value"), collector, where)
        pages = row["entity_pages"]
        if isinstance(pages, Mapping):  # `datasets` converts a list of objects to an object of lists
            pages = [dict(zip(pages, values, strict=True)) for values in zip(*pages.values(), strict=True)]
        found = [
            _Page(page["filename"], page["title"], collector.text_of(page, "wiki_context", f"{where}: page {p}"))
            for p, page in enumerate(pages)
        ]
        identifier = collector.identifier_of(row, "question_id", where)
        yield _Record(identifier, collector.text_of(row, "question", where), aliases, found)


def _checked(aliases: list[str], value: str | None, collector: QaCollector, where: str) -> list[str]:
    """Return the aliases without repetitions, the main one first; the order has no effect on scores."""
    if not aliases:
        collector.fail(where, "has no aliases of its answer; a test set can neither be trained on nor scored")
    texts = [collector.text(alias, f"{where}: alias {i}") for i, alias in enumerate(aliases)]
    return list(dict.fromkeys([*([value] if value in texts else []), *texts]))


def _dataset(
    records: Iterable[_Record], documents: Documents, source: str, name: str, sha256: dict[str, str]
) -> QaDataset:
    collector = QaCollector(source)
    counts = collector.counts
    for record in records:
        pages = [page for page in record.pages if page.text.strip()]
        counts["pages"] += len(pages)
        counts["empty_pages"] += len(record.pages) - len(pages)
        counts["questions_without_page"] += not pages
        if documents == "joined":
            _add(collector, record.identifier, record, pages)
        else:
            for page in pages:
                _add(collector, f"{record.identifier}--{page.file}", record, [page])
    return collector.dataset(name, "en", sha256)


def _add(collector: QaCollector, identifier: str, record: _Record, pages: list[_Page]) -> None:
    """Add one question over some pages."""
    answers: list[GoldAnswer] = []
    begin = 0
    for page in pages:
        # Page by page, so that no alias spans two pages.
        answers += [
            GoldAnswer(page.text[start:end], begin + start) for start, end in find_aliases(page.text, record.aliases)
        ]
        begin += len(page.text) + len(_PAGE_BREAK)
    identifier = collector.unique(identifier)
    if not answers:
        answers = [GoldAnswer(record.aliases[0], None)]
        collector.counts["unlocatable_answers"] += 1
        collector.unlocatable_ids.append(identifier)
    collector.counts["questions"] += 1
    collector.counts["answers"] += len(answers)
    collector.examples.append(
        QaExample(
            id=identifier,
            question=record.question,
            context=_PAGE_BREAK.join(page.text for page in pages),
            answers=tuple(answers),
            title="; ".join(page.title for page in pages),
            supervision="all",
            rules="trivia_qa",
            aliases=tuple(record.aliases),
        )
    )


class _Words(NamedTuple):
    """The words of a text after the normalisation of TriviaQA's scorer.

    Attributes:
        line: the words, with a blank before, between and after them.
        begins: offset of each word in `line`.
        spans: span of each word in the text.
    """

    line: str
    begins: list[int]
    spans: list[tuple[int, int]]


def find_aliases(text: str, aliases: Iterable[str]) -> list[tuple[int, int]]:
    """Find the character spans of `text` that equal an alias after normalisation by TriviaQA's rules, in order.

    Case, punctuation and English articles are ignored, and whole words are compared. Spans begin and end with a
    character that is not ignored: `Beatles` of "The Beatles.".
    """
    words = _words_of(text)
    found = set()
    for alias in aliases:
        wanted = _words_of(alias)
        at = words.line.find(wanted.line) if wanted.spans else -1
        while at >= 0:
            first = bisect_left(words.begins, at + 1)
            found.add((words.spans[first][0], words.spans[first + len(wanted.spans) - 1][1]))
            at = words.line.find(wanted.line, at + 1)
    return sorted(found)


def _words_of(text: str) -> _Words:
    blanked = text.lower()
    origin = None
    if len(blanked) != len(text):  # a capital I with a dot becomes two characters in lower case
        origin = [i for i, character in enumerate(text) for _ in character.lower()]
    for sign in _PUNCTUATION:  # several times faster than `translate` on text with other than ASCII characters
        blanked = blanked.replace(sign, " ")
    blanked = _ARTICLES.sub(lambda article: " " * len(article[0]), blanked)
    words = blanked.split()
    spans = [word.span() for word in re.finditer(r"\S+", blanked)]
    if origin is not None:
        spans = [(origin[start], origin[end - 1] + 1) for start, end in spans]
    begins = list(accumulate((len(word) + 1 for word in words), initial=1))[:-1]
    return _Words(f" {' '.join(words)} ", begins, spans)
