"""TensorBoard's log in the run's folder. A full disk there does not end the run."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations import TensorBoardCallback

from longspan.full_disk import is_full_disk
from longspan.training.recipe.fields import Recipe
from longspan.training.recipe.trainer_arguments import reports

logger = logging.getLogger(__name__)


def tensorboard(recipe: Recipe, folder: Path) -> list[TrainerCallback]:
    """The callback that logs into `folder`, if the recipe asks for TensorBoard."""
    return [DurableTensorBoard(folder)] if {"tensorboard", "all"} & set(reports(recipe)) else []


class DurableTensorBoard(TensorBoardCallback):
    """transformers' callback for `folder`, which only the first process opens, when the training begins.

    A full disk is logged once, and the run continues without TensorBoard: `training.json` has the same figures.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.logging_dir = str(folder)
        self._is_off = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the log."""
        self._try(lambda: super(DurableTensorBoard, self).on_train_begin(args, state, control, **kwargs))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write what was logged."""
        self._try(lambda: super(DurableTensorBoard, self).on_log(args, state, control, logs=logs, **kwargs))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the log."""
        self._try(lambda: super(DurableTensorBoard, self).on_train_end(args, state, control, **kwargs))

    def _try(self, do: Callable[[], None]) -> None:
        if self._is_off:
            return
        try:
            do()
        except OSError as error:
            if not is_full_disk(error):
                raise
            # The error has ended the writer's thread; what it still holds cannot be written either.
            self._is_off, self.tb_writer = True, None
            logger.error(
                "TensorBoard's log in %s cannot be written: %s. Training continues without it; training.json will have "
                "the same figures", self.logging_dir, error.strerror,
            )  # fmt: skip
