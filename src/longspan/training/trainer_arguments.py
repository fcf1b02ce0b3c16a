"""recipe -> the Trainer's arguments, and what they amount to."""

import os
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from longspan.attention.block_softmax import cpu_computes_bf16
from longspan.errors import InputError
from longspan.training.recipe import Recipe

# What the Trainer must not decide here; everything else of TrainingArguments is the recipe's.
_FIXED = {"remove_unused_columns": False}


def make_arguments(recipe: Recipe, checkpoints: Path, *, evaluates: bool, **defaults: Any) -> TrainingArguments:
    """The Trainer's arguments: the recipe's fields over transformers' defaults.

    Args:
        recipe: what to do.
        checkpoints: where they are saved.
        evaluates: the recipe has something to evaluate on.
        defaults: fields in place of transformers' defaults; `eval_strategy` only where the recipe evaluates.

    Raises:
        InputError: transformers refuses a value, or the fields contradict each other.
    """
    has_device = torch.accelerator.is_available()
    # transformers wants to be told that a run is on the processor; a recipe that says bf16 runs there too.
    fields: dict[str, Any] = {"dataloader_pin_memory": has_device, "use_cpu": not has_device} | defaults
    if not evaluates:
        fields.pop("eval_strategy", None)
    fields |= recipe.training
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
        # So that a recipe for many processes runs in one, where transformers would ask for their group.
        fields.pop("ddp_backend", None)
    if recipe.precision is not None:
        if {"bf16", "fp16"} & recipe.training.keys():
            raise InputError(f"{recipe.name}: precision and bf16 or fp16 say the same; remove one")
        precision = resolve_precision(recipe.precision, use_cpu=bool(fields["use_cpu"]))
        fields |= {"bf16": precision == "bf16", "fp16": precision == "fp16"}
    for name, value in _FIXED.items():
        if fields.get(name, value) != value:
            raise InputError(f"{recipe.name}: {name} must be {value} here; remove the field")
    if fields.get("eval_strategy", "no") != "no" and not evaluates:
        raise InputError(f"{recipe.name}: eval_strategy is {fields['eval_strategy']} but there is no eval_data; add it")
    if fields.get("train_sampling_strategy") == "batch_rebalance":
        raise InputError(f"{recipe.name}: train_sampling_strategy must be random, sequential or group_by_length")
    # TensorBoard gets a callback of its own (longspan.training.tensorboard), for a folder of its own.
    others = [name for name in reports(recipe) if name != "tensorboard"]
    fields |= _FIXED | {"output_dir": str(checkpoints), "report_to": others or "none"}
    if fields.get("fp16") and fields["use_cpu"]:
        raise InputError(f"{recipe.name}: fp16 needs a GPU; use precision: auto, bf16 or float32")
    try:
        return TrainingArguments(**fields)
    except (ValueError, ImportError, NotImplementedError) as error:
        raise InputError(f"{recipe.name}: {error}") from error


def precision_of(arguments: TrainingArguments) -> str:
    """The arguments' precision by the name a recipe has for it."""
    return "bf16" if arguments.bf16 else "fp16" if arguments.fp16 else "float32"


def resolve_precision(precision: str, *, use_cpu: bool) -> str:
    """What "auto" means on this machine: bf16 on a GPU or processor with instructions for it, else float32."""
    if precision != "auto":
        return precision
    if not use_cpu:
        return "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported(False) else "float32"
    return "bf16" if cpu_computes_bf16() else "float32"


def reports(recipe: Recipe) -> list[str]:
    """Where the run is logged: TensorBoard unless the recipe says otherwise."""
    wanted = recipe.training.get("report_to", "tensorboard")
    names = wanted if isinstance(wanted, list) else [wanted]
    return [name for name in names if name not in (None, "none")]


def rows_of_step(arguments: TrainingArguments) -> int:
    """Rows (blocks, windows) in one step on all devices."""
    return arguments.train_batch_size * arguments.gradient_accumulation_steps * max(1, arguments.world_size)
