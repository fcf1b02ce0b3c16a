"""Labels, or a number, with any transformers model for sequence classification.

Documents longer than a window are read in overlapping windows, whose answers are merged.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from longspan.data.classification import LabelledText
from longspan.errors import InputError
from longspan.progress import progress_bar
from longspan.tasks.predicting import autocast, check_max_length, default_overlap, require_device
from longspan.tasks.sequence_classification.batch import WindowCollator
from longspan.tasks.sequence_classification.merging import (
    Merge,
    WindowMerger,
    chosen_labels,
    labels_of,
    problem_type_of,
)
from longspan.tasks.sequence_classification.windows import DocumentStream, DocumentWindows, WindowRow
from longspan.tasks.task import PredictorOptions

# Batches of windows that are made ahead, of documents read as streams.
_BATCHES_AHEAD = 8


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
        InputError: `max_length` is beyond the model, the device is not there, or the model predicts several numbers.
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
        self.problem_type = problem_type_of(model.config)
        if self.problem_type == "regression" and len(self.labels) != 1:
            raise InputError(
                f"{model.name_or_path or type(model).__name__} predicts {len(self.labels)} numbers for a document; "
                "longspan reads models of one number"
            )
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
        share = (time.perf_counter() - began) / max(len(examples), 1)
        documents = [
            _OpenDocument(self, example.id, n_tokens, share)
            for example, n_tokens in zip(examples, windows.n_tokens, strict=True)
        ]
        with progress_bar(total=len(windows), unit="window", is_shown=progress) as bar:
            for batch in self._batches(windows):
                self._read(batch, documents)
                bar.update(len(batch))
        return [document.prediction() for document in documents]

    def predict_streams(
        self, streams: Iterable[tuple[str, Iterable[str]]], *, progress: bool = True
    ) -> list[LabelPrediction]:
        """Return one prediction for each document, in order, of any length: memory does not grow with it.

        The predictions are those of `predict`. A document is tokenised while it is read. Windows of several documents
        share batches. If the predictor truncates, the model reads the first window, and the tokens of the rest are
        counted.

        Args:
            streams: id and text of each document, the text in chunks; each is asked for when the one before has ended.
            progress: show a bar.

        Raises:
            InputError: as `predict`, or as a document's chunks do.
        """
        documents: list[_OpenDocument] = []
        rows = self._stream(streams, documents)
        # Windows of like length share a batch; a batch of one need not wait for others.
        n_ahead = 1 if self.batch_size == 1 else _BATCHES_AHEAD * self.batch_size
        with progress_bar(unit="window", is_shown=progress) as bar:
            while waiting := list(islice(rows, n_ahead)):
                waiting.sort(key=lambda row: -len(row["input_ids"]))
                for batch in self._batches(waiting):
                    self._read(batch, documents)
                    bar.update(len(batch))
        return [document.prediction() for document in documents]

    def _stream(
        self, streams: Iterable[tuple[str, Iterable[str]]], documents: "list[_OpenDocument]"
    ) -> Iterator[WindowRow]:
        """Yield the windows of one document after the other; each document is added to `documents` at its start."""
        for index, (name, chunks) in enumerate(streams):
            document = _OpenDocument(self, name)
            documents.append(document)
            windows = DocumentStream(
                index,
                chunks,
                self.tokenizer,
                max_length=self.max_length,
                overlap=self.overlap,
                first_only=self.truncate,
            )
            began = time.perf_counter()
            for row in windows:
                document.seconds += time.perf_counter() - began
                yield row
                began = time.perf_counter()
            document.seconds += time.perf_counter() - began
            document.n_tokens = windows.n_tokens

    def _batches(self, rows: "DocumentWindows | list[WindowRow]") -> Iterator[list[WindowRow]]:
        for first in range(0, len(rows), self.batch_size):
            yield [rows[i] for i in range(first, min(first + self.batch_size, len(rows)))]

    def _read(self, batch: Sequence[WindowRow], documents: "Sequence[_OpenDocument]") -> None:
        """Give each window's logits to its document."""
        began = time.perf_counter()
        logits_BL = self._logits(batch)
        share = (time.perf_counter() - began) / len(batch)
        for row, logits_L in zip(batch, logits_BL, strict=True):
            documents[row["example_index"]].add(logits_L, share)

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


class _OpenDocument:
    """What the windows of a document gave so far, in any order.

    Args:
        predictor: its options and the configuration of its model.
        name: the document's id.
        n_tokens: of the whole document; set later if it is a stream.
        seconds: spent on it before.
    """

    def __init__(self, predictor: LabelPredictor, name: str, n_tokens: int = 0, seconds: float = 0.0) -> None:
        self._predictor, self._name = predictor, name
        self._merger = WindowMerger(predictor.model.config, predictor.merge)
        self.n_tokens, self.seconds = n_tokens, seconds

    def add(self, logits_L: np.ndarray, seconds: float) -> None:
        """Take in one window, whose logits took `seconds`.

        Raises:
            InputError: a logit is NaN.
        """
        if np.isnan(logits_L).any():
            raise InputError(f"document {self._name!r}: the model's logits are NaN; try float32")
        self._merger.add(logits_L)
        self.seconds += seconds

    def prediction(self) -> LabelPrediction:
        """Return the labels or the number, when all windows are in."""
        value, probabilities = self._merger.result()
        is_cut = self._predictor.truncate
        return LabelPrediction(
            id=self._name,
            labels=chosen_labels(probabilities, self._predictor.model.config),
            probabilities=probabilities,
            value=value,
            n_tokens=self.n_tokens,
            n_tokens_read=min(self.n_tokens, self._predictor.max_length) if is_cut else self.n_tokens,
            n_windows=self._merger.n_windows,
            seconds=self.seconds,
        )
