"""Questions -> windows to train and evaluate on, with a count of everything that is left out."""

import random
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from longspan.data.qa import CATALOGUE, QaDataset, QaExample, QaFeature, QaFeatures, concatenate, load_qa_dataset
from longspan.data.qa import make_qa_features as make_features
from longspan.errors import InputError
from longspan.tasks.task import FeatureSet


class WindowSet(FeatureSet):
    """Some of the windows of `features`, in a given order."""

    def __init__(self, features: QaFeatures, places: np.ndarray, counts: dict[str, int]) -> None:
        self._features = features
        self._places = places
        self.lengths = features.lengths[places].tolist()
        self.counts = counts

    def __getitem__(self, index: int) -> QaFeature:
        """Return one window."""
        return self._features[int(self._places[index])]


def read_questions(entry: str, fields: Any, *, for_training: bool) -> QaDataset:
    """Read one entry of a recipe's data, its paragraphs joined if the entry or the recipe says so.

    Raises:
        InputError: a file or name cannot be read.
    """
    name, n_concat = split_entry(entry)
    if n_concat is None:
        n_concat = fields.n_concat
    dataset = load_qa_dataset(name, split=_training_split(name) if for_training else None, language=fields.language)
    if n_concat is None:
        return dataset
    return concatenate(
        dataset,
        n_concat,
        separator=fields.separator,
        seed=fields.concat_seed,
        first_question_only=fields.first_question_only,
    )


def split_entry(entry: str) -> tuple[str, int | None]:
    """Return name and paragraphs to join of an entry such as "squad x10"; None if it does not say how many.

    Raises:
        InputError: the number is 0.
    """
    found = re.fullmatch(r"(.*\S) x(\d+)", entry)
    if found is None:
        return entry, None
    if not int(found[2]):
        raise InputError(f"{entry}: x0 joins no paragraph; write x1 or more")
    return found[1], int(found[2])


def make_training_windows(
    examples: Sequence[QaExample], fields: Any, tokenizer: PreTrainedTokenizerBase, max_length: int, overlap: int
) -> WindowSet:
    """Return the windows with labels, without the share of answerless windows that the recipe drops.

    Raises:
        InputError: no window is left to train on.
    """
    features = make_features(
        examples, tokenizer, max_length=max_length, overlap=overlap, with_labels=True, progress=True
    )
    counts = dict(features.counts)
    places = np.arange(len(features))
    if fields.no_answer_windows < 1:
        # Windows of unanswerable questions stay: they teach to give no answer.
        is_answered = [any(answer.start is not None for answer in example.answers) for example in examples]
        without = [
            place
            for place, feature in enumerate(features)
            if is_answered[feature.example_index] and feature.start_position == 0
        ]
        n_left_out = round(len(without) * (1 - fields.no_answer_windows))
        left_out = random.Random(fields.seed).sample(without, n_left_out)
        places = np.setdiff1d(places, left_out)
        counts["no_answer_windows_left_out"] = n_left_out
    if not len(places):
        told = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in counts.items())
        raise InputError(f"{', '.join(fields.train_data)}: no window to train on ({told})")
    return WindowSet(features, places, counts)


def make_evaluation_windows(
    examples: Sequence[QaExample], tokenizer: PreTrainedTokenizerBase, max_length: int, overlap: int
) -> WindowSet:
    """Return all windows with labels, longest first."""
    features = make_features(examples, tokenizer, max_length=max_length, overlap=overlap, with_labels=True)
    return WindowSet(features, np.argsort(-features.lengths, kind="stable"), {})


def _training_split(name: str) -> str | None:
    """Return "train", or None for a named set without that split (XQuAD), which is trained on as it is."""
    known = [entry for entry in CATALOGUE if name == entry or name.startswith(entry + ".")]
    return "train" if not known or "train" in CATALOGUE[max(known, key=len)].splits else None
