"""Tries a recipe's arguments on transformers' Trainer before any file is opened.

`rehearse` makes a Trainer with the recipe's arguments and a model of two numbers, its data loaders, optimiser and
scheduler. What they refuse is refused before data and model are loaded, and without a traceback.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

import torch
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PretrainedConfig, Trainer, TrainingArguments
from transformers.integrations import TensorBoardCallback, get_reporting_integration_callbacks
from transformers.training_args import trainer_log_levels
from transformers.utils import is_liger_kernel_available

from longspan.errors import InputError

# What a library raises for a value that it does not know, or for a package that is not installed.
REFUSALS = (ValueError, TypeError, ImportError, RuntimeError, LookupError, OSError, AssertionError)


def rehearse(arguments: TrainingArguments, *, trackers: list[str], is_given: Mapping[str, Any]) -> None:
    """Make the Trainer's parts from its arguments, without the run's model and data.

    Args:
        arguments: of the run; not changed.
        trackers: where the run is logged, TensorBoard among them.
        is_given: the fields that the recipe sets; an error names those to change.

    Raises:
        InputError: names the fields that are refused, and says what the Trainer says.
    """
    _require_packages(arguments)
    for name in ("log_level", "log_level_replica"):
        if getattr(arguments, name) not in trainer_log_levels:
            raise InputError(
                f"{name} is {getattr(arguments, name)!r}; it must be one of {', '.join(trainer_log_levels)}"
            )
    with _named(is_given, "report_to"):
        _make_trackers(trackers)
    if arguments.gradient_checkpointing:  # later versions have another name for it, and this one as well
        given: Any = arguments.gradient_checkpointing_kwargs or {}
        kwargs = {"use_reentrant": False} | given
        with _named(is_given, "gradient_checkpointing_kwargs", "activation_checkpointing_kwargs"):
            checkpoint(nn.Identity(), torch.ones(1, requires_grad=True), **kwargs)
    if is_alone_with_fsdp(arguments):
        return
    # The folder of the checkpoints is made by the run itself.
    with TemporaryDirectory() as folder:
        try:
            _make_trainer(arguments, folder, is_given)
        finally:
            # accelerate keeps the settings of the first trainer of a process; the run's own trainer comes next.
            AcceleratorState._reset_state(reset_partial_state=False)


def is_alone_with_fsdp(arguments: TrainingArguments) -> bool:
    """Whether the arguments ask for FSDP, which shards the parameters, in a single process."""
    return bool(arguments.fsdp) and arguments.world_size <= 1


def require_processes(arguments: TrainingArguments) -> None:
    """Refuse FSDP in a single process: a recipe can be checked there, but not trained.

    Raises:
        InputError: the arguments ask for FSDP, and there is one process.
    """
    if is_alone_with_fsdp(arguments):
        raise InputError("fsdp shards the parameters over several processes; start it with torchrun, or remove fsdp")


def _require_packages(arguments: TrainingArguments) -> None:
    """Check what the Trainer looks for when the training starts, or asks the hub when it is made."""
    if arguments.use_liger_kernel and not is_liger_kernel_available():
        raise InputError("use_liger_kernel needs the package liger-kernel; install it or remove the field")
    if arguments.push_to_hub:
        from huggingface_hub import constants, get_token

        if constants.HF_HUB_OFFLINE:
            raise InputError("push_to_hub needs the hub, and HF_HUB_OFFLINE is set; unset it or remove the field")
        if arguments.hub_token is None and get_token() is None:
            raise InputError("push_to_hub needs to know who you are; log in (hf auth login) or set hub_token")


def _make_trackers(names: list[str]) -> None:
    """Make the callback of each tracker, which fails if its package is missing; no run is started."""
    if {"tensorboard", "all"} & set(names):
        TensorBoardCallback()
    for kind in get_reporting_integration_callbacks([name for name in names if name not in ("tensorboard", "all")]):
        kind()


def _make_trainer(arguments: TrainingArguments, folder: str, is_given: Mapping[str, Any]) -> None:
    own = copy.copy(arguments)
    own.output_dir = folder
    own.report_to, own.push_to_hub, own.enable_jit_checkpoint = [], False, False
    own.full_determinism = False  # it changes the whole process
    own.train_sampling_strategy = "random"  # lengths are the run's own
    rows = _Rows(max(1, own.train_batch_size * own.gradient_accumulation_steps))
    with _named(is_given, "accelerator_config", "deepspeed", "fsdp", "fsdp_config", "torch_compile_backend"):
        trainer = Trainer(model=_Model(), args=own, train_dataset=rows, eval_dataset=rows)
    with _named(is_given, *(name for name in is_given if name.startswith("dataloader_"))):
        trainer.get_train_dataloader()
        trainer.get_eval_dataloader()
    if trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:
        return  # they make the optimiser from the wrapped model
    with _named(is_given, "optim", "optim_args", "adam_beta1", "adam_beta2"):
        _make_optimizer(trainer)
    optimizer: Any = trainer.optimizer
    if optimizer is None:
        return
    with _named(is_given, "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps"):
        trainer.create_scheduler(own.max_steps if own.max_steps > 0 else 1000, optimizer)


def _make_optimizer(trainer: Trainer) -> None:
    try:
        trainer.create_optimizer()
    except ValueError:
        # The run's model has modules of these names; this one has not.
        if not trainer.args.optim_target_modules:
            raise


@contextmanager
def _named(is_given: Mapping[str, Any], *names: str) -> Iterator[None]:
    """Turn a refusal into an InputError with those of the fields `names` that the recipe sets."""
    try:
        yield
    except REFUSALS as error:
        fields = [f"{name} is {is_given[name]!r}" for name in names if is_given.get(name) is not None]
        said = str(error.args[0] if isinstance(error, KeyError) and error.args else error).rstrip(".")
        raise InputError(": ".join([", ".join(fields), said] if fields else [said])) from error


class _Model(nn.Module):
    """The smallest model that the Trainer, its optimisers and its schedulers accept."""

    def __init__(self) -> None:
        super().__init__()
        self.config = PretrainedConfig()
        self.dense = nn.Linear(1, 1)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Nothing calls it."""
        return {"loss": self.dense(x).sum()}


class _Rows(torch.utils.data.Dataset[dict[str, Tensor]]):
    """A data set of one step."""

    def __init__(self, n: int) -> None:
        self._n = n

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"x": torch.zeros(1)}
