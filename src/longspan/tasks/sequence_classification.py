"""Classification and regression of whole documents: one label (or several, or a number) for each.

A document that is longer than a window is read in overlapping windows. Each window gives log-probabilities of the
labels; the document's are their mean over windows, or their maximum. Of a number (regression) it is the mean.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from longspan.errors import InputError
from longspan.records import Item, Metric, Score
from longspan.tasks.task import FeatureSet, FineTuningTask, PredictorOptions, Rows, Scored, TaskFields

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from longspan.data.classification import LabelledDataset, LabelledText

Merge = Literal["mean", "maximum"]

_EXCERPT = 200  # characters of a document in a record
_THRESHOLD = 0.5  # of the probability of a label, where a document may have several


class ClassificationFields(TaskFields):
    """Recipe fields of sequence classification."""

    text_column: str | None = Field(None, description="of a table; null: text, sentence, document, ...")
    pair_column: str | None = Field(None, description="with a second text; null: there is none")
    label_column: str | None = Field(None, description="null: label, labels, class, ...")
    label_separator: str | None = Field(None, description="between the labels of one row, if it may have several")
    problem_type: Literal["single_label_classification", "multi_label_classification", "regression"] | None = Field(
        None, description="null: what the labels look like"
    )
    windows: Literal["first", "all"] = Field(
        "first", description="of a long document, train on the first window, or on all of them with its label"
    )
    merge: Merge = Field("mean", description="of the windows of a document: mean or maximum of log-probabilities")


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


class WindowRow(dict[str, Any]):
    """One window: `input_ids`, `token_type_ids`, `example_index`, `window_index`, and `labels` where it has some."""


class DocumentWindows(FeatureSet):
    """The windows of some documents, tokenised once.

    Args:
        examples: the documents.
        tokenizer: a fast one.
        max_length: longest window in tokens, special ones included.
        overlap: tokens of the document that neighbouring windows share.
        first_only: make the first window of each document alone.
        target_of: example -> what the model is trained towards; None for rows without labels.

    Raises:
        InputError: a pair leaves no room for the document.
    """

    def __init__(
        self,
        examples: "Sequence[LabelledText]",
        tokenizer: "PreTrainedTokenizerBase",
        *,
        max_length: int,
        overlap: int,
        first_only: bool = False,
        target_of: Callable[[Any], Any] | None = None,
    ) -> None:
        from longspan.data.plain_text import plain_text_of

        self.counts: dict[str, int] = {}
        self.lengths: list[int] = []
        self.n_tokens: list[int] = []
        self.n_windows: list[int] = []
        self._rows: list[WindowRow] = []
        plain = plain_text_of(tokenizer)
        for index, example in enumerate(examples):
            ids = plain.encode_batch([example.text])[0].ids
            pair = None if example.pair is None else plain.encode_batch([example.pair])[0].ids
            frame = len(_framed(tokenizer, [], pair)["input_ids"])
            room = max_length - frame
            if room < 1:
                raise InputError(
                    f"document {example.id!r}: its second text has {frame:,} tokens and leaves no room in a window of "
                    f"{max_length:,}; shorten it"
                )
            step = room - overlap if overlap < room else (room + 1) // 2
            starts = [0] if len(ids) <= room else list(range(0, len(ids) - (room - step), step))
            self.n_tokens.append(frame + len(ids))
            self.n_windows.append(len(starts))
            for window, start in enumerate(starts[:1] if first_only else starts):
                row = WindowRow(_framed(tokenizer, ids[start : start + room], pair))
                row |= {"example_index": index, "window_index": window}
                if target_of is not None:
                    row["labels"] = target_of(example)
                self._rows.append(row)
                self.lengths.append(len(row["input_ids"]))
        if first_only and (n_cut := sum(n > 1 for n in self.n_windows)):
            self.counts["documents_cut"] = n_cut

    def __getitem__(self, index: int) -> WindowRow:
        """Return one window."""
        return self._rows[index]

    def sort_longest_first(self) -> None:
        """Put long windows first: what does not fit into memory fails at once."""
        order = np.argsort([-n for n in self.lengths], kind="stable")
        self._rows = [self._rows[i] for i in order]
        self.lengths = [self.lengths[i] for i in order]


def _framed(tokenizer: "PreTrainedTokenizerBase", ids: list[int], pair: list[int] | None) -> dict[str, list[int]]:
    """Return ids and token types with the tokenizer's special tokens around them."""
    from longspan.data.corpora.encoder import find_frame
    from longspan.data.qa.tokens import find_template

    if pair is None:
        frame = find_frame(tokenizer)
        own = [*frame.before, *ids, *frame.after]
        return {"input_ids": own, "token_type_ids": [0] * len(own)}
    template = find_template(tokenizer)
    parts = [
        *template.before,
        *((i, template.question_type) for i in ids),
        *template.between,
        *((i, template.context_type) for i in pair),
        *template.after,
    ]
    return {"input_ids": [i for i, _ in parts], "token_type_ids": [kind for _, kind in parts]}


class WindowCollator:
    """Pads windows on the right and makes `<s>` global for Longformers.

    Args:
        model: decides the arguments: token types only if it has several, `global_attention_mask` for Longformers.
        tokenizer: gives the padding token.
        has_global: make the first token global; False makes none global.
    """

    def __init__(self, model: Any, tokenizer: "PreTrainedTokenizerBase", *, has_global: bool = True) -> None:
        from longspan.tasks.predicting import takes_argument

        self._pad_id: Any = tokenizer.pad_token_id
        config = model.config
        self._is_long = config.model_type == "longformer"
        self._has_global = has_global
        n_types = getattr(config, "type_vocab_size", 0) or 0
        self._takes_types = n_types > 1 and takes_argument(model, "token_type_ids")
        self._is_float = getattr(config, "problem_type", None) in ("multi_label_classification", "regression")

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> "dict[str, Tensor]":
        """Return int64 tensors [B, T], and `labels` [B] or float [B, labels] if the rows have them."""
        import torch

        longest = max(len(row["input_ids"]) for row in rows)
        ids_BT = torch.full((len(rows), longest), int(self._pad_id))
        types_BT, is_token_BT = torch.zeros_like(ids_BT), torch.zeros_like(ids_BT)
        for i, row in enumerate(rows):
            n = len(row["input_ids"])
            ids_BT[i, :n] = torch.tensor(row["input_ids"])
            types_BT[i, :n] = torch.tensor(row["token_type_ids"])
            is_token_BT[i, :n] = 1
        batch = {"input_ids": ids_BT, "attention_mask": is_token_BT}
        if self._takes_types:
            batch["token_type_ids"] = types_BT
        if self._is_long:
            # All zeros rather than absent: without the mask the model would choose global tokens itself.
            batch["global_attention_mask"] = torch.zeros_like(ids_BT)
            batch["global_attention_mask"][:, 0] = int(self._has_global)
        if "labels" in rows[0]:
            labels = [row["labels"] for row in rows]
            batch["labels"] = torch.tensor(labels, dtype=torch.float32 if self._is_float else torch.int64)
        return batch


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
        model: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerBase",
        options: PredictorOptions,
        merge: Merge = "mean",
    ) -> None:
        from longspan.tasks.predicting import check_max_length, default_overlap, require_device

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

    def predict(self, examples: "Sequence[LabelledText]", *, progress: bool = True) -> list[LabelPrediction]:
        """Return one prediction for each document, in order.

        Raises:
            InputError: a logit is NaN (the document is named).
        """
        from longspan.progress import progress_bar

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
        import torch

        from longspan.tasks.predicting import autocast

        batch = {name: x.to(self.model.device) for name, x in self._collate(rows).items() if name != "labels"}
        was_training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode(), autocast(self.model, self.dtype):
                return self.model(**batch).logits.float().cpu().numpy()
        finally:
            self.model.train(was_training)

    def _prediction(
        self, example: "LabelledText", logits: list[np.ndarray], n_tokens: int, n_all: int, n_read: int, seconds: float
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


def labels_of(config: Any) -> list[str]:
    """Return the labels of a model, in the order of its outputs."""
    return [str(config.id2label[i]) for i in range(config.num_labels)]


def merge_windows(logits_NL: np.ndarray, config: Any, merge: Merge) -> tuple[float | None, dict[str, float]]:
    """Return the number of a regression, or the probability of each label, over all windows of a document.

    Args:
        logits_NL: float [windows, labels].
        config: the configuration of the model.
        merge: mean of the windows' log-probabilities, or their maximum.
    """
    if config.problem_type == "regression":
        return float(logits_NL.mean()), {}
    logits_NL = logits_NL.astype(np.float64)
    if config.problem_type == "multi_label_classification":
        if merge == "maximum":
            logits_NL = logits_NL.max(axis=0, keepdims=True)
        yes = np.mean(-np.logaddexp(0, -logits_NL), axis=0)
        no = np.mean(-np.logaddexp(0, logits_NL), axis=0)
        shares = np.exp(yes - np.logaddexp(yes, no))
    else:
        over = np.mean if merge == "mean" else np.max
        log_p = over(logits_NL - np.logaddexp.reduce(logits_NL, axis=1, keepdims=True), axis=0)
        shares = np.exp(log_p - np.logaddexp.reduce(log_p))
    return None, {label: float(share) for label, share in zip(labels_of(config), shares, strict=True)}


def chosen_labels(probabilities: Mapping[str, float], config: Any) -> list[str]:
    """Return the likeliest label, or all above one half if a document may have several; none for a regression."""
    if not probabilities:
        return []
    if config.problem_type == "multi_label_classification":
        return [label for label, share in probabilities.items() if share > _THRESHOLD]
    return [max(probabilities, key=lambda label: probabilities[label])]


class SequenceClassification(FineTuningTask):
    """Labels, or a number, for whole documents."""

    name = "sequence_classification"
    title = "sequence classification"
    head = "sequence_classification"
    item_noun = "document"
    metrics = (
        Metric(name="accuracy", label="Accuracy"),
        Metric(name="f1_macro", label="Macro F1"),
        Metric(name="f1_micro", label="Micro F1"),
        Metric(name="matthews", label="Matthews correlation", unit=""),
        Metric(name="mse", label="Mean squared error", unit="", higher_is_better=False),
        Metric(name="pearson", label="Pearson correlation", unit=""),
        Metric(name="spearman", label="Spearman correlation", unit=""),
    )
    count_labels: ClassVar[Mapping[str, str]] = {"truncated": "Not read to the end"}
    global_tokens = "<s>"
    fields = ClassificationFields
    head_keys = ("id2label", "label2id", "problem_type")
    training_metrics = ("accuracy", "f1_macro", "mse", "pearson")
    counts_worth_saying: ClassVar[Mapping[str, str]] = {
        "documents_cut": "documents were trained on with their first window only; windows: all trains on all"
    }

    def read(self, entry: str, fields: Any, *, for_training: bool) -> "LabelledDataset":
        """Read labelled documents."""
        from longspan.data.classification import load_labelled_dataset

        return load_labelled_dataset(
            entry,
            text_column=fields.text_column,
            pair_column=fields.pair_column,
            label_column=fields.label_column,
            label_separator=fields.label_separator,
            problem_type=fields.problem_type,
            language=getattr(fields, "language", None),
            split="train" if for_training and _has_splits(entry) else None,
        )

    def missing_data(self, entries: Sequence[str], languages: Sequence[str] | None = None) -> Iterator[str]:
        """Yield a sentence for each entry that is not here."""
        from longspan.data.classification import require_data

        del languages
        for entry in entries:
            try:
                require_data(entry)
            except InputError as error:
                yield str(error)

    def head_config(self, training: Sequence[Any] | None, fields: Any) -> dict[str, Any]:
        """Return the labels of the training data.

        Raises:
            InputError: the data sets are of several problem types, or there is only one label.
        """
        del fields
        if not training:
            return {}
        kinds = dict.fromkeys(dataset.problem_type for dataset in training)
        if len(kinds) > 1:
            raise InputError(f"the training data is of several kinds ({', '.join(kinds)}); set problem_type")
        kind = next(iter(kinds))
        labels = list(dict.fromkeys(label for dataset in training for label in dataset.label_names))
        if kind == "regression":
            labels = ["value"]
        elif len(labels) < 2:
            raise InputError(f"the training data has one label only ({', '.join(labels)}); give it at least two")
        return {
            "id2label": dict(enumerate(labels)),
            "label2id": {label: i for i, label in enumerate(labels)},
            "problem_type": kind,
        }

    def check_training(self, training: Sequence[Any], evaluation: Sequence[Any]) -> None:
        """Refuse labels that no training example can have."""
        from longspan.data.classification import require_known_labels

        labels = dict.fromkeys(label for dataset in training for label in dataset.label_names)
        train = replace(training[0], label_names=tuple(labels))
        for other in evaluation:
            require_known_labels(train, other)

    def features(
        self,
        examples: Sequence[Any],
        tokenizer: "PreTrainedTokenizerBase",
        fields: Any,
        *,
        max_length: int,
        overlap: int,
        for_training: bool,
        config: Any,
    ) -> FeatureSet:
        """Return windows with the document's label."""
        label2id = {label: i for i, label in enumerate(labels_of(config))}

        def target(example: Any) -> Any:
            if config.problem_type == "regression":
                return example.value
            if config.problem_type == "multi_label_classification":
                return [float(label in example.labels) for label in label2id]
            return label2id[example.labels[0]]

        rows = DocumentWindows(
            examples,
            tokenizer,
            max_length=max_length,
            overlap=overlap,
            first_only=for_training and fields.windows == "first",
            target_of=target,
        )
        if not for_training:
            rows.sort_longest_first()
        return rows

    def collator(self, model: Any, tokenizer: "PreTrainedTokenizerBase", fields: Any) -> WindowCollator:
        """Return what pads windows and makes `<s>` global."""
        del fields
        return WindowCollator(model, tokenizer)

    def training_scores(
        self,
        examples: Sequence[tuple[Any, str]],
        rows: FeatureSet,
        logits: Sequence[Any],
        tokenizer: "PreTrainedTokenizerBase",
        fields: Any,
        config: Any,
    ) -> dict[str, float]:
        """Return the scores over documents, their windows merged."""
        del tokenizer
        of_document: list[list[np.ndarray]] = [[] for _ in examples]
        for i in range(len(rows)):
            of_document[rows[i]["example_index"]].append(logits[0][i])
        merged = [merge_windows(np.stack(own), config, fields.merge) for own in of_document]
        golds = [example for example, _ in examples]
        values = [value for value, _ in merged]
        predicted = [chosen_labels(probabilities, config) for _, probabilities in merged]
        return _scores(golds, predicted, values, config.problem_type, labels_of(config))

    def predictor(
        self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", options: PredictorOptions, fields: Any
    ) -> LabelPredictor:
        """Return a `LabelPredictor`."""
        return LabelPredictor(model, tokenizer, options, getattr(fields, "merge", None) or "mean")

    def prediction_type(self) -> Any:
        """Return `LabelPrediction`."""
        return LabelPrediction

    def score(self, system: str, dataset: Any, predictor: Any, predictions: Sequence[Any]) -> Scored:
        """Score labels or numbers; a document without a prediction has none of the labels, or the number 0."""
        known = getattr(predictor, "labels", list(dataset.label_names))
        _require_kind_of_model(dataset, predictor)
        _require_labels_of_model(dataset, known)
        items = [
            self._item(system, dataset, example, prediction)
            for example, prediction in zip(dataset.examples, predictions, strict=True)
        ]
        predicted = [[] if one is None else one.labels for one in predictions]
        values = [0.0 if one is None or one.value is None else one.value for one in predictions]
        labels = list(dict.fromkeys([*known, *dataset.label_names]))
        found = _scores(dataset.examples, predicted, values, dataset.problem_type, labels)
        seconds = [one.seconds for one in predictions if one is not None]
        n_truncated = sum(bool(item.truncated) for item in items)
        score = Score(
            system=system,
            dataset=dataset.name,
            language=dataset.language,
            n_items=len(items),
            metrics=found,
            seconds_per_item=fmean(seconds) if seconds else None,
            peak_memory_gib=None,
            counts={"truncated": n_truncated},
        )
        known_metrics = {metric.name: metric for metric in self.metrics}
        metrics = [
            known_metrics.get(name) or Metric(name=name, label=f"F1, {name.partition('/')[2]}") for name in found
        ]
        return Scored(score, items, metrics)

    def _item(self, system: str, dataset: Any, example: Any, prediction: LabelPrediction | None) -> Item:
        labels = [] if prediction is None else prediction.labels
        value = 0.0 if prediction is None or prediction.value is None else prediction.value
        is_number = dataset.problem_type == "regression"
        if is_number:
            metrics = {"mse": (value - example.value) ** 2}
        else:
            metrics = {"accuracy": 100.0 * (set(labels) == set(example.labels))}
        probabilities = {} if prediction is None else prediction.probabilities
        text = example.text if example.pair is None else f"{example.text} | {example.pair}"
        return Item(
            id=example.id,
            unit=example.id,
            variant=None,
            system=system,
            dataset=dataset.name,
            language=dataset.language,
            input=text if len(text) <= _EXCERPT else text[: _EXCERPT - 2] + " …",
            gold=[f"{example.value:g}"] if is_number else list(example.labels),
            prediction=f"{value:g}" if is_number else ", ".join(labels),
            score=max(probabilities.values()) if probabilities else None,
            metrics=metrics,
            n_tokens=None if prediction is None else prediction.n_tokens,
            n_tokens_read=None if prediction is None else prediction.n_tokens_read,
            truncated=None if prediction is None else prediction.n_tokens_read < prediction.n_tokens,
        )

    def is_askable(self, example: Any) -> bool:
        """Return whether the document has any text."""
        return bool(example.text.strip())

    def identity(self, example: Any) -> list[Any]:
        """Return everything of a document that decides its prediction and its score."""
        return [example.id, example.text, example.pair, list(example.labels), example.value]

    def add_evaluate_options(self, parser: argparse.ArgumentParser) -> None:
        """Add the columns of tables and the merging of windows."""
        for name, field in ClassificationFields.model_fields.items():
            if name.endswith("_column") or name == "label_separator":
                parser.add_argument(f"--{name}", help=field.description)
        kinds = ["single_label_classification", "multi_label_classification", "regression"]
        parser.add_argument("--problem_type", choices=kinds, help="what the labels look like by default")
        _add_merge(parser)

    def evaluation_data(self, arguments: argparse.Namespace) -> "Documents":
        """Return the documents to label."""
        return Documents(self, arguments)

    def add_predict_options(self, parser: argparse.ArgumentParser) -> None:
        """Add the merging of windows."""
        _add_merge(parser)

    def predict_rows(self, arguments: argparse.Namespace, load: Callable[[], tuple[Any, Any]]) -> Rows:
        """Label every document."""
        import torch

        from longspan.data.classification import LabelledText
        from longspan.data.text import load_text

        examples = [
            LabelledText(id=name, text=load_text(name), pair=None, labels=(), value=None) for name in arguments.document
        ]
        model, tokenizer = load()
        options = PredictorOptions(
            max_length=arguments.max_length,
            overlap=arguments.overlap,
            truncate=arguments.truncate,
            batch_size=arguments.batch_size or 1,
            device=arguments.device or ("cuda" if torch.cuda.is_available() else "cpu"),
            dtype=torch.bfloat16 if arguments.bf16 else None,
        )
        predictor = LabelPredictor(model, tokenizer, options, arguments.merge)
        rows = [_row(prediction) for prediction in predictor.predict(examples)]
        return Rows(rows, [_as_text(row) for row in rows])


class Documents:
    """The documents that `longspan evaluate` labels, read at once."""

    def __init__(self, task: SequenceClassification, arguments: argparse.Namespace) -> None:
        if arguments.languages is not None and len(arguments.languages) != len(arguments.data):
            raise InputError("--languages needs one code for each data set, in the same order")
        languages = arguments.languages or [None] * len(arguments.data)
        self._datasets = [
            self._chosen(task.read(name, _with_language(arguments, language), for_training=False), arguments)
            for name, language in zip(arguments.data, languages, strict=True)
        ]
        self.name = ", ".join(dataset.name for dataset in self._datasets)
        told = [f"{arguments.merge} of the windows' log-probabilities"]
        if arguments.limit is not None:
            told.append(f"only the first {arguments.limit} documents of each data set")
        if arguments.sample is not None:
            told.append(f"only {arguments.sample} documents of each data set, drawn at random")
        self.protocol = "; ".join(told)
        self.settings = {"merge": arguments.merge}

    def datasets(self, tokenizer: "PreTrainedTokenizerBase") -> "Sequence[LabelledDataset]":
        """Return the data sets."""
        del tokenizer
        return self._datasets

    @staticmethod
    def _chosen(dataset: "LabelledDataset", arguments: argparse.Namespace) -> "LabelledDataset":
        import random

        examples = list(dataset.examples)
        if arguments.limit is not None:
            examples = examples[: arguments.limit]
        elif arguments.sample is not None:
            chosen = random.Random(0).sample(range(len(examples)), min(arguments.sample, len(examples)))
            examples = [examples[i] for i in sorted(chosen)]
        return replace(dataset, examples=examples)


def _with_language(arguments: argparse.Namespace, language: str | None) -> argparse.Namespace:
    return argparse.Namespace(**{**vars(arguments), "language": language})


def _has_splits(entry: str) -> bool:
    """Whether an entry of `train_data` stands for several splits: a name on the hub, or a folder with one for each."""
    path = Path(entry)
    return (path / "train").is_dir() if path.exists() else "@" not in entry


def _add_merge(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--merge",
        choices=["mean", "maximum"],
        default="mean",
        help="of the log-probabilities of a document's windows",
    )


def _scores(
    examples: Sequence[Any],
    predicted: Sequence[Sequence[str]],
    values: Sequence[float | None],
    problem_type: str,
    labels: Sequence[str],
) -> dict[str, float]:
    from longspan.metrics.classification import classification_scores, regression_scores

    if problem_type == "regression":
        return regression_scores([example.value for example in examples], [value or 0.0 for value in values])
    is_multi_label = problem_type == "multi_label_classification"
    return classification_scores(
        [example.labels for example in examples], predicted, labels, is_multi_label=is_multi_label
    )


def _require_kind_of_model(dataset: Any, predictor: Any) -> None:
    """Refuse numbers for a model of labels, and labels for a model of a number."""
    gives_number = getattr(predictor, "gives_number", dataset.problem_type == "regression")
    if gives_number and dataset.problem_type != "regression":
        raise InputError(f"{dataset.name} has labels, but the model predicts a number; set problem_type: regression")
    if not gives_number and dataset.problem_type == "regression":
        raise InputError(f"{dataset.name} has numbers, but the model predicts labels; leave problem_type out")


def _require_labels_of_model(dataset: Any, known: Sequence[str]) -> None:
    """Refuse a data set with labels that the model does not have."""
    for example in dataset.examples:
        for label in example.labels:
            if label not in known:
                raise InputError(
                    f"{dataset.name}: document {example.id!r} has the label {label!r}, which the model was not trained "
                    f"on; it knows {', '.join(known)}"
                )


def _row(prediction: LabelPrediction) -> dict[str, Any]:
    row: dict[str, Any] = {"document": prediction.id}
    if prediction.value is not None:
        row["value"] = round(prediction.value, 4)
    else:
        row["label"] = ", ".join(prediction.labels)
        shares = [prediction.probabilities[label] for label in prediction.labels]
        row["probability"] = round(min(shares), 4) if shares else None
        row["probabilities"] = {label: round(share, 4) for label, share in prediction.probabilities.items()}
    return row | {
        "n_tokens": prediction.n_tokens,
        "n_tokens_read": prediction.n_tokens_read,
        "truncated": prediction.n_tokens_read < prediction.n_tokens,
        "n_windows": prediction.n_windows,
        "seconds": round(prediction.seconds, 3),
    }


def _as_text(row: Mapping[str, Any]) -> str:
    found = row["value"] if "value" in row else f"{row['label'] or '(no label)'}"
    sure = f" ({row['probability']:.0%})" if row.get("probability") is not None else ""
    cut = f", {row['n_tokens_read']:,} of them read" if row["truncated"] else ""
    return f"{row['document']}: {found}{sure}   {row['n_tokens']:,} tokens{cut}\n"
