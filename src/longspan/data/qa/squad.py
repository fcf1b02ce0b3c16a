"""Reads SQuAD's JSON, versions 1.1 and 2.0, and rows with SQuAD's columns."""

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from longspan.data.names import name_of_file
from longspan.data.opening import read_json
from longspan.data.qa.examples import GoldAnswer, QaDataset, QaExample
from longspan.data.qa.repair_offsets import locate_answer
from longspan.data.record_checker import RecordChecker, kind_of
from longspan.records import hash_file

logger = logging.getLogger(__name__)


def read_squad(path: str | Path, *, language: str = "en", name: str | None = None) -> QaDataset:
    """Read a file in the format of SQuAD 1.1 or 2.0, plain or compressed (.gz, .xz, .bz2, .zip, .zst).

    No question is left out. A gold answer with a wrong offset is located (`locate_answer`) and counted. A gold answer
    that is not in its context keeps its text and gets no offset, and its question is listed in `unlocatable_ids`.

    Args:
        path: the file.
        language: language of the contexts, an ISO 639-1 code.
        name: name in tables; None: the file's name without suffixes.

    Raises:
        InputError: the file is missing, damaged or not in this format; or a record lacks `context`, `question` or `id`,
            has one of the wrong type, or has an empty document or question (the message names the record).
    """
    path = Path(path)
    return dataset_from_squad(
        read_json(path),
        source=str(path),
        name=name or name_of_file(path),
        language=language,
        sha256={path.name: hash_file(path)},
    )


def dataset_from_squad(
    content: Any,
    *,
    source: str,
    name: str,
    language: str,
    sha256: Mapping[str, str] | None = None,
    keep: Callable[[str], bool] | None = None,
) -> QaDataset:
    """Make a data set from a value read from SQuAD's JSON.

    Args:
        content: the value.
        source: name of the source in errors.
        name: name in tables.
        language: language of the contexts.
        sha256: hashes of the files it comes from.
        keep: predicate on question ids; questions for which it is False are counted as `other_languages`.

    Raises:
        InputError: as `read_squad`.
    """
    collector = QaCollector(source, keep)
    where = ""
    if not isinstance(content, Mapping) or not isinstance(content.get("data"), list):
        collector.fail(where, "is not in SQuAD's format: it should be an object with a list `data`")
    for a, article in enumerate(content["data"]):
        where = f"data[{a}]"
        title = collector.text_of(article, "title", where, default="")
        for p, paragraph in enumerate(collector.list_of(article, "paragraphs", where)):
            where = f"data[{a}].paragraphs[{p}]"
            context = collector.document(paragraph, where)
            for q, question in enumerate(collector.list_of(paragraph, "qas", where)):
                collector.add(question, context=context, title=title, where=f"{where}.qas[{q}]")
    return collector.dataset(name, language, dict(sha256 or {}))


def dataset_from_rows(
    rows: Iterable[Mapping[str, Any]],
    *,
    source: str,
    name: str,
    language: str,
    sha256: Mapping[str, str] | None = None,
    keep: Callable[[str], bool] | None = None,
) -> QaDataset:
    """Make a data set from rows with SQuAD's columns, from `datasets` or JSON lines.

    Args:
        rows: each with `id`, `question`, `context`, `answers` (`{"text": [...], "answer_start": [...]}` or a list of
            `{"text", "answer_start"}`) and optionally `title`, `is_impossible`.
        source: name of the source in errors.
        name: name in tables.
        language: language of the contexts.
        sha256: hashes of the files the rows come from.
        keep: as in `dataset_from_squad`.

    Raises:
        InputError: as `read_squad`; the message names `source` and the row, from 0.
    """
    collector = QaCollector(source, keep)
    for i, row in enumerate(rows):
        where = f"row {i}"
        context = collector.document(row, where)
        collector.add(row, context=context, title=collector.text_of(row, "title", where, default=""), where=where)
    return collector.dataset(name, language, dict(sha256 or {}))


class QaCollector(RecordChecker):
    """Checks records one by one and collects them with their counts; errors name the source and the record."""

    def __init__(self, source: str, keep: Callable[[str], bool] | None = None) -> None:
        super().__init__(source)
        self.keep = keep
        self.examples: list[QaExample] = []
        self.unlocatable_ids: list[str] = []

    def document(self, record: Any, where: str) -> str:
        """Return the record's `context`, which must not be empty."""
        context = self.text_of(record, "context", where)
        if not context.strip():
            self.fail(f"{where}.context", "is an empty document; give it text or remove the record")
        return context

    def add(self, record: Any, *, context: str, title: str, where: str) -> None:
        """Check one question and add it."""
        question = self.text_of(record, "question", where)
        if not question.strip():
            self.fail(f"{where}.question", "is empty; write the question or remove the record")
        given = self.identifier_of(record, "id", where)
        if self.keep is not None and not self.keep(given):
            self.counts["other_languages"] += 1
            return
        identifier = self.unique(given)
        answers = [self._locate(context, answer, identifier) for answer in self._answers(record, where)]
        is_impossible = record.get("is_impossible")
        if not isinstance(is_impossible, bool | None):
            self.fail(f"{where}.is_impossible", f"should be true or false, and is {kind_of(is_impossible)}")
        if is_impossible and answers:
            self.fail(where, "is marked `is_impossible` and has answers; remove one of the two")
        if is_impossible is False and not answers:
            self.fail(where, "has no answers though `is_impossible` is false; add the answers or mark it impossible")
        self.counts["questions"] += 1
        self.counts["answers"] += len(answers)
        self.counts["impossible"] += not answers
        self.examples.append(
            QaExample(
                id=identifier,
                question=question,
                context=context,
                answers=tuple(answers),
                title=title,
                is_impossible=not answers,
            )
        )

    def dataset(self, name: str, language: str, sha256: dict[str, str]) -> QaDataset:
        """Return the added questions as a data set."""
        if not self.examples:
            self.fail("", "holds no questions")
        if self.counts["answers"] and self.counts["empty_answers"] == self.counts["answers"]:
            logger.warning(
                "%s: every answer is empty; this is a copy without labels, and scores on it have no meaning", name
            )
        return QaDataset(
            name=name,
            language=language,
            examples=self.examples,
            counts={key: n for key, n in self.counts.items() if n},
            unlocatable_ids=self.unlocatable_ids,
            sha256=sha256,
        )

    def _answers(self, record: Mapping[str, Any], where: str) -> list[tuple[str, int]]:
        """Text and given offset of each answer."""
        if "answers" not in record and record.get("is_impossible") is True:
            return []
        value = self.field(record, "answers", where)
        where = f"{where}.answers"
        if isinstance(value, Mapping):
            texts, starts = self.list_of(value, "text", where), self.list_of(value, "answer_start", where)
            if len(texts) != len(starts):
                self.fail(where, f"has {len(texts)} texts and {len(starts)} offsets (`answer_start`)")
            value = [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]
        if not isinstance(value, list):
            self.fail(where, f"should be a list of answers, and is {kind_of(value)}")
        answers = []
        for i, answer in enumerate(value):
            text = self.text_of(answer, "text", f"{where}[{i}]")
            start = self.field(answer, "answer_start", f"{where}[{i}]")
            if isinstance(start, bool) or not isinstance(start, int):
                self.fail(f"{where}[{i}].answer_start", f"should be a whole number, and is {kind_of(start)}")
            answers.append((text, start))
        return answers

    def _locate(self, context: str, answer: tuple[str, int], identifier: str) -> GoldAnswer:
        located = locate_answer(context, *answer)
        if located.how == "repaired":
            self.counts["repaired_offsets"] += 1
        elif located.how == "respelled":
            self.counts["respelled_answers"] += 1
        elif located.how == "missing":
            self.counts["unlocatable_answers"] += 1
            self.counts["empty_answers"] += not answer[0].strip()
            if self.unlocatable_ids[-1:] != [identifier]:
                self.unlocatable_ids.append(identifier)
        return located.answer
