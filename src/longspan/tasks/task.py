"""The interface of a task, through which training, evaluation, grids and the command use it.

A task is a subclass of `FineTuningTask` in its own module, and one line in `longspan.tasks.TASKS`. Packages can
add tasks through the entry point group `longspan.tasks` (docs/how-to-add-a-task.md).
"""

import argparse
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict

from longspan.records import EvaluationRecord, Item, Metric, Place, Score

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor, nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Verb = Literal["finetune", "pretrain"]
ReadingKind = Literal["truncate", "windows of", "full attention", "window only", "window + global"]


class TaskFields(BaseModel):
    """The recipe fields that only one task has; a task's own class derives from this one.

    Each field has a default and a description. `needed_by` maps a field to those that have no effect without it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    needed_by: ClassVar[dict[str, set[str]]] = {}


class Reading(NamedTuple):
    """How a system reads a document that is longer than the model.

    Attributes:
        kind: "truncate" reads the first `n_tokens`; "windows of" reads overlapping windows of `n_tokens`; the others
            read all that the long model takes: with full attention, with the window alone, or with global tokens.
        n_tokens: of truncation and windows; None for the others.
    """

    kind: ReadingKind
    n_tokens: int | None


class Examples(Protocol):
    """A data set as a task's reader gives it."""

    @property
    def name(self) -> str:
        """Name in tables."""
        ...

    @property
    def language(self) -> str:
        """ISO code of the language."""
        ...

    @property
    def examples(self) -> Sequence[Any]:
        """The examples; each has an `id`."""
        ...

    @property
    def counts(self) -> Mapping[str, int]:
        """What was repaired or odd."""
        ...

    @property
    def sha256(self) -> Mapping[str, str]:
        """Name of each file -> its SHA-256."""
        ...


class Prediction(Protocol):
    """What every prediction says; a task adds its own attributes. `seconds` includes tokenising and decoding."""

    @property
    def id(self) -> str:
        """The id of the example."""
        ...

    @property
    def seconds(self) -> float:
        """Seconds spent on the example."""
        ...


class Predictor(Protocol):
    """One system: a model that reads documents in one way."""

    def predict(self, examples: Sequence[Any], *, progress: bool = True) -> Sequence[Prediction]:
        """Return one prediction for each example, in order."""
        ...


@dataclass(frozen=True, kw_only=True)
class PredictorOptions:
    """How a predictor reads and computes; every task has these.

    Attributes:
        max_length: longest window in tokens; None for the longest input of the model.
        overlap: tokens that neighbouring windows share; None for 128, or a quarter of a window below 512.
        truncate: read the first window only.
        has_global: make the task's global tokens global, where the model is a Longformer.
        batch_size: windows per batch.
        device: where to run; None for where the model is.
        dtype: torch.bfloat16 or torch.float16 for autocast; None for the dtype of the model.
    """

    max_length: int | None = None
    overlap: int | None = None
    truncate: bool = False
    has_global: bool = True
    batch_size: int = 8
    device: "str | torch.device | None" = None
    dtype: "torch.dtype | None" = None


class FeatureSet(ABC):
    """What the Trainer trains or evaluates on: rows of one model input each.

    Attributes:
        lengths: tokens of each row.
        counts: what was repaired or left out while the rows were made, for the record.
    """

    lengths: list[int]
    counts: dict[str, int]

    def __len__(self) -> int:
        return len(self.lengths)

    @abstractmethod
    def __getitem__(self, index: int) -> Any:
        """Return one row, as the task's collator takes it."""


class ListedData(NamedTuple):
    """A line of `longspan ls datasets`: a data set that the task reads by name, or a format of files.

    Attributes:
        name: as it is written in a recipe, placeholders in angle brackets.
        where: "with longspan", "hub or file", "file", "hub" or "made".
        languages: separated by spaces.
        splits: separated by commas.
        licence: of the data.
        size: of a download.
        description: what it is.
    """

    name: str
    where: str
    languages: str = ""
    splits: str = ""
    licence: str = ""
    size: str = ""
    description: str = ""


class Scored(NamedTuple):
    """The result of one system on one data set; `metrics` has those of `score.metrics`, in the order of tables."""

    score: Score
    items: list[Item]
    metrics: list[Metric]


class EvaluationData(Protocol):
    """What `longspan evaluate` evaluates on, read from the command line."""

    @property
    def name(self) -> str:
        """Name of the evaluation, if the user gives none."""
        ...

    @property
    def protocol(self) -> str:
        """How the examples were made, in words."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the record keeps of the task's options."""
        ...

    def datasets(self, tokenizer: "PreTrainedTokenizerBase") -> Sequence[Examples]:
        """Return the data sets; some are made with the tokenizer of the model."""
        ...


class Task(ABC):
    """A task by its name, with what tables and lists need.

    Attributes:
        name: in recipes, records and on the command line.
        title: in sentences, such as "question answering".
        verb: the command that trains it.
        head: key of the task head in `longspan.models.heads.HEADS`.
        item_noun: what one item is called, in the singular.
        metrics: in the order of tables; the first is the primary one. `score` may give more, such as one per class.
        count_labels: name of what `score` counts -> heading of its column.
        global_tokens: which tokens see the whole document, as the name of the reading says it; None if none do.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    verb: ClassVar[Verb] = "finetune"
    head: ClassVar[str]
    item_noun: ClassVar[str] = "item"
    metrics: ClassVar[Sequence[Metric]]
    count_labels: ClassVar[Mapping[str, str]] = {}
    global_tokens: ClassVar[str | None] = None

    @property
    def readings(self) -> tuple[str, ...]:
        """Names of the readings that an evaluation compares, in the order of tables."""
        if self.global_tokens is None:
            return ()
        return (
            "truncate 512",
            "windows of 512",
            "full attention",
            "window only",
            f"window + global {self.global_tokens}",
        )


class FineTuningTask(Task):
    """A task that `longspan finetune` trains and `longspan evaluate` evaluates.

    Attributes:
        fields: the recipe fields that only this task has.
        head_keys: keys of the configuration that `head_config` sets.
        training_metrics: names that `training_scores` returns, for `metric_for_best_model`.
        predict_example: options of `longspan predict` that an example of its use needs.
        has_places: `places` gives scores by length and place.
        counts_worth_saying: name of what a training counted -> what the terminal says of it, behind the number.
    """

    fields: ClassVar[type[TaskFields]] = TaskFields
    head_keys: ClassVar[Sequence[str]] = ()
    training_metrics: ClassVar[Sequence[str]] = ()
    predict_example: ClassVar[str] = ""
    counts_worth_saying: ClassVar[Mapping[str, str]] = {}
    has_places: ClassVar[bool] = False

    # Data and training

    @abstractmethod
    def read(self, entry: str, fields: Any, *, for_training: bool) -> Examples:
        """Read one entry of `train_data` or `eval_data`.

        Args:
            entry: a file, a folder or a name.
            fields: the recipe; it has this task's fields, and `language`.
            for_training: which split a name stands for.

        Raises:
            InputError: it cannot be read (the message names file, record and field).
        """

    def listed_data(self) -> Sequence[ListedData]:
        """Return the data sets and formats that `longspan ls datasets` lists."""
        return ()

    def data_lines(self, dataset: Any) -> list[tuple[str, str]]:
        """Return what `longspan check DATA` says of a data set beside its size and counts: headings and texts."""
        del dataset
        return []

    def missing_data(self, entries: Sequence[str], languages: Sequence[str] | None = None) -> Iterator[str]:
        """Yield a sentence for each entry that is not on this machine, without opening anything."""
        del entries, languages
        return iter(())

    def head_config(self, training: Sequence[Examples] | None, fields: Any) -> dict[str, Any]:
        """Return the entries of the model's configuration that describe the head, such as its labels.

        Args:
            training: the data sets to train on; None if there are none (an adapter's base).
            fields: the recipe.
        """
        del training, fields
        return {}

    def keeps_head(self, config: Any, wanted: Mapping[str, Any]) -> bool:
        """Return whether a trained head with the configuration `config` can be trained on."""
        return all(getattr(config, key, None) == value for key, value in wanted.items())

    def check_training(self, training: Sequence[Examples], evaluation: Sequence[Examples]) -> None:
        """Raise an InputError if the data to evaluate on does not fit the data to train on."""
        del training, evaluation

    @abstractmethod
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
        """Return the rows to train or evaluate on, with labels.

        Args:
            examples: of the data sets.
            tokenizer: of the model.
            fields: the recipe.
            max_length: longest row in tokens.
            overlap: tokens that neighbouring windows share.
            for_training: rows may be left out (and counted); for evaluation all rows stand, longest first.
            config: the configuration of the model, with the labels of its head.
        """

    @abstractmethod
    def collator(
        self, model: "nn.Module", tokenizer: "PreTrainedTokenizerBase", fields: Any
    ) -> "Callable[[Sequence[Any]], dict[str, Tensor]]":
        """Return what makes a batch of rows."""

    @abstractmethod
    def training_scores(
        self,
        examples: Sequence[tuple[Any, str]],
        rows: FeatureSet,
        logits: "Sequence[np.ndarray]",
        tokenizer: "PreTrainedTokenizerBase",
        fields: Any,
        config: Any,
    ) -> dict[str, float]:
        """Return the scores of an evaluation during the training.

        Args:
            examples: each with its language.
            rows: made of them by `features`.
            logits: the model's outputs, [rows, ...] each, padded with -100.
            tokenizer: of the model.
            fields: the recipe.
            config: the configuration of the model.
        """

    def summary(self, record: Any) -> list[str]:
        """Return lines about a finished training for the terminal."""
        for log in reversed(record.steps):
            known = [name for name in self.training_metrics if f"eval_{name}" in log.values]
            if known:
                return ["evaluation: " + ", ".join(f"{name} {log.values[f'eval_{name}']:.4g}" for name in known)]
        return []

    # Prediction and evaluation

    @abstractmethod
    def predictor(
        self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", options: PredictorOptions, fields: Any
    ) -> Predictor:
        """Return what predicts with `model`.

        Args:
            model: with this task's head.
            tokenizer: its tokenizer.
            options: how to read and compute.
            fields: options of the command line or a recipe; defaults hold for fields of this task that they lack.
        """

    @abstractmethod
    def score(self, system: str, dataset: Any, predictor: Any, predictions: Sequence[Any]) -> Scored:
        """Score one system on one data set; every example counts.

        Args:
            system: its name.
            dataset: the examples.
            predictor: what predicted.
            predictions: one for each example, in order; None if the system said nothing.
        """

    def check_evaluation(self, dataset: Any, predictor: Any) -> None:
        """Raise an InputError if a predictor cannot be scored on a data set, such as for a label that it does not have.

        It is called for each pair of both before anything is predicted.
        """
        del dataset, predictor

    def prediction_type(self) -> Any:
        """Return the type of a prediction, as pydantic reads it back; None if an interrupted cell starts again."""
        return None

    def is_askable(self, example: Any) -> bool:
        """Return whether there is something to predict; anything else counts as a wrong prediction."""
        del example
        return True

    def places(self, dataset: Any, items: Sequence[Item]) -> list[Place]:
        """Return the items of one cell by length and place, if the task has places."""
        del dataset, items
        return []

    def data_settings(self, datasets: Sequence[Any]) -> dict[str, Any]:
        """Return what the record keeps of the data beside its counts."""
        del datasets
        return {}

    def identity(self, example: Any) -> list[Any]:
        """Return everything of an example that decides its prediction and its score, as JSON values."""
        return [repr(example)]

    # The command

    def add_evaluate_options(self, parser: argparse.ArgumentParser) -> None:
        """Add the options that only this task has to `longspan evaluate`."""
        del parser

    @abstractmethod
    def evaluation_data(self, arguments: argparse.Namespace) -> EvaluationData:
        """Return what `longspan evaluate` was asked to evaluate on.

        Raises:
            InputError: options do not fit together, or the data cannot be read.
        """

    def check_evaluate_options(self, arguments: argparse.Namespace) -> None:
        """Raise an InputError if options do not fit together; nothing is read."""
        del arguments

    def missing_evaluation_data(self, arguments: argparse.Namespace) -> Iterator[str]:
        """Yield a sentence for each data set that `longspan evaluate` would not find."""
        return self.missing_data(arguments.data, getattr(arguments, "languages", None))

    def terminal_lines(self, record: EvaluationRecord) -> list[str]:
        """Return lines that `longspan evaluate` prints below its table."""
        del record
        return []

    def add_predict_options(self, parser: argparse.ArgumentParser) -> None:
        """Add the options that only this task has to `longspan predict`."""
        del parser

    @abstractmethod
    def predict_rows(self, arguments: argparse.Namespace, load: "Callable[[], tuple[Any, Any]]") -> "Rows":
        """Carry out `longspan predict`.

        Args:
            arguments: of the command.
            load: loads model and tokenizer; called after the inputs were checked.
        """


class Rows(NamedTuple):
    """What `longspan predict` prints: JSON rows, each as text for people, and sentences for standard error."""

    rows: Sequence[Mapping[str, Any]]
    texts: Sequence[str]
    notes: Sequence[str] = ()
