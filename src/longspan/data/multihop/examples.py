"""Multi-hop questions as every reader gives them: over titled paragraphs of sentences, or with candidates (WikiHop)."""

from dataclasses import dataclass, field
from typing import Generic, Literal, NamedTuple, TypeVar

from longspan.data.record_checker import RecordChecker

AnswerKind = Literal["span", "yes", "no"]


class Span(NamedTuple):
    """Characters `start` to `end` (exclusive) of a document."""

    start: int
    end: int


class Fact(NamedTuple):
    """A sentence of an example: index of its paragraph, and of the sentence in it, both from 0."""

    paragraph: int
    sentence: int


class Evidence(NamedTuple):
    """A triple of 2WikiMultihopQA, with every name that counts for its subject and its object, the data's own first."""

    subjects: tuple[str, ...]
    relation: str
    objects: tuple[str, ...]


class Hop(NamedTuple):
    """A step of MuSiQue: its question, its answer, and the index of the paragraph that answers it (None: unknown)."""

    question: str
    answer: str
    paragraph: int | None


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """A paragraph of an example's document.

    Attributes:
        title: of its article; "" if it has none.
        title_span: where the title stands in the document; empty if there is none.
        sentences: where each sentence stands, without blanks around it; a sentence without text has an empty span. A
            paragraph of MuSiQue is one sentence.
    """

    title: str
    title_span: Span
    sentences: tuple[Span, ...]

    @property
    def span(self) -> Span:
        """From its title to the end of its last sentence."""
        return Span(self.title_span.start, max(self.title_span.end, *(sentence.end for sentence in self.sentences)))


@dataclass(frozen=True, kw_only=True)
class MultihopExample:
    """One question over several paragraphs.

    Attributes:
        id: unique in its data set.
        given_id: the id in the data. The two versions of a question in MuSiQue-Full share it.
        question: never empty.
        document: the paragraphs as one text: title, line end, sentences; an empty line between paragraphs.
        paragraphs: their titles and sentences, as places in `document`.
        answers: the answer, then its aliases.
        answer_spans: where an answer stands in `document`, in order; () for yes, no, questions without an answer, and
            answers that are not in the document.
        supporting_facts: the sentences that are needed for the answer, in order, each once; those that exist.
        gold_facts: title and sentence number of every supporting fact as the data has it, to be scored against. The
            ones that name no sentence of the document are in it, too: nobody can predict them.
        type: as the data calls it, e.g. "bridge" or "comparison"; "" if it does not say.
        level: "easy", "medium" or "hard" in HotpotQA; "" elsewhere.
        evidences: of 2WikiMultihopQA.
        hops: of MuSiQue.
        is_answerable: False for the questions of MuSiQue-Full of which a paragraph was taken away.
    """

    id: str
    given_id: str
    question: str
    document: str
    paragraphs: tuple[Paragraph, ...]
    answers: tuple[str, ...]
    answer_spans: tuple[Span, ...] = ()
    supporting_facts: tuple[Fact, ...] = ()
    gold_facts: tuple[tuple[str, int], ...] = ()
    type: str = ""
    level: str = ""
    evidences: tuple[Evidence, ...] = ()
    hops: tuple[Hop, ...] = ()
    is_answerable: bool = True

    @property
    def answer_kind(self) -> AnswerKind:
        """Whether the answer is "yes", "no", or a span of text."""
        return kind_of_answer(self.answers[0])

    @property
    def supporting_paragraphs(self) -> tuple[int, ...]:
        """Indices of the paragraphs with a supporting fact, in order."""
        return tuple(sorted({fact.paragraph for fact in self.supporting_facts}))

    def sentence_span(self, fact: Fact) -> Span:
        """Where a sentence stands in `document`."""
        return self.paragraphs[fact.paragraph].sentences[fact.sentence]

    def named(self, fact: Fact) -> tuple[str, int]:
        """A sentence by its title and number, as `gold_facts` and the official scorers name it."""
        return self.paragraphs[fact.paragraph].title, fact.sentence


def kind_of_answer(answer: str) -> AnswerKind:
    """Whether an answer is "yes", "no", or a span of text."""
    word = answer.strip().lower()
    return "yes" if word == "yes" else "no" if word == "no" else "span"


@dataclass(frozen=True, kw_only=True)
class WikihopExample:
    """One question of QAngaroo's WikiHop: which of the candidates completes the triple?

    Attributes:
        id: unique in its data set.
        query: relation and subject as the data has them: `record_label get ready`.
        candidates: each once, in the order of the data.
        answer: one of the candidates.
        supports: the documents.
        annotations: what three readers said of it: `(("follows", "multiple"), ...)`; () if the data does not say.
    """

    id: str
    query: str
    candidates: tuple[str, ...]
    answer: str
    supports: tuple[str, ...]
    annotations: tuple[tuple[str, ...], ...] = ()

    @property
    def relation(self) -> str:
        """The relation that is asked for, as Wikidata calls it, with blanks between its words."""
        return self.query.partition(" ")[0].replace("_", " ")

    @property
    def subject(self) -> str:
        """What the relation is asked of."""
        return self.query.partition(" ")[2]

    @property
    def answer_index(self) -> int:
        """Which of the candidates is the answer, from 0."""
        return self.candidates.index(self.answer)


Example = TypeVar("Example", MultihopExample, WikihopExample)


@dataclass(frozen=True, kw_only=True)
class MultihopDataset(Generic[Example]):
    """The questions of one data set, and what its reader found.

    Attributes:
        name: as in tables.
        language: of questions and documents.
        examples: in the order of the data.
        counts: how often something happened that a user of the data should know (docs/how-to-add-a-data-set.md lists
            all of them); what did not happen is not in it.
        unlocatable_ids: questions whose answer is not in their documents.
        sha256: name of each file read -> SHA-256 of its bytes, or name -> fingerprint for a set from the hub.
    """

    name: str
    language: str
    examples: list[Example]
    counts: dict[str, int] = field(default_factory=dict)
    unlocatable_ids: list[str] = field(default_factory=list)
    sha256: dict[str, str] = field(default_factory=dict)


class ExampleCollector(RecordChecker, Generic[Example]):
    """Checks records one by one and collects their examples; errors name the source and the record.

    Attributes:
        examples: in the order of the records.
        unlocatable_ids: questions whose answer is not in their documents.
    """

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self.examples: list[Example] = []
        self.unlocatable_ids: list[str] = []

    def dataset(self, name: str, language: str, sha256: dict[str, str]) -> MultihopDataset[Example]:
        """Return the collected examples as a data set.

        Raises:
            InputError: there is no question.
        """
        if not self.examples:
            self.fail("", "holds no questions")
        return MultihopDataset(
            name=name,
            language=language,
            examples=self.examples,
            counts={key: n for key, n in self.counts.items() if n},
            unlocatable_ids=self.unlocatable_ids,
            sha256=sha256,
        )
