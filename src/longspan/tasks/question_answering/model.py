"""Question answering models by name, for Python users."""

from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from longspan.tasks.adapters import load_with_head
from longspan.tasks.question_answering.task import QuestionAnswering
from longspan.tasks.start_model import StartModel, build_start_model, with_head


def load_qa_model(name_or_path: str | Path, **options: Any) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return a question answering model in eval mode and its tokenizer (`longspan.tasks.adapters.load_with_head`)."""
    return load_with_head(str(name_or_path), QuestionAnswering(), **options)


def build_qa_model(name: str, **options: Any) -> StartModel:
    """Return the question answering model to train from; see `longspan.tasks.start_model.build_start_model`."""
    return build_start_model(name, QuestionAnswering(), load_with_head, **options)


def as_question_answering(source: PreTrainedModel, **dropout: Any) -> PreTrainedModel:
    """Return `source` with a question answering head; see `longspan.tasks.start_model.with_head`."""
    return with_head(source, QuestionAnswering(), **dropout)
