"""recipe -> the Trainer's arguments, and figures that follow from them."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from longspan.attention import AttentionPattern
from longspan.attention.block_softmax import cpu_computes_bf16
from longspan.errors import InputError
from longspan.training.recipe.fields import Recipe
from longspan.training.recipe.number_ranges import require_in_range
from longspan.training.recipe.rehearsal import REFUSALS, rehearse

# Fields that longspan sets itself; all others of TrainingArguments are the recipe's.
_FIXED = {"remove_unused_columns": False}


def make_arguments(
    recipe: Recipe, checkpoints: Path, *, evaluates: bool, metrics: Collection[str], **defaults: Any
) -> TrainingArguments:
    """The Trainer's arguments: the recipe's fields over transformers' defaults, tried on a small Trainer.

    Args:
        recipe: what to do.
        checkpoints: the folder of the checkpoints.
        evaluates: the recipe has something to evaluate on.
        metrics: what an evaluation during the training measures.
        defaults: fields in place of transformers' defaults; `eval_strategy` is used only if the recipe evaluates.

    Raises:
        InputError: transformers or its Trainer refuses a value, a package that a field needs is not installed, or the
            fields contradict each other.
    """
    has_device = torch.accelerator.is_available()
    # transformers runs on the CPU only if `use_cpu` is set; a recipe with bf16 then runs there too.
    fields: dict[str, Any] = {"dataloader_pin_memory": has_device, "use_cpu": not has_device} | defaults
    if not evaluates:
        fields.pop("eval_strategy", None)
    fields |= recipe.training
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
        # A recipe for many processes also runs in one, where transformers would look for a process group.
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
    # TensorBoard has its own callback (longspan.training.run.tensorboard), which takes the folder.
    others = [name for name in reports(recipe) if name != "tensorboard"]
    fields |= _FIXED | {"output_dir": str(checkpoints), "report_to": others or "none"}
    if fields.get("fp16") and fields["use_cpu"]:
        raise InputError(f"{recipe.name}: fp16 needs a GPU; use precision: auto, bf16 or float32")
    try:
        require_in_range(recipe.training)  # also for a recipe that was not read from a file
        arguments = TrainingArguments(**fields)
        _settle_precision(arguments, is_said=bool(recipe.precision or {"bf16", "fp16"} & recipe.training.keys()))
        _require_evaluation(arguments, evaluates=evaluates, metrics=metrics)
        rehearse(arguments, trackers=reports(recipe), is_given=recipe.training)
    except REFUSALS as error:
        raise InputError(f"{recipe.name}: {error}") from error
    return arguments


def _settle_precision(arguments: TrainingArguments, *, is_said: bool) -> None:
    """Settle on the recipe's or the launcher's precision (`accelerate launch --mixed_precision`).

    transformers takes the launcher's if neither bf16 nor fp16 is true, even if the recipe sets them to false.
    """
    if is_said:
        arguments.mixed_precision = "fp16" if arguments.fp16 else "bf16" if arguments.bf16 else "no"
    else:
        arguments.bf16, arguments.fp16 = (arguments.mixed_precision == name for name in ("bf16", "fp16"))


def _require_evaluation(arguments: TrainingArguments, *, evaluates: bool, metrics: Collection[str]) -> None:
    """Refuse fields that need an evaluation if there is none, or a metric that it does not measure.

    Raises:
        InputError: names the field.
    """
    if arguments.eval_on_start and not evaluates:
        raise InputError("eval_on_start is true but there is no eval_data; add it")
    keeps_best = arguments.save_strategy == "best"
    wants = "save_strategy is best" if keeps_best else "load_best_model_at_end is true"
    if (keeps_best or arguments.load_best_model_at_end) and arguments.eval_strategy == "no":
        raise InputError(f"{wants}, but nothing is evaluated during the training; add eval_data and eval_strategy")
    best = arguments.metric_for_best_model
    known = ", ".join(metrics)
    if keeps_best and best is None:
        raise InputError(f"{wants}; set metric_for_best_model to one of {known}")
    if best is not None and arguments.eval_strategy != "no" and best.removeprefix("eval_") not in metrics:
        raise InputError(f"metric_for_best_model is {best}; an evaluation measures {known}")


def require_windows(recipe: Recipe) -> None:
    """Refuse windows that no extended model can have; the number of layers is not known yet.

    Raises:
        InputError: one is odd, zero or negative.
    """
    if recipe.max_tokens is None:
        return
    windows = recipe.attention_window
    for window in windows if isinstance(windows, list) else [windows]:
        try:
            AttentionPattern.from_attention_window(window)
        except InputError as error:
            raise InputError(f"{recipe.name}: attention_window is {windows}: {error}") from error


def precision_of(arguments: TrainingArguments) -> str:
    """The precision of the arguments, by its name in a recipe."""
    return "float32" if arguments.mixed_precision == "no" else arguments.mixed_precision


def resolve_precision(precision: str, *, use_cpu: bool) -> str:
    """Resolve "auto" on this machine: bf16 on a GPU or processor with instructions for it, else float32."""
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
