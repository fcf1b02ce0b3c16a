"""Training for so many minutes: the step during which the time runs out is the last one."""

from typing import Any

from tqdm import tqdm
from transformers import ProgressCallback, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from longspan.progress import progress_bar
from longspan.training.run.cost import Usage
from longspan.training.run.distributed import anywhere


class StopAfter(TrainerCallback):
    """Ends the training once the run has used `minutes`; saving and evaluation happen as usual.

    Minutes of a run that was killed count up to the checkpoint it goes on from. Of several processes the first one's
    clock decides for all. The progress bar counts seconds: the Trainer's own counts steps that will not be taken. The
    schedule knows nothing of the clock, so a constant one (after a warm-up) fits best.
    """

    def __init__(self, minutes: float, usage: Usage, *, show_progress: bool = True) -> None:
        self.seconds = minutes * 60
        self._usage = usage
        self._show_progress = show_progress
        self._bar: tqdm | None = None

    def take_over(self, trainer: Trainer) -> None:
        """Join `trainer` in place of its progress bar."""
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
        """Stop where the time is up."""
        passed = self._usage.seconds
        if self._bar is not None:
            self._bar.update(min(passed, self.seconds) - self._bar.n)
        if anywhere(args, state.is_world_process_zero and passed >= self.seconds):
            control.should_training_stop = True

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
