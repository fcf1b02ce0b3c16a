"""What decides the losses of a run: stored beside its checkpoints, and compared on resume."""

import dataclasses
import json
from collections.abc import Set
from enum import Enum
from typing import Any

from transformers import TrainingArguments

from longspan.training.recipe.fields import Recipe
from longspan.training.recipe.trainer_arguments import precision_of

PROCESSES = "processes"
"""The only field of an identity that may change on resume: the rows of a step and their order stay the same."""

FREE_ON_RESUME = frozenset(
    {
        "adapter_precision",
        "disable_tqdm",
        "eval_steps",
        "eval_strategy",
        "logging_steps",
        "logging_strategy",
        "max_minutes",
        "merge_adapter",
        "name",
        "output_dir",
        "overwrite_output_dir",
        "report_to",
        "resume_from_checkpoint",
        "run_name",
        "save_steps",
        "save_strategy",
        "save_total_limit",
    }
)
"""Fields that change neither the data nor the model nor the order of steps, nor what a finished run holds."""

# Further fields that do not decide the losses, or that an identity has in another form: the resolved precision and
# seeds, the hashes of the data.
_FREE = FREE_ON_RESUME | {
    "allow_pickle",
    "bf16",
    "cache_dir",
    "data_seed",
    "ddp_backend",
    "ddp_find_unused_parameters",
    "ddp_timeout",
    "do_eval",
    "do_train",
    "fp16",
    "max_eval_examples",
    "precision",
    "proof",
    "seed",
    "train_data",
    "use_cpu",
}
_FREE_BEGINNINGS = ("dataloader_num", "dataloader_p", "eval_", "hub_", "log_", "logging_", "push_", "report_", "save_")


def identity_of(recipe: Recipe, arguments: TrainingArguments, free: Set[str] = frozenset()) -> dict[str, Any]:
    """The fields of `recipe` that decide the losses of a run, without the `free` ones.

    Our own fields with their defaults, and TrainingArguments' fields that differ from their defaults, so that writing a
    default out changes nothing. Precision and seeds are the resolved ones.
    """
    given = {name: plain(value) for name, value in recipe.training.items()}
    fields = recipe.model_dump(mode="json", exclude={"training"})
    fields |= {name: value for name, value in given.items() if value != _DEFAULTS.get(name)}
    deciding = {
        name: value
        for name, value in fields.items()
        if name not in _FREE and name not in free and not name.startswith(_FREE_BEGINNINGS)
    }
    return deciding | {
        "precision": precision_of(arguments),
        "seed": arguments.seed,
        "data_seed": arguments.seed if arguments.data_seed is None else arguments.data_seed,
        PROCESSES: arguments.world_size,
    }


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The differences of two identities, one text each: "seed was 42, is 7"."""
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    return [f"{name} was {_short(before.get(name))}, is {_short(now.get(name))}" for name in names if name != PROCESSES]


def plain(value: Any) -> Any:
    """`value` as it is read back from JSON."""
    return json.loads(json.dumps(value, default=lambda one: one.value if isinstance(one, Enum) else str(one)))


def _short(value: Any) -> str:
    text = "not set" if value is None else str(value)
    return text if len(text) <= 40 else text[:37] + "..."


_DEFAULTS = {
    field.name: plain(field.default_factory() if callable(field.default_factory) else field.default)
    for field in dataclasses.fields(TrainingArguments)
}
