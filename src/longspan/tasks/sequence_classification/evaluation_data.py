"""The documents that `longspan evaluate` labels."""

import argparse
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from longspan.errors import InputError
from longspan.tasks.sequence_classification.fields import ClassificationFields
from longspan.tasks.sequence_classification.training_data import read_documents

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from longspan.data.classification import LabelledDataset


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `longspan evaluate` that only sequence classification has."""
    for name, field in ClassificationFields.model_fields.items():
        if name.endswith("_column") or name == "label_separator":
            parser.add_argument(f"--{name}", help=field.description)
    kinds = ["single_label_classification", "multi_label_classification", "regression"]
    parser.add_argument("--problem_type", choices=kinds, help="what the labels look like by default")
    add_merge(parser)


def add_merge(parser: argparse.ArgumentParser) -> None:
    """Add --merge, which `longspan predict` has, too."""
    parser.add_argument(
        "--merge",
        choices=["mean", "maximum"],
        default="mean",
        help="of the log-probabilities of a document's windows",
    )


class Documents:
    """The documents that `longspan evaluate` labels, read at once."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        if arguments.languages is not None and len(arguments.languages) != len(arguments.data):
            raise InputError("--languages needs one code for each data set, in the same order")
        languages = arguments.languages or [None] * len(arguments.data)
        self._datasets = [
            self._chosen(read_documents(name, _with_language(arguments, language), for_training=False), arguments)
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
        examples = list(dataset.examples)
        if arguments.limit is not None:
            examples = examples[: arguments.limit]
        elif arguments.sample is not None:
            chosen = random.Random(0).sample(range(len(examples)), min(arguments.sample, len(examples)))
            examples = [examples[i] for i in sorted(chosen)]
        return replace(dataset, examples=examples)


def _with_language(arguments: argparse.Namespace, language: str | None) -> argparse.Namespace:
    return argparse.Namespace(**{**vars(arguments), "language": language})
