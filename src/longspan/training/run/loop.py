"""The loop that every training run shares: folder, lock, resume, Trainer, record, finished model.

A verb (`finetune`, `pretrain`) subclasses `PreparedRun` and passes a function that makes one to `run_training`. The
loop reads the recipe fields that every run has, and none of a task or a verb.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback, TrainingArguments

from longspan.records import LanguageModelScore, ProofRecord, TrainingRecord, made_now, write_record
from longspan.training.recipe.fields import Recipe
from longspan.training.recipe.rehearsal import require_processes
from longspan.training.run.checkpoints import DurableTrainer, require_steps
from longspan.training.run.distributed import in_first_process, largest
from longspan.training.run.folder import RunFolder, explain_full_disk
from longspan.training.run.padding_id import KeepPaddingId
from longspan.training.run.record import as_run, logged_steps
from longspan.training.run.tensorboard import tensorboard
from longspan.training.run.time_limit import StopAfter

TrainerType = TypeVar("TrainerType", bound=DurableTrainer)


class RunResults(NamedTuple):
    """What a verb adds to the record after the last step.

    attention_backend: what computed the attention, and why. resolved: recipe fields whose values the run decided, and
    what it ran on. language_model: scores before and after the training.
    """

    n_examples: int
    n_features: int
    attention_backend: str
    counts: dict[str, int]
    resolved: dict[str, Any]
    language_model: list[LanguageModelScore]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PreparedRun(ABC, Generic[TrainerType]):
    """A run that is ready for its first step. Its methods are called in all processes, except `save`.

    Attributes:
        recipe: what to do.
        arguments: the Trainer's arguments.
        body: the model to train, without an adapter around it.
        tokenizer: of the model.
        proof: of the extension; None if nothing was extended.
        identity: what decides the losses, by name; compared when the run is resumed.
        data: name -> SHA-256 of the data, for the record.
    """

    recipe: Recipe
    arguments: TrainingArguments
    body: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    proof: ProofRecord | None
    identity: dict[str, Any]
    data: dict[str, str]

    @abstractmethod
    def make_trainer(self, callbacks: list[TrainerCallback]) -> TrainerType:
        """Return the Trainer, with `callbacks`."""

    def begin(self, trainer: TrainerType, resume_from: Path | None) -> None:
        """Do what comes between making the Trainer and its first step; nothing unless a verb overrides it."""

    @abstractmethod
    def results(self, trainer: TrainerType) -> RunResults:
        """Return what the record says of the training that `trainer` has finished."""

    def trained_model(self, trainer: TrainerType) -> nn.Module:
        """Return the trained model, whole in the first process."""
        return trainer.accelerator.unwrap_model(trainer.model)

    @property
    def obsolete_files(self) -> frozenset[str]:
        """Files that an earlier run may have left in the output folder and that contradict what `save` writes."""
        return frozenset()

    @abstractmethod
    def save(self, model: nn.Module, record: TrainingRecord, folder: Path, title: str) -> None:
        """Write model, tokenizer and card (with `title`) into the empty `folder`; called in the first process."""


def run_training(
    folder: RunFolder,
    arguments: TrainingArguments,
    prepare: Callable[[], PreparedRun[Any]],
    callbacks: tuple[TrainerCallback, ...] = (),
) -> TrainingRecord:
    """Train, and put the finished model, its card and its record into `folder`. Called in all processes.

    Args:
        folder: the output folder; locked meanwhile.
        arguments: the Trainer's arguments.
        prepare: loads data and model; called when the folder is locked and known to be usable.
        callbacks: further callbacks for the Trainer.

    Returns:
        The record of the run, as written to `training.json`.

    Raises:
        InputError: the folder cannot be used, is in use, or was started with another recipe or other data; `prepare`
            raises one; the loss is not finite, no step was made, or the disk is full (checkpoints are kept).
    """
    require_processes(arguments)
    with folder.held(arguments):
        resume_from = in_first_process(arguments, folder.check)
        run = prepare()
        in_first_process(arguments, lambda: folder.require_same(run.identity, resume_from))
        in_first_process(arguments, lambda: folder.start(run.identity, resume_from))
        trainer = _train(run, folder, resume_from, callbacks)
        record = _make_record(run, trainer)
        model = run.trained_model(trainer)
        in_first_process(arguments, lambda: _save(run, model, record, folder))
    return record


def _train(
    run: PreparedRun[TrainerType], folder: RunFolder, resume_from: Path | None, callbacks: tuple[TrainerCallback, ...]
) -> TrainerType:
    trainer = run.make_trainer([KeepPaddingId(run.body.config), *callbacks, *tensorboard(run.recipe, folder.logs)])
    run.begin(trainer, resume_from)
    if run.recipe.max_minutes is not None:
        StopAfter(run.recipe.max_minutes, trainer.usage).take_over(trainer)
    with explain_full_disk(folder.root):
        trainer.train_from(resume_from)
    require_steps(trainer)
    return trainer


def _make_record(run: PreparedRun[TrainerType], trainer: TrainerType) -> TrainingRecord:
    recipe, arguments, usage = run.recipe, run.arguments, trainer.usage
    seconds = usage.seconds  # an evaluation after the training does not count
    results = run.results(trainer)
    return TrainingRecord(
        made=made_now(
            seed=recipe.seed,
            data=run.data,
            gpu=torch.cuda.get_device_name(arguments.device) if arguments.device.type == "cuda" else None,
        ),
        name=recipe.name,
        recipe=as_run(recipe, arguments) | results.resolved,
        attention_backend=results.attention_backend,
        n_examples=results.n_examples,
        n_features=results.n_features,
        steps=logged_steps(trainer.state.log_history),
        seconds=seconds,
        peak_memory_gib=largest(arguments, usage.peak_memory_gib),
        counts=results.counts | {"checkpoints_not_saved": trainer.failed_saves},
        language_model=results.language_model,
    )


def _save(run: PreparedRun[Any], model: nn.Module, record: TrainingRecord, folder: RunFolder) -> None:
    with folder.finish(leave_out=run.obsolete_files) as finished:
        run.save(model, record, finished, folder.root.name)
        write_record(record, finished / "training.json")
        if run.proof is not None:
            write_record(run.proof, finished / "proof.json")
