"""Training for so many minutes: the last step that begins in time is the last one."""

import time
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class StopAfter(TrainerCallback):
    """Ends the training once `minutes` have passed since its first step began (saving and evaluation as usual).

    Together with a schedule over `max_steps`, the rate decays as far as the training comes; a constant schedule after
    a warm-up fits better.
    """

    def __init__(self, minutes: float) -> None:
        self.minutes = minutes
        self._began: float | None = None

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Start the clock."""
        self._began = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Stop where the time is up."""
        assert self._began is not None
        if time.monotonic() - self._began >= self.minutes * 60:
            control.should_training_stop = True
