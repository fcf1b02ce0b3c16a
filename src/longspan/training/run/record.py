"""The parts of a record that every run has."""

from typing import Any

import torch
from transformers import PreTrainedModel, TrainingArguments

from longspan.models.backend_report import attention_choice
from longspan.records import StepLog
from longspan.training.recipe.fields import Recipe
from longspan.training.recipe.trainer_arguments import precision_of


def as_run(recipe: Recipe, arguments: TrainingArguments) -> dict[str, Any]:
    """The recipe's fields for the record, without secrets and with the precision that was used."""
    fields = {name: value for name, value in recipe.fields().items() if name != "hub_token"}
    precision = precision_of(arguments)
    # "auto" was resolved; a recipe without a precision leaves it to the launcher.
    is_open = recipe.precision is None and not {"bf16", "fp16"} & recipe.training.keys() and precision != "float32"
    return fields | ({"precision": precision} if recipe.precision == "auto" or is_open else {})


def logged_steps(log_history: list[dict[str, Any]]) -> list[StepLog]:
    """The numbers that the Trainer logged."""
    return [
        StepLog(
            step=int(log["step"]),
            values={
                name: float(value)
                for name, value in log.items()
                if name != "step" and isinstance(value, (int, float)) and not isinstance(value, bool)
            },
        )
        for log in log_history
    ]


def backend_of(model: PreTrainedModel, n_tokens: int, arguments: TrainingArguments, *, has_global: bool = True) -> str:
    """What computes the attention of inputs of `n_tokens`, and why."""
    return attention_choice(
        model.config,
        n_rows=arguments.per_device_train_batch_size,
        n_tokens=n_tokens,
        device=arguments.device.type,
        dtype=torch.bfloat16 if arguments.bf16 else torch.float16 if arguments.fp16 else torch.float32,
        needs_grad=True,
        has_dynamic_global=has_global,
    )
