"""Labels, or a number, with any transformers model for sequence classification.

Documents longer than a window are read in overlapping windows, whose answers are merged.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from longspan.data.classification import LabelledText
from longspan.errors import InputError
from longspan.progress import progress_bar
from longspan.tasks.predicting import autocast, check_max_length, default_overlap, require_device
from longspan.tasks.sequence_classification.batch import WindowCollator
from longspan.tasks.sequence_classification.merging import Merge, chosen_labels, labels_of, merge_windows
from longspan.tasks.sequence_classification.windows import DocumentWindows, WindowRow
from longspan.tasks.task import PredictorOptions


@dataclass
class LabelPrediction:
    """The labels of one document.

    `probabilities` has one for each label of the model (a regression has `value` instead); `labels` are the likeliest
    one, or all above one half if a document may have several. `n_tokens` counts the whole document with special tokens
    once, `n_tokens_read` what was read of it. `seconds` is this document's share of tokenising and of its batches.
    """

    id: str
    labels: list[str]
    probabilities: dict[str, float]
    value: float | None
    n_tokens: int
    n_tokens_read: int
    n_windows: int
    seconds: float


class LabelPredictor:
    """Labels documents with one model.

    Args:
        model: with a sequence classification head.
        tokenizer: its fast tokenizer.
        options: how to read and compute.
        merge: of the windows of a document.

    Raises:
        InputError: `max_length` is beyond the model, or the device is not there.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        options: PredictorOptions,
        merge: Merge = "mean",
    ) -> None:
        device = None if options.device is None else require_device(options.device)
        self.model: Any = model if device is None else model.to(device)  # pyright: ignore[reportArgumentType]
        self.tokenizer = tokenizer
        self.max_length = check_max_length(model, options.max_length)
        self.overlap = default_overlap(self.max_length) if options.overlap is None else options.overlap
        self.truncate, self.batch_size, self.dtype = options.truncate, options.batch_size, options.dtype
        self.has_global_tokens = options.has_global
        self.merge: Merge = merge
        self.labels = labels_of(model.config)
        self.gives_number = model.config.problem_type == "regression"
        self._collate = WindowCollator(model, tokenizer, has_global=options.has_global)

    def describe(self) -> dict[str, Any]:
        """Return the options that only classification has, for records."""
        own: dict[str, Any] = {"merge": self.merge}
        if self.model.config.model_type == "longformer":
            own["global_tokens"] = "<s>" if self.has_global_tokens else "none"
        return own

    def predict(self, examples: Sequence[LabelledText], *, progress: bool = True) -> list[LabelPrediction]:
        """Return one prediction for each document, in order.

        Raises:
            InputError: a logit is NaN (the document is named).
        """
        began = time.perf_counter()
        windows = DocumentWindows(
            examples, self.tokenizer, max_length=self.max_length, overlap=self.overlap, first_only=self.truncate
        )
        windows.sort_longest_first()
        seconds = [(time.perf_counter() - began) / max(len(examples), 1)] * len(examples)
        logits: list[list[np.ndarray]] = [[] for _ in examples]
        n_read = [0] * len(examples)
        with progress_bar(total=len(windows), unit="window", is_shown=progress) as bar:
            for first in range(0, len(windows), self.batch_size):
                rows = [windows[i] for i in range(first, min(first + self.batch_size, len(windows)))]
                began = time.perf_counter()
                found = self._logits(rows)
                share = (time.perf_counter() - began) / len(rows)
                for row, own in zip(rows, found, strict=True):
                    index = row["example_index"]
                    if np.isnan(own).any():
                        raise InputError(f"document {examples[index].id!r}: the model's logits are NaN; try float32")
                    logits[index].append(own)
                    n_read[index] = max(n_read[index], row["window_index"] + 1)
                    seconds[index] += share
                bar.update(len(rows))
        return [
            self._prediction(example, logits[i], windows.n_tokens[i], windows.n_windows[i], n_read[i], seconds[i])
            for i, example in enumerate(examples)
        ]

    def _logits(self, rows: Sequence[WindowRow]) -> np.ndarray:
        """Return float32 logits [B, labels]."""
        batch = {name: x.to(self.model.device) for name, x in self._collate(rows).items() if name != "labels"}
        was_training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode(), autocast(self.model, self.dtype):
                return self.model(**batch).logits.float().cpu().numpy()
        finally:
            self.model.train(was_training)

    def _prediction(
        self, example: LabelledText, logits: list[np.ndarray], n_tokens: int, n_all: int, n_read: int, seconds: float
    ) -> LabelPrediction:
        value, probabilities = merge_windows(np.stack(logits), self.model.config, self.merge)
        is_whole = n_read == n_all
        return LabelPrediction(
            id=example.id,
            labels=chosen_labels(probabilities, self.model.config),
            probabilities=probabilities,
            value=value,
            n_tokens=n_tokens,
            n_tokens_read=n_tokens if is_whole else min(n_tokens, self.max_length),
            n_windows=n_read,
            seconds=seconds,
        )
