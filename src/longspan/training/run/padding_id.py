"""The padding id that a model's positions are counted by, kept through transformers' Trainer."""

import logging
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

logger = logging.getLogger(__name__)


class KeepPaddingId(TrainerCallback):
    """Put the model's padding id back, in whose place the Trainer writes the tokenizer's.

    Where both differ, the position rows were trained by the model's: with another one in config.json a saved model
    would read other rows than the one that was trained.
    """

    def __init__(self, config: Any) -> None:
        self._config, self._pad_token_id = config, config.pad_token_id

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Put it back: the Trainer has written the tokenizer's just now, and said so."""
        if self._config.pad_token_id != self._pad_token_id:
            logger.warning("the model's pad_token_id stays %s, by which its positions are counted", self._pad_token_id)
        self._config.pad_token_id = self._pad_token_id
