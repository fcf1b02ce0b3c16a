"""The ranges of TrainingArguments' numbers; transformers checks few of them."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from longspan.errors import InputError


class _Range(NamedTuple):
    """The range of a field. `is_open`: without its ends. `advice` is appended to the message."""

    smallest: float
    largest: float = math.inf
    is_open: bool = False
    advice: str = ""

    def holds(self, value: float) -> bool:
        """Whether `value` is in the range; NaN never is."""
        if self.is_open:
            return self.smallest < value < self.largest
        return self.smallest <= value <= self.largest

    def __str__(self) -> str:
        if self.is_open:
            above = f"above {self.smallest:g}"
            return above if math.isinf(self.largest) else f"{above} and below {self.largest:g}"
        if math.isinf(self.largest):
            return f"at least {self.smallest:g}"
        return f"from {self.smallest:g} to {self.largest:.10g}"


# Fields of TrainingArguments. A negative `save_steps` or `max_grad_norm` is another way to write that there is none.
_RANGES = {
    "adam_beta1": _Range(0, 1),
    "adam_beta2": _Range(0, 1),
    "adam_epsilon": _Range(0),
    "dataloader_num_workers": _Range(0),
    "dataloader_prefetch_factor": _Range(1),
    "ddp_bucket_cap_mb": _Range(1),
    "ddp_timeout": _Range(1),
    "eval_accumulation_steps": _Range(1),
    "eval_steps": _Range(0, advice="; below 1 it is a share of all steps"),
    "gradient_accumulation_steps": _Range(1),
    "label_smoothing_factor": _Range(0, 1),
    "learning_rate": _Range(0),
    "logging_steps": _Range(0, is_open=True, advice="; logging_strategy: no logs nothing"),
    "per_device_eval_batch_size": _Range(1),
    "per_device_train_batch_size": _Range(1),
    "save_total_limit": _Range(0, advice="; null keeps all checkpoints"),
    "seed": _Range(0, 2**32 - 1),
    "torch_empty_cache_steps": _Range(1),
    "warmup_steps": _Range(0, advice="; below 1 it is a share of all steps"),
    "weight_decay": _Range(0),
}
# Fields that count only if a strategy is "steps": the strategy's field and its default.
_STRATEGIES = {"eval_steps": ("eval_strategy", "no"), "logging_steps": ("logging_strategy", "steps")}


def require_in_range(training: Mapping[str, Any]) -> None:
    """Refuse TrainingArguments' fields in `training` whose numbers are out of range.

    Raises:
        InputError: names the first such field, its value and its range.
    """
    for name, value in training.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        allowed = _RANGES.get(name)
        if name in _STRATEGIES and training.get(*_STRATEGIES[name]) != "steps":
            allowed = None
        # An infinite `max_grad_norm` measures gradients and clips none.
        if math.isnan(value) or (math.isinf(value) and name != "max_grad_norm"):
            raise InputError(f"{name} is {value}; it must be a finite number")
        if allowed is not None and not allowed.holds(value):
            raise InputError(f"{name} is {value}; it must be {allowed}{allowed.advice}")
    n_steps, n_epochs = training.get("max_steps", -1), training.get("num_train_epochs", 3)
    if n_steps == 0:
        raise InputError("max_steps is 0, which trains nothing; say how many, or -1 to leave it to num_train_epochs")
    if n_steps < 0 and n_epochs <= 0:
        raise InputError(f"num_train_epochs is {n_epochs}, which trains nothing; it must be above 0")
