"""Keeps the padding id that a model's positions are counted by; transformers' Trainer would replace it."""

import logging
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

logger = logging.getLogger(__name__)


class KeepPaddingId(TrainerCallback):
    """Restores the model's padding id, which the Trainer replaces by the tokenizer's.

    If the two differ, the position rows were trained with the model's. With the other one in config.json, a saved model
    would read other rows than it was trained with.
    """

    def __init__(self, config: Any) -> None:
        self._config, self._pad_token_id = config, config.pad_token_id

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Restore it: the Trainer has just written the tokenizer's, and logged that."""
        if self._config.pad_token_id != self._pad_token_id:
            logger.warning("the model's pad_token_id stays %s, by which its positions are counted", self._pad_token_id)
        self._config.pad_token_id = self._pad_token_id
