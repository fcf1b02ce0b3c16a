"""Data types of question answering: questions over documents, with their gold answers."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class GoldAnswer:
    """One gold answer of a question.

    Attributes:
        text: the answer as its data set gives it.
        start: character offset of `text` in the context, so that `context[start:start + len(text)] == text`; None if
            the text is not in the context. Such an answer is not trained on, but counts in evaluation.
    """

    text: str
    start: int | None


@dataclass(frozen=True, kw_only=True)
class QaExample:
    """One question over one document.

    Attributes:
        id: unique in its data set.
        question: the question, never empty.
        context: the document, never empty.
        answers: all gold answers; empty if the document does not answer the question.
        title: title of the article that the context comes from; empty if not known.
        is_impossible: whether the data set says that the document does not answer the question (SQuAD 2.0).
        slot: number of the concatenated paragraph with the answer, from 0; None if nothing was concatenated.
        n_slots: number of paragraphs in the context.
        depth: depth of the inserted answer in a made-up document, 0 to 1; None for other documents.
        nominal_tokens: the requested length of a made-up document in tokens; None for other documents.
        supervision: the answers to train on: the "first" one in the document, or "all" of them at once (distant
            supervision: any of them may be the correct one).
        rules: rules for comparing answers (`longspan.metrics.normalize_answer`); "mlqa" are the language's own.
        aliases: the texts that evaluation compares with, if these are not the texts of `answers`.
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
    """The questions of one data set in one language, with counts from its reader.

    Attributes:
        name: name in tables, e.g. `xquad.el` or `xquad.el x5`.
        language: language of the contexts and answers; determines the metric's normalisation.
        examples: in the order of the data set.
        counts: number of `questions`, `answers`, `impossible` questions, `repaired_offsets`, `respelled_answers`,
            `unlocatable_answers` (of which `empty_answers`) and `repeated_ids`.
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
        """The answers to train on: "all" if a question is trained on all of its answers at once, else "first"."""
        return "all" if any(example.supervision == "all" for example in self.examples) else "first"
