"""Labelled texts, as every reader of classification data gives them."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from longspan.errors import InputError

ProblemType = Literal["single_label_classification", "multi_label_classification", "regression"]
PROBLEM_TYPES: tuple[ProblemType, ...] = ("single_label_classification", "multi_label_classification", "regression")


@dataclass(frozen=True)
class LabelledText:
    """One text with its labels or its number.

    Attributes:
        id: unique in its data set.
        text: it may be empty; `LabelledDataset.counts` counts empty texts.
        pair: the second text of a pair; None if the task has no pairs.
        labels: one label (single-label), any number (multi-label), none (regression).
        value: the number to predict; None except in regression.
        place: where it stands in its data set, for errors: "row 3", "line 3", the name of a file.
    """

    id: str
    text: str
    pair: str | None
    labels: tuple[str, ...]
    value: float | None
    place: str = field(default="", compare=False)


@dataclass(frozen=True)
class LabelledDataset:
    """The labelled texts of one data set, and what its reader found.

    Attributes:
        name: as in tables.
        language: of the texts.
        examples: in the order of the data.
        problem_type: as transformers calls it.
        label_names: in the order that the data declares, else sorted; empty for regression.
        counts: `texts`; if not zero also `empty_texts`, `repeated_texts` (a text that an earlier row has too),
            `texts_without_labels` (multi-label), `labels_without_texts` (the data declares them), and what a reader
            changed or left out.
        sha256: name of each file read -> SHA-256 of its bytes, or name -> fingerprint for a set from the hub.
        source: what errors call the data: its file or folder, or its name on the hub.
    """

    name: str
    language: str
    examples: Sequence[LabelledText]
    problem_type: ProblemType
    label_names: tuple[str, ...]
    counts: dict[str, int]
    sha256: dict[str, str]
    source: str = ""


def make_labelled_dataset(
    examples: Iterable[LabelledText],
    *,
    source: str,
    name: str,
    language: str,
    problem_type: ProblemType,
    sha256: dict[str, str],
    declared: Sequence[str] | None = None,
    counts: dict[str, int] | None = None,
) -> LabelledDataset:
    """Check the examples as a whole, count what is odd, and find the label names.

    Args:
        examples: what a reader read.
        source: what errors call the data.
        name: as in tables.
        language: of the texts.
        problem_type: as transformers calls it.
        sha256: name -> hash of what was read.
        declared: the label names that the data declares; the sorted labels of the examples if None.
        counts: what the reader counted.

    Raises:
        InputError: there is no example, or an id comes twice.
    """
    rows = tuple(examples)
    if not rows:
        raise InputError(f"{source} holds no texts; pass data with at least one row")
    require_unique_ids(rows, source)
    used = {label for row in rows for label in row.labels}
    names = tuple(sorted(used) if declared is None else declared)
    found = {
        "texts": len(rows),
        **(counts or {}),
        "empty_texts": sum(not row.text.strip() for row in rows),
        "repeated_texts": len(rows) - len({(row.text, row.pair) for row in rows}),
    }
    if problem_type == "multi_label_classification":
        found["texts_without_labels"] = sum(not row.labels for row in rows)
    if problem_type != "regression":
        found["labels_without_texts"] = len(set(names) - used)
    return LabelledDataset(
        name=name,
        language=language,
        examples=rows,
        problem_type=problem_type,
        label_names=() if problem_type == "regression" else names,
        counts={key: n for key, n in found.items() if n},
        sha256=sha256,
        source=source,
    )


def require_unique_ids(rows: Sequence[LabelledText], source: str) -> None:
    """Raise an InputError that names `source` if two rows have the same id."""
    ids = Counter(row.id for row in rows)
    repeated = next((identifier for identifier, n in ids.items() if n > 1), None)
    if repeated is not None:
        raise InputError(f"{source}: the id {repeated!r} comes {ids[repeated]} times; give each row an id of its own")


def labels_to_train(training: Sequence[LabelledDataset]) -> tuple[ProblemType, tuple[str, ...]]:
    """Return the problem type and the labels of the data sets that one model is trained on; no labels in regression.

    Raises:
        InputError: the data sets are of several problem types, there is one label alone, or no text of any data set
            has a label that one declares.
    """
    kinds: dict[ProblemType, LabelledDataset] = {dataset.problem_type: dataset for dataset in training}
    if len(kinds) > 1:
        told = " and ".join(f"{dataset.source} is {kind}" for kind, dataset in kinds.items())
        raise InputError(f"the training data is of several kinds ({told}); set problem_type")
    kind = next(iter(kinds))
    labels = tuple(dict.fromkeys(label for dataset in training for label in dataset.label_names))
    if kind == "regression":
        return kind, ()
    used = {label for dataset in training for row in dataset.examples for label in row.labels}
    sources = ", ".join(dataset.source for dataset in training)
    if empty := [label for label in labels if label not in used]:
        raise InputError(
            f"{sources}: no text has the label {', '.join(map(repr, empty))}, which the data declares; add texts of it "
            "or remove it"
        )
    if len(labels) < 2:
        raise InputError(
            f"{sources}: there is only the label {', '.join(map(repr, labels)) or 'none'}; training needs two or more"
        )
    return kind, labels


def require_known_labels(known: Collection[str], other: LabelledDataset, whose: str) -> None:
    """Refuse labels that are not among `known`.

    Args:
        known: the labels of a model or of training data.
        other: the data set that is checked.
        whose: what knows them, for the error: "the training data" or "the model".

    Raises:
        InputError: a text of `other` has such a label; the message has its file and row.
    """
    known = dict.fromkeys(known)
    for row in other.examples:
        for label in row.labels:
            if label not in known:
                raise InputError(
                    f"{other.source or other.name}: {row.place or repr(row.id)} has the label {label!r}, which "
                    f"{whose} does not know; it knows {', '.join(map(repr, known)) or 'none'}"
                )
