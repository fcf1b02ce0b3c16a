"""One checked record of any layout -> a `MultihopExample`, with counts of what is odd about it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from longspan.data.multihop.examples import (
    Evidence,
    ExampleCollector,
    Fact,
    Hop,
    MultihopExample,
    Paragraph,
    Span,
    kind_of_answer,
)
from longspan.data.qa.trivia_qa import find_aliases

_PARAGRAPH_BREAK = "\n\n"


@dataclass(frozen=True, kw_only=True)
class MultihopRecord:
    """What a layout's reader takes from a record.

    Attributes:
        where: the record in errors.
        given_id, question, type, level, evidences, hops, is_answerable: as in `MultihopExample`.
        answers: the answer, then its aliases.
        paragraphs: title and sentences of each.
        named_facts: title and sentence number of each supporting fact, where the data names paragraphs by title.
        facts: the supporting facts, where the data marks the paragraphs themselves.
    """

    where: str
    given_id: str
    question: str
    answers: tuple[str, ...]
    paragraphs: Sequence[tuple[str, Sequence[str]]]
    named_facts: tuple[tuple[str, int], ...] = ()
    facts: tuple[Fact, ...] = ()
    type: str = ""
    level: str = ""
    evidences: tuple[Evidence, ...] = ()
    hops: tuple[Hop, ...] = field(default=())
    is_answerable: bool = True


class MultihopCollector(ExampleCollector[MultihopExample]):
    """Makes examples of records and counts what is odd about them."""

    def add(self, record: MultihopRecord) -> None:
        """Check what all layouts share, and keep the example.

        Raises:
            InputError: the question or its answer is empty, there is no paragraph, or one has no sentence.
        """
        where = record.where
        if not record.question.strip():
            self.fail(f"{where}.question", "is empty; write the question or remove the record")
        if not record.answers or not record.answers[0].strip():
            self.fail(f"{where}.answer", "is empty; write the answer or remove the record")
        if not record.paragraphs:
            self.fail(where, "has no paragraphs; a question needs documents")
        document, paragraphs = build_document(record.paragraphs)
        if not document.strip():
            self.fail(where, "has paragraphs without any text; give it documents or remove the record")
        facts, gold_facts = self._facts(record, paragraphs)
        identifier = self.unique(record.given_id)
        example = MultihopExample(
            id=identifier,
            given_id=record.given_id,
            question=record.question,
            document=document,
            paragraphs=paragraphs,
            answers=record.answers,
            answer_spans=self._answer_spans(record, document, identifier),
            supporting_facts=facts,
            gold_facts=gold_facts,
            type=record.type,
            level=record.level,
            evidences=record.evidences,
            hops=record.hops,
            is_answerable=record.is_answerable,
        )
        self.counts["questions"] += 1
        self.counts["paragraphs"] += len(paragraphs)
        self.counts["yes_no_answers"] += example.answer_kind != "span"
        self.counts["unanswerable_questions"] += not record.is_answerable
        self.counts["supporting_facts"] += len(gold_facts)
        self.counts["questions_without_facts"] += not gold_facts
        self.counts["empty_sentences"] += sum(
            sentence.start == sentence.end for paragraph in paragraphs for sentence in paragraph.sentences
        )
        self.counts["questions_with_repeated_titles"] += len({title for title, _ in record.paragraphs}) < len(
            paragraphs
        )
        self.examples.append(example)

    def _facts(
        self, record: MultihopRecord, paragraphs: tuple[Paragraph, ...]
    ) -> tuple[tuple[Fact, ...], tuple[tuple[str, int], ...]]:
        """The supporting facts that exist, and all of them by title and number."""
        if record.facts:
            facts = tuple(sorted(set(record.facts)))
            return facts, tuple((paragraphs[fact.paragraph].title, fact.sentence) for fact in facts)
        found: set[Fact] = set()
        named = tuple(dict.fromkeys(record.named_facts))
        self.counts["repeated_facts"] += len(record.named_facts) - len(named)
        for title, sentence in named:
            titled = [i for i, paragraph in enumerate(paragraphs) if paragraph.title == title]
            holding = [i for i in titled if sentence < len(paragraphs[i].sentences)]
            if not titled:
                self.counts["facts_without_paragraph"] += 1
            elif not holding:
                self.counts["facts_without_sentence"] += 1
            else:
                self.counts["facts_of_repeated_titles"] += len(holding) > 1
                found.add(Fact(holding[0], sentence))
        return tuple(sorted(found)), named

    def _answer_spans(self, record: MultihopRecord, document: str, identifier: str) -> tuple[Span, ...]:
        if not record.is_answerable or kind_of_answer(record.answers[0]) != "span":
            return ()
        spans = find_answers(document, record.answers)
        if not spans:
            spans = tuple(Span(*span) for span in find_aliases(document, record.answers))
            self.counts["respelled_answers" if spans else "unlocatable_answers"] += 1
            if not spans:
                self.unlocatable_ids.append(identifier)
        return spans


def build_document(paragraphs: Sequence[tuple[str, Sequence[str]]]) -> tuple[str, tuple[Paragraph, ...]]:
    """The paragraphs as one text, and where their titles and sentences stand in it.

    Sentences are joined as they are if one of them brings the blank before it along, as HotpotQA's do; else a blank is
    put between them, as 2WikiMultihopQA's need it.

    Args:
        paragraphs: title ("" for none) and sentences of each.
    """
    brings_blanks = any(sentence[:1].isspace() for _, sentences in paragraphs for sentence in sentences[1:])
    between = "" if brings_blanks else " "
    parts: list[str] = []
    n = 0

    def put(text: str) -> Span:
        """Add a text; where it stands without the blanks around it."""
        nonlocal n
        start = n + len(text) - len(text.lstrip()) if text.strip() else n
        parts.append(text)
        n += len(text)
        return Span(start, start + len(text.strip()))

    built = []
    for i, (title, sentences) in enumerate(paragraphs):
        if i:
            put(_PARAGRAPH_BREAK)
        title_span = put(title)
        if title:
            put("\n")
        spans = []
        for s, sentence in enumerate(sentences):
            if s:
                put(between)
            spans.append(put(sentence))
        built.append(Paragraph(title=title, title_span=title_span, sentences=tuple(spans)))
    return "".join(parts), tuple(built)


def find_answers(document: str, answers: Sequence[str]) -> tuple[Span, ...]:
    """Where one of the answers stands in a document as whole words, in order; no two of the spans overlap.

    Where two answers overlap, the one that begins first is given, and of two that begin together the longer one.
    """
    found = set()
    for answer in {text for answer in answers if (text := answer.strip())}:
        before, behind = (r"(?<!\w)" if answer[0].isalnum() else ""), (r"(?!\w)" if answer[-1].isalnum() else "")
        for match in re.finditer(before + re.escape(answer) + behind, document):
            found.add(Span(*match.span()))
    ordered = sorted(found, key=lambda span: (span.start, -span.end))
    kept: list[Span] = []
    for span in ordered:
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
    return tuple(kept)
