"""recipe -> examples of its data sets, sampled and counted."""

import random
from collections import Counter
from typing import Any, NamedTuple

from longspan.errors import InputError
from longspan.tasks.task import Examples, FineTuningTask
from longspan.training.recipe.fields import FinetuneRecipe


class Data(NamedTuple):
    """Examples of one or more data sets, in order.

    datasets: as the task read them. languages: of each example. counts: of the readers, summed. sha256: of each
    file read.
    """

    datasets: list[Examples]
    examples: list[Any]
    languages: list[str]
    counts: dict[str, int]
    sha256: dict[str, str]

    def pairs(self) -> list[tuple[Any, str]]:
        """Return each example with its language."""
        return list(zip(self.examples, self.languages, strict=True))


def read_data(task: FineTuningTask, recipe: FinetuneRecipe, *, for_training: bool) -> Data:
    """Read and sample what the recipe names.

    Raises:
        InputError: a file or name cannot be read, or it holds no example.
    """
    names = recipe.train_data if for_training else recipe.eval_data
    limit = recipe.max_train_examples if for_training else recipe.max_eval_examples
    datasets = [task.read(name, recipe, for_training=for_training) for name in names]
    counts: Counter[str] = Counter()
    sha256: dict[str, str] = {}
    rows: list[tuple[Any, str]] = []
    for dataset in datasets:
        counts.update(dataset.counts)
        sha256.update(dataset.sha256)
        rows += [(example, dataset.language) for example in dataset.examples]
    if names and not rows:
        raise InputError(f"{', '.join(names)}: no {task.item_noun} in it")
    if limit is not None and limit < len(rows):
        counts["not_drawn"] = len(rows) - limit
        chosen = sorted(random.Random(recipe.seed).sample(range(len(rows)), limit))
        rows = [rows[i] for i in chosen]
    return Data(datasets, [row[0] for row in rows], [row[1] for row in rows], dict(counts), sha256)


def merge_counts(train: dict[str, int], rows: dict[str, int], evaluation: dict[str, int]) -> dict[str, int]:
    """Return one flat mapping for the record."""
    return train | rows | {f"eval_{name}": n for name, n in evaluation.items()}
