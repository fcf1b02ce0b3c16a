"""Make transformers' Auto classes build the models of this room."""

from collections.abc import Iterator
from typing import Any

import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from longspan.models.config import LongformerConfig
from longspan.models.heads.masked_lm import LongformerForMaskedLM
from longspan.models.heads.multiple_choice import LongformerForMultipleChoice
from longspan.models.heads.question_answering import LongformerForQuestionAnswering
from longspan.models.heads.sequence_classification import LongformerForSequenceClassification
from longspan.models.heads.token_classification import LongformerForTokenClassification
from longspan.models.model import LongformerModel

_MODEL_OF_AUTO_CLASS = {
    transformers.AutoModel: LongformerModel,
    transformers.AutoModelForPreTraining: LongformerForMaskedLM,
    transformers.AutoModelForMaskedLM: LongformerForMaskedLM,
    transformers.AutoModelForMultipleChoice: LongformerForMultipleChoice,
    transformers.AutoModelForQuestionAnswering: LongformerForQuestionAnswering,
    transformers.AutoModelForSequenceClassification: LongformerForSequenceClassification,
    transformers.AutoModelForTokenClassification: LongformerForTokenClassification,
}

# What stood in transformers' tables before `register`: one entry for each line written, None while not registered.
_before: list[Any] | None = None
_NOTHING = object()


def register() -> None:
    """Make `transformers.AutoConfig` and the `AutoModel*` classes build longspan's Longformer in this process.

    It takes effect for every checkpoint of `model_type` "longformer", and for configurations of transformers' own
    class; calling it again changes nothing. `unregister` undoes it.
    """
    global _before  # noqa: PLW0603 -- transformers' tables are as global
    if _before is not None:
        return
    _before = [table._extra_content.get(key, _NOTHING) for table, key, _ in _lines()]
    for table, key, value in _lines():
        # What the Auto classes' own `register` does, which in some versions passes over transformers' configurations.
        table._extra_content[key] = value


def unregister() -> None:
    """Undo `register`: the Auto classes build what they built before."""
    global _before  # noqa: PLW0603
    if _before is None:
        return
    for (table, key, _), old in zip(_lines(), _before, strict=True):
        if old is _NOTHING:
            table._extra_content.pop(key, None)
        else:
            table._extra_content[key] = old
    _before = None


def _lines() -> Iterator[tuple[Any, Any, Any]]:
    """Every line that `register` writes: transformers' table, key, value."""
    yield CONFIG_MAPPING, "longformer", LongformerConfig
    for auto_class, model_class in _MODEL_OF_AUTO_CLASS.items():
        for config_class in (LongformerConfig, transformers.LongformerConfig):
            yield auto_class._model_mapping, config_class, model_class
