"""Records of QAngaroo's WikiHop and MedHop (Welbl, Stenetorp and Riedel 2018) -> `WikihopExample`."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from longspan.data.multihop.examples import ExampleCollector, WikihopExample
from longspan.data.record_checker import kind_of

_WORD = re.compile(r"\w+")


class WikihopCollector(ExampleCollector[WikihopExample]):
    """Checks records of QAngaroo one by one and collects them with their counts."""

    def add(self, record: Mapping[str, Any], where: str) -> None:
        """Check one record and keep it.

        Repeated candidates are given once. A candidate that occurs in no document stays a candidate, and is counted.

        Raises:
            InputError: a field is missing or of another type, the query, a candidate or every document is empty, there
                is no candidate, or the answer is not among the candidates.
        """
        query = self.text_of(record, "query", where)
        if not query.strip():
            self.fail(f"{where}.query", "is empty; write the query or remove the record")
        given = self._texts(record, "candidates", where)
        if not given:
            self.fail(f"{where}.candidates", "is empty; a question needs candidates to choose from")
        for i, candidate in enumerate(given):
            if not candidate.strip():
                self.fail(f"{where}.candidates[{i}]", "is empty; write the candidate or remove it")
        candidates = tuple(dict.fromkeys(given))
        supports = tuple(self._texts(record, "supports", where))
        if not any(text.strip() for text in supports):
            self.fail(f"{where}.supports", "holds no text; a question needs documents")
        if record.get("answer") is None:
            self.fail(where, "has no `answer`; a test set without answers can neither be trained on nor scored")
        answer = self.text_of(record, "answer", where)
        if answer not in candidates:
            some = ", ".join(map(repr, candidates[:5])) + (", ..." if len(candidates) > 5 else "")
            self.fail(
                f"{where}.answer",
                f"is {answer!r}, which is not among its {len(candidates)} candidates ({some}); add it to them or "
                "remove the record",
            )
        identifier = self.unique(where if record.get("id") is None else self.identifier_of(record, "id", where))
        missing = missing_candidates(candidates, supports)
        self.counts["questions"] += 1
        self.counts["questions_without_id"] += record.get("id") is None
        self.counts["candidates"] += len(candidates)
        self.counts["repeated_candidates"] += len(given) - len(candidates)
        self.counts["candidates_in_no_document"] += len(missing)
        self.counts["documents"] += len(supports)
        self.counts["empty_documents"] += sum(not text.strip() for text in supports)
        if answer in missing:
            self.counts["answers_in_no_document"] += 1
            self.unlocatable_ids.append(identifier)
        self.examples.append(
            WikihopExample(
                id=identifier,
                query=query,
                candidates=candidates,
                answer=answer,
                supports=supports,
                annotations=self._annotations(record, where),
            )
        )

    def _texts(self, record: Any, key: str, where: str) -> list[str]:
        return [self.text(text, f"{where}.{key}[{i}]") for i, text in enumerate(self.list_of(record, key, where))]

    def _annotations(self, record: Mapping[str, Any], where: str) -> tuple[tuple[str, ...], ...]:
        if record.get("annotations") is None:
            return ()
        rows = self.list_of(record, "annotations", where)
        for i, row in enumerate(rows):
            if not isinstance(row, list):
                self.fail(f"{where}.annotations[{i}]", f"should be a list, and is {kind_of(row)}")
        return tuple(tuple(self.text(word, f"{where}.annotations[{i}]") for word in row) for i, row in enumerate(rows))


def missing_candidates(candidates: Iterable[str], supports: Iterable[str]) -> set[str]:
    """The candidates that stand in none of the documents.

    Words are compared whole and without case and punctuation, as candidates are in lower case. A candidate without a
    letter or digit is looked for as it is.
    """
    texts = [text.lower() for text in supports]
    line = "\n".join(f" {' '.join(_WORD.findall(text))} " for text in texts)
    missing = set()
    for candidate in candidates:
        words = _WORD.findall(candidate.lower())
        is_there = f" {' '.join(words)} " in line if words else any(candidate in text for text in texts)
        if not is_there:
            missing.add(candidate)
    return missing
