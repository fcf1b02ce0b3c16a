"""What every reader gives and everything above reads: questions over documents, with their gold answers."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class GoldAnswer:
    """One gold answer of a question.

    Attributes:
        text: the answer as its data set gives it.
        start: character offset of `text` in the context, so that `context[start:start + len(text)] == text`; None
            where the text is not in the context. Such an answer cannot be trained on, and still counts in evaluation.
    """

    text: str
    start: int | None


@dataclass(frozen=True, kw_only=True)
class QaExample:
    """One question over one document.

    Attributes:
        id: unique in its data set.
        question: never empty.
        context: the document, never empty.
        answers: every gold answer; empty where the question has none in the document.
        title: of the article the context comes from, where the data set says.
        is_impossible: the data set says that the document does not answer the question (SQuAD 2.0).
        slot: which of the concatenated paragraphs holds the answer, from 0; None where nothing was concatenated.
        n_slots: how many paragraphs the context is made of.
        depth: where the answer was put in a document that was made, 0 to 1; None where nothing was put.
        nominal_tokens: tokens that a document was made to have; None for documents as they are.
        supervision: what is trained on: "first" of the answers that stand in the document, or "all" of them at once
            (distant supervision: any of them may be the one that was meant).
        rules: by which answers are compared (`longspan.metrics.normalize_answer`): "mlqa" is the language's own.
        aliases: what evaluation compares with, where this is not the texts of `answers`.
    """

    id: str
    question: str
    context: str
    answers: tuple[GoldAnswer, ...]
    title: str = ""
    is_impossible: bool = False
    slot: int | None = None
    n_slots: int = 1
    depth: float | None = None
    nominal_tokens: int | None = None
    supervision: Literal["first", "all"] = "first"
    rules: str = "mlqa"
    aliases: tuple[str, ...] = ()

    @property
    def golds(self) -> list[str]:
        """The texts that evaluation compares with."""
        return list(self.aliases) or [answer.text for answer in self.answers]


@dataclass(frozen=True, kw_only=True)
class QaDataset:
    """The questions of one data set in one language, and what its reader saw.

    Attributes:
        name: as in tables, e.g. `xquad.el` or `xquad.el x5`.
        language: of the contexts and answers; decides the metric's normalisation.
        examples: in the order of the data set.
        counts: how often something happened that a reader should know: `questions`, `answers`, `impossible`,
            `repaired_offsets`, `respelled_answers`, `unlocatable_answers` (of which `empty_answers`), `repeated_ids`.
        unlocatable_ids: questions with a gold answer that is not in their context.
        sha256: name of each file read -> SHA-256 of its bytes, or name -> fingerprint for a set from the hub.
    """

    name: str
    language: str
    examples: list[QaExample]
    counts: dict[str, int] = field(default_factory=dict)
    unlocatable_ids: list[str] = field(default_factory=list)
    sha256: dict[str, str] = field(default_factory=dict)

    @property
    def supervision(self) -> Literal["first", "all"]:
        """What its questions are trained on: "all" where one of them is trained on all of its answers at once."""
        return "all" if any(example.supervision == "all" for example in self.examples) else "first"
