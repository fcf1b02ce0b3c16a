"""Labels and numbers against those of the data: scores of a data set, and an item for each document."""

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from longspan.data.classification import require_known_labels
from longspan.errors import InputError
from longspan.metrics.classification import classification_scores, regression_scores
from longspan.records import Item, Metric, Score
from longspan.tasks.sequence_classification.merging import (
    Merge,
    chosen_labels,
    labels_of,
    merge_windows,
    problem_type_of,
)
from longspan.tasks.task import FeatureSet, Scored

if TYPE_CHECKING:
    from longspan.data.classification import LabelledDataset
    from longspan.tasks.sequence_classification.predictor import LabelPrediction

_EXCERPT = 200  # characters of a document in a record


def scores_of(
    examples: Sequence[Any],
    predicted: Sequence[Sequence[str]],
    values: Sequence[float | None],
    problem_type: str,
    labels: Sequence[str],
) -> dict[str, float]:
    """Return the figures of labels, or of numbers if `problem_type` is "regression"."""
    if problem_type == "regression":
        return regression_scores([example.value for example in examples], [value or 0.0 for value in values])
    is_multi_label = problem_type == "multi_label_classification"
    return classification_scores(
        [example.labels for example in examples], predicted, labels, is_multi_label=is_multi_label
    )


def score_windows(
    examples: Sequence[tuple[Any, str]], rows: FeatureSet, logits: Sequence[Any], merge: Merge, config: Any
) -> dict[str, float]:
    """Return the figures over documents from the logits of their windows.

    Args:
        examples: each with its language.
        rows: the windows of all of them.
        logits: float [windows, labels], the first of the model's outputs.
        merge: of the windows of a document.
        config: of the model.
    """
    of_document: list[list[np.ndarray]] = [[] for _ in examples]
    for i in range(len(rows)):
        of_document[rows[i]["example_index"]].append(logits[0][i])
    merged = [merge_windows(np.stack(own), config, merge) for own in of_document]
    golds = [example for example, _ in examples]
    values = [value for value, _ in merged]
    predicted = [chosen_labels(probabilities, config) for _, probabilities in merged]
    return scores_of(golds, predicted, values, problem_type_of(config), labels_of(config))


def score_predictions(
    system: str, dataset: Any, predictor: Any, predictions: Sequence[Any], metrics: Sequence[Metric]
) -> Scored:
    """Score labels or numbers; a document without a prediction has none of the labels, or the number 0."""
    items = [
        _item(system, dataset, example, prediction)
        for example, prediction in zip(dataset.examples, predictions, strict=True)
    ]
    predicted = [[] if one is None else one.labels for one in predictions]
    values = [0.0 if one is None or one.value is None else one.value for one in predictions]
    labels = getattr(predictor, "labels", dataset.label_names)
    found = scores_of(dataset.examples, predicted, values, dataset.problem_type, labels)
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
    known_metrics = {metric.name: metric for metric in metrics}
    shown = [known_metrics.get(name) or Metric(name=name, label=f"F1, {name.partition('/')[2]}") for name in found]
    return Scored(score, items, shown)


def _item(system: str, dataset: Any, example: Any, prediction: "LabelPrediction | None") -> Item:
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


def require_fit(dataset: "LabelledDataset", predictor: Any) -> None:
    """Refuse a data set that a model cannot be scored on.

    Args:
        dataset: the documents.
        predictor: has `problem_type` and `labels` of its model; what it lacks is not checked.

    Raises:
        InputError: labels for a model of a number or the reverse, one label a document for a model that may give
            several, or a label that the model does not have.
    """
    source, kind = dataset.source or dataset.name, getattr(predictor, "problem_type", dataset.problem_type)
    if kind == "regression" and dataset.problem_type != "regression":
        raise InputError(f"{source} has labels, but the model predicts a number; set problem_type: regression")
    if kind != "regression" and dataset.problem_type == "regression":
        raise InputError(f"{source} has numbers, but the model predicts labels; leave problem_type out")
    if kind == "multi_label_classification" and dataset.problem_type != "multi_label_classification":
        raise InputError(
            f"{source} has one label a document, but the model may give several; set problem_type: "
            "multi_label_classification"
        )
    require_known_labels(getattr(predictor, "labels", dataset.label_names), dataset, "the model")
