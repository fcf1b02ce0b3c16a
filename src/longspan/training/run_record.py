"""The parts of a record that every run has."""

import resource
import sys
from typing import Any

import torch
from transformers import LongformerConfig as StockLongformerConfig
from transformers import PreTrainedModel, TrainingArguments

from longspan.attention.selection import Request, select
from longspan.models.config import attention_backend, attention_patterns
from longspan.records import StepLog
from longspan.training.recipe import Recipe
from longspan.training.trainer_arguments import precision_of


def as_run(recipe: Recipe, arguments: TrainingArguments) -> dict[str, Any]:
    """The recipe's fields for the record: no secrets, and the precision that was computed in."""
    fields = {name: value for name, value in recipe.fields().items() if name != "hub_token"}
    return fields | ({"precision": precision_of(arguments)} if recipe.precision == "auto" else {})


def logged_steps(log_history: list[dict[str, Any]]) -> list[StepLog]:
    """What the Trainer logged, numbers only."""
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


def peak_memory_gib(on_gpu: bool) -> float:
    """The most that this process held so far: of the GPU, else of the host's memory."""
    if on_gpu:
        return torch.cuda.max_memory_allocated() / 2**30
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)


def backend_of(model: PreTrainedModel, n_tokens: int, arguments: TrainingArguments, *, has_global: bool = True) -> str:
    """What computes the attention of inputs of `n_tokens`, and why."""
    config = model.config
    if not isinstance(config, StockLongformerConfig):
        return f"transformers' {config._attn_implementation}, full attention"
    dtype = torch.bfloat16 if arguments.bf16 else torch.float16 if arguments.fp16 else torch.float32
    request = Request(
        n_rows=arguments.per_device_train_batch_size,
        n_heads=config.num_attention_heads,
        n_tokens=n_tokens,
        width=config.hidden_size // config.num_attention_heads,
        device=arguments.device.type,
        dtype=dtype,
        needs_grad=True,
        pattern=attention_patterns(config)[0],
        has_padding=arguments.per_device_train_batch_size > 1,
        has_dynamic_global=has_global,
        dropout_p=config.attention_probs_dropout_prob,
    )
    choice = select(request, attention_backend(config))
    return f"{choice.backend} ({'; '.join(f'{name}: {reason}' for name, reason in choice.reasons.items())})"
