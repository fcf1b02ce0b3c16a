"""recipe -> questions -> windows to train and evaluate on, with a count of everything left out."""

import logging
import random
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from transformers import PreTrainedTokenizerBase

from longspan.data.qa import CATALOGUE, QaDataset, QaExample, QaFeatures, concatenate, load_qa_dataset, make_qa_features
from longspan.errors import InputError
from longspan.training.finetune.trainer import WindowSet
from longspan.training.recipe.fields import FinetuneRecipe, split_entry

logger = logging.getLogger(__name__)


class Questions(NamedTuple):
    """Questions of one or more data sets, in order.

    languages: of each question. counts: what the readers saw, summed. sha256: of each file read.
    """

    examples: list[QaExample]
    languages: list[str]
    counts: dict[str, int]
    sha256: dict[str, str]


def read_questions(recipe: FinetuneRecipe, *, for_evaluation: bool) -> Questions:
    """Read, concatenate and sample what the recipe names.

    Raises:
        InputError: a file or name cannot be read, or it holds no question.
    """
    names = recipe.eval_data if for_evaluation else recipe.train_data
    limit = recipe.max_eval_examples if for_evaluation else recipe.max_train_examples
    rows: list[tuple[QaExample, str]] = []
    counts: Counter[str] = Counter()
    sha256: dict[str, str] = {}
    for name in names:
        dataset = _load(name, recipe, for_evaluation=for_evaluation)
        counts.update(dataset.counts)
        if dataset.unlocatable_ids:
            logger.warning(
                "%s: answers that are not in their document, of the questions %s",
                dataset.name,
                ", ".join(dataset.unlocatable_ids),
            )
        sha256.update(dataset.sha256)
        rows += [(example, dataset.language) for example in dataset.examples]
    if names and not rows:
        raise InputError(f"{', '.join(names)}: no question in it")
    if limit is not None and limit < len(rows):
        counts["not_drawn"] = len(rows) - limit
        chosen = sorted(random.Random(recipe.seed).sample(range(len(rows)), limit))
        rows = [rows[i] for i in chosen]
    return Questions([row[0] for row in rows], [row[1] for row in rows], dict(counts), sha256)


def make_training_windows(
    questions: Questions, recipe: FinetuneRecipe, tokenizer: PreTrainedTokenizerBase, max_length: int, overlap: int
) -> tuple[WindowSet, dict[str, int]]:
    """Windows with labels, less the share of those without the answer that the recipe leaves out; and counts.

    Raises:
        InputError: no window is left to train on.
    """
    features = make_qa_features(
        questions.examples, tokenizer, max_length=max_length, overlap=overlap, with_labels=True, progress=True
    )
    counts = dict(features.counts)
    places = np.arange(len(features))
    if recipe.no_answer_windows < 1:
        # Windows of questions that have no answer at all stay: that is what they teach.
        is_answered = [any(answer.start is not None for answer in example.answers) for example in questions.examples]
        without = [
            place
            for place, feature in enumerate(features)
            if is_answered[feature.example_index] and feature.start_position == 0
        ]
        n_left_out = round(len(without) * (1 - recipe.no_answer_windows))
        left_out = random.Random(recipe.seed).sample(without, n_left_out)
        places = np.setdiff1d(places, left_out)
        counts["no_answer_windows_left_out"] = n_left_out
    if not len(places):
        raise InputError(f"{', '.join(recipe.train_data)}: no window to train on ({_in_words(counts)})")
    return WindowSet(features, places), counts


def make_evaluation_windows(
    questions: Questions, tokenizer: PreTrainedTokenizerBase, max_length: int, overlap: int
) -> WindowSet:
    """All windows with labels, longest first."""
    features: QaFeatures = make_qa_features(
        questions.examples, tokenizer, max_length=max_length, overlap=overlap, with_labels=True
    )
    return WindowSet(features, np.argsort(-features.lengths, kind="stable"))


def _load(entry: str, recipe: FinetuneRecipe, *, for_evaluation: bool) -> QaDataset:
    name, n_concat = split_entry(entry)
    if n_concat is None:
        n_concat = recipe.n_concat
    dataset = load_qa_dataset(name, split=None if for_evaluation else _training_split(name), language=recipe.language)
    if n_concat is None:
        return dataset
    return concatenate(
        dataset,
        n_concat,
        separator=recipe.separator,
        seed=recipe.concat_seed,
        first_question_only=recipe.first_question_only,
    )


def _training_split(name: str) -> str | None:
    """The split "train", or None where the named set has no such part (XQuAD) and is to be trained on as it is."""
    known = [entry for entry in CATALOGUE if name == entry or name.startswith(entry + ".")]
    return "train" if not known or "train" in CATALOGUE[max(known, key=len)].splits else None


def _in_words(counts: dict[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in counts.items())


def merge_counts(train: dict[str, int], windows: dict[str, int], evaluation: dict[str, int]) -> dict[str, int]:
    """One flat mapping for the record."""
    return train | windows | {f"eval_{name}": n for name, n in evaluation.items()}


def examples_with_language(questions: Questions) -> Sequence[tuple[QaExample, str]]:
    """Pairs, as the trainer's evaluation wants them."""
    return list(zip(questions.examples, questions.languages, strict=True))
