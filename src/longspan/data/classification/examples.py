"""Labelled texts, as every reader of classification data gives them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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
    """

    id: str
    text: str
    pair: str | None
    labels: tuple[str, ...]
    value: float | None


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
            `texts_without_labels` (multi-label), and what a reader left out and why.
        sha256: name of each file read -> SHA-256 of its bytes, or name -> fingerprint for a set from the hub.
    """

    name: str
    language: str
    examples: Sequence[LabelledText]
    problem_type: ProblemType
    label_names: tuple[str, ...]
    counts: dict[str, int]
    sha256: dict[str, str]


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
        InputError: there is no example, an id comes twice, or a declared label has no example.
    """
    rows = tuple(examples)
    if not rows:
        raise InputError(f"{source} holds no texts; pass data with at least one row")
    require_unique_ids(rows, source)
    used = {label for row in rows for label in row.labels}
    names = tuple(sorted(used) if declared is None else declared)
    empty = [label for label in names if label not in used]
    if empty and problem_type != "regression":
        raise InputError(
            f"{source} has no text of the class {', '.join(map(repr, empty))}, which it declares; add texts of it or "
            "remove the class"
        )
    if problem_type == "single_label_classification" and len(names) < 2:
        raise InputError(f"{source} has only the label {', '.join(names)!r}; classification needs two labels or more")
    found = {
        "texts": len(rows),
        **(counts or {}),
        "empty_texts": sum(not row.text.strip() for row in rows),
        "repeated_texts": len(rows) - len({(row.text, row.pair) for row in rows}),
    }
    if problem_type == "multi_label_classification":
        found["texts_without_labels"] = sum(not row.labels for row in rows)
    return LabelledDataset(
        name=name,
        language=language,
        examples=rows,
        problem_type=problem_type,
        label_names=() if problem_type == "regression" else names,
        counts={key: n for key, n in found.items() if n},
        sha256=sha256,
    )


def require_unique_ids(rows: Sequence[LabelledText], source: str) -> None:
    """Raise an InputError that names `source` if two rows have the same id."""
    ids = Counter(row.id for row in rows)
    repeated = next((identifier for identifier, n in ids.items() if n > 1), None)
    if repeated is not None:
        raise InputError(f"{source}: the id {repeated!r} comes {ids[repeated]} times; give each row an id of its own")


def require_known_labels(train: LabelledDataset, other: LabelledDataset) -> None:
    """Refuse labels that the training set does not have.

    Raises:
        InputError: a text of `other` has such a label, or the two sets are of different problem types.
    """
    if train.problem_type != other.problem_type:
        raise InputError(
            f"{other.name} is {other.problem_type}, but the training set {train.name} is {train.problem_type}; "
            "read both with the same problem_type"
        )
    known = set(train.label_names)
    for row in other.examples:
        for label in row.labels:
            if label not in known:
                raise InputError(
                    f"{other.name}: {row.id} has the label {label!r}, which is not in the training set {train.name}; "
                    f"its labels are {', '.join(map(repr, train.label_names)) or 'none'}"
                )
