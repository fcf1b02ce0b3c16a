"""The table of task heads: registration, export, extension and the public names read it.

To add a head, write one file in this folder with a subclass of `LongformerPreTrainedModel`, and one line in `HEADS`. (A
line under TYPE_CHECKING tells editors and type checkers about the class.) Nothing is imported before it is used, so
that reading the table needs no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from longspan.models.heads.masked_lm import LongformerForMaskedLM as LongformerForMaskedLM
    from longspan.models.heads.multiple_choice import LongformerForMultipleChoice as LongformerForMultipleChoice
    from longspan.models.heads.question_answering import (
        LongformerForQuestionAnswering as LongformerForQuestionAnswering,
    )
    from longspan.models.heads.sequence_classification import (
        LongformerForSequenceClassification as LongformerForSequenceClassification,
    )
    from longspan.models.heads.token_classification import (
        LongformerForTokenClassification as LongformerForTokenClassification,
    )
    from longspan.models.model import LongformerModel as LongformerModel


class TaskHead(NamedTuple):
    """One line of the table.

    Attributes:
        class_name: name of the model class, "Longformer" and an ending that transformers uses in every family.
        module: name of the module with the class.
        auto_classes: names of transformers' Auto classes that build it after `longspan.register()`.
        outputs: names of the outputs of an exported graph.
        pipeline_tag: the task on the Hugging Face hub, for model cards.
        axes: names of the axes of an input.
        has_pooler: whether the model has the pooler of the first token.
    """

    class_name: str
    module: str
    auto_classes: tuple[str, ...]
    outputs: tuple[str, ...]
    pipeline_tag: str
    axes: tuple[str, ...] = ("batch", "tokens")
    has_pooler: bool = False

    @property
    def class_ending(self) -> str:
        """The class name without "Longformer", as in "XLMRoberta" + ending."""
        return self.class_name.removeprefix("Longformer")

    def load(self) -> Any:
        """The model class."""
        return getattr(importlib.import_module(self.module), self.class_name)


_HERE = "longspan.models.heads"

HEADS: dict[str, TaskHead] = {
    "base": TaskHead(
        "LongformerModel", "longspan.models.model", ("AutoModel",),
        ("last_hidden_state", "pooler_output"), "feature-extraction", has_pooler=True,
    ),
    "masked_lm": TaskHead(
        "LongformerForMaskedLM", f"{_HERE}.masked_lm", ("AutoModelForPreTraining", "AutoModelForMaskedLM"),
        ("logits",), "fill-mask",
    ),
    "question_answering": TaskHead(
        "LongformerForQuestionAnswering", f"{_HERE}.question_answering", ("AutoModelForQuestionAnswering",),
        ("start_logits", "end_logits"), "question-answering",
    ),
    "sequence_classification": TaskHead(
        "LongformerForSequenceClassification", f"{_HERE}.sequence_classification",
        ("AutoModelForSequenceClassification",), ("logits",), "text-classification",
    ),
    "token_classification": TaskHead(
        "LongformerForTokenClassification", f"{_HERE}.token_classification", ("AutoModelForTokenClassification",),
        ("logits",), "token-classification",
    ),
    "multiple_choice": TaskHead(
        "LongformerForMultipleChoice", f"{_HERE}.multiple_choice", ("AutoModelForMultipleChoice",),
        ("logits",), "multiple-choice", axes=("batch", "choices", "tokens"), has_pooler=True,
    ),
}  # fmt: skip


def head_of_class(class_name: str) -> TaskHead | None:
    """The head whose class has this name; None if there is none."""
    return next((head for head in HEADS.values() if head.class_name == class_name), None)


def head_of(model: object) -> TaskHead | None:
    """The head of a model; None unless its class is exactly one of the table."""
    head = head_of_class(type(model).__name__)
    return head if head is not None and head.load() is type(model) else None
