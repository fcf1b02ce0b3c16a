"""A time limit of a training: the step during which the time runs out is the last one."""

from typing import Any

from tqdm import tqdm
from transformers import ProgressCallback, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from longspan.progress import progress_bar
from longspan.training.run.cost import Usage
from longspan.training.run.distributed import anywhere


class StopAfter(TrainerCallback):
    """Ends the training once the run has used `minutes`; saving and evaluation happen as usual.

    A resumed run counts the minutes up to its checkpoint too. With several processes, the first one's clock decides.
    The progress bar counts seconds, because the Trainer's own would count steps that are never taken. The learning rate
    schedule does not see the clock, so a constant one (after a warm-up) fits best.
    """

    def __init__(self, minutes: float, usage: Usage, *, show_progress: bool = True) -> None:
        self.seconds = minutes * 60
        self._usage = usage
        self._show_progress = show_progress
        self._bar: tqdm | None = None

    def take_over(self, trainer: Trainer) -> None:
        """Add this callback to `trainer`, and remove its progress bar."""
        trainer.remove_callback(ProgressCallback)
        trainer.add_callback(self)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Show a bar."""
        is_shown = self._show_progress and not args.disable_tqdm and state.is_world_process_zero
        layout = "{desc}: {percentage:3.0f}%|{bar}| {n:.0f} of {total:.0f} s{postfix}"
        self._bar = progress_bar(total=self.seconds, desc="training", bar_format=layout, is_shown=is_shown)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Show the newest loss."""
        if self._bar is not None and "loss" in (logs := kwargs.get("logs") or {}):
            self._bar.set_postfix_str(f", step {state.global_step}, loss {float(logs['loss']):.2f}", refresh=False)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Stop if the time is up."""
        passed = self._usage.seconds
        if self._bar is not None:
            self._bar.update(min(passed, self.seconds) - self._bar.n)
        if anywhere(args, state.is_world_process_zero and passed >= self.seconds):
            control.should_training_stop = True

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
