"""The Trainer's progress, also if standard error is not a terminal."""

from typing import Any

from transformers import ProgressCallback, Trainer, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import has_length

from longspan.progress import progress_bar


class ShowProgress(ProgressCallback):
    """transformers' callback with longspan's bars."""

    @classmethod
    def replace_in(cls, trainer: Trainer) -> None:
        """Replace transformers' own bar, if `trainer` has one (`disable_tqdm`)."""
        if trainer.pop_callback(ProgressCallback) is not None:
            trainer.add_callback(cls())

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Show a bar."""
        if state.is_world_process_zero:
            self.training_bar: Any = progress_bar(
                total=state.max_steps, desc="training", unit="step", dynamic_ncols=True
            )
        self.current_step = 0

    def on_prediction_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        eval_dataloader: Any = None,
        **_: Any,
    ) -> None:
        """Show the bar of the evaluation, and advance it."""
        if not state.is_world_process_zero or not has_length(eval_dataloader):
            return
        if self.prediction_bar is None:
            self.prediction_bar: Any = progress_bar(
                total=len(eval_dataloader), desc="evaluating", leave=self.training_bar is None, dynamic_ncols=True
            )
        self.prediction_bar.update()
