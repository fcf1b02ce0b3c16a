"""What a model is trained on: the split of an entry, the labels of its head, and each document's target."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from longspan.data.classification import labels_to_train, load_labelled_dataset, require_known_labels
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
        InputError: as `labels_to_train`.
    """
    kind, labels = labels_to_train(training)
    if kind == "regression":
        labels = ("value",)
    return {
        "id2label": dict(enumerate(labels)),
        "label2id": {label: i for i, label in enumerate(labels)},
        "problem_type": kind,
    }


def keeps_head(config: Any, wanted: Mapping[str, Any]) -> bool:
    """Return whether a trained head has the wanted labels in their order, or gives a number as wanted.

    Args:
        config: of the model that has the head; it need not name its problem type.
        wanted: what `head_config` returned; empty if any head will do.
    """
    kind = wanted.get("problem_type")
    if kind is not None and problem_type_of(config) != kind:
        return False
    if kind == "regression":
        return config.num_labels == 1
    return all(getattr(config, key, None) == value for key, value in wanted.items() if key != "problem_type")


def check_data(training: Sequence["LabelledDataset"], evaluation: Sequence["LabelledDataset"]) -> None:
    """Refuse data that no model can be trained on, and labels to evaluate on that no document to train on has.

    Raises:
        InputError: as `labels_to_train` and `require_known_labels`; or training and evaluation data are of different
            problem types.
    """
    kind, labels = labels_to_train(training)
    for other in evaluation:
        if other.problem_type != kind:
            raise InputError(
                f"{other.source} is {other.problem_type}, but the training data is {kind}; set problem_type"
            )
        require_known_labels(labels, other, "the training data")


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
    if os.path.exists(entry):  # `Path.exists` raises OSError for a name that is too long
        return os.path.isdir(os.path.join(entry, "train"))
    return "@" not in entry
