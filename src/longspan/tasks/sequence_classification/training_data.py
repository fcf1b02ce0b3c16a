"""What a model is trained on: the split of an entry, the labels of its head, and each document's target."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longspan.data.classification import load_labelled_dataset, require_known_labels
from longspan.errors import InputError
from longspan.tasks.sequence_classification.merging import labels_of, problem_type_of

if TYPE_CHECKING:
    from longspan.data.classification import LabelledDataset


def read_documents(entry: str, fields: Any, *, for_training: bool) -> "LabelledDataset":
    """Return the labelled documents of one entry of `train_data` or `eval_data`; of several splits "train" to train.

    Raises:
        InputError: as `load_labelled_dataset`.
    """
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


def head_config(training: Sequence["LabelledDataset"]) -> dict[str, Any]:
    """Return what the configuration says of a head that is trained on these data sets.

    Raises:
        InputError: the data sets are of several problem types, or there is only one label.
    """
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


def require_labels_of_training(training: Sequence["LabelledDataset"], evaluation: Sequence["LabelledDataset"]) -> None:
    """Raise an InputError if a document to evaluate on has a label that no document to train on has."""
    labels = dict.fromkeys(label for dataset in training for label in dataset.label_names)
    train = replace(training[0], label_names=tuple(labels))
    for other in evaluation:
        require_known_labels(train, other)


def target_of(config: Any) -> Callable[[Any], Any]:
    """Return what gives an example's target: an index, a number for each label, or the value.

    Args:
        config: of the model.
    """
    label2id = {label: i for i, label in enumerate(labels_of(config))}

    def target(example: Any) -> Any:
        if problem_type_of(config) == "regression":
            return example.value
        if problem_type_of(config) == "multi_label_classification":
            return [float(label in example.labels) for label in label2id]
        return label2id[example.labels[0]]

    return target


def _has_splits(entry: str) -> bool:
    """Whether an entry of `train_data` stands for several splits: a name on the hub, or a folder with one for each."""
    path = Path(entry)
    return (path / "train").is_dir() if path.exists() else "@" not in entry
