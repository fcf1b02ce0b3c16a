"""Scores of classification and regression, computed by scikit-learn and SciPy."""

import math
from collections.abc import Collection, Sequence
from typing import Any


def classification_scores(
    gold: Sequence[Collection[str]],
    predicted: Sequence[Collection[str]],
    label_names: Sequence[str],
    *,
    is_multi_label: bool,
) -> dict[str, float]:
    """Accuracy, F1 and Matthews correlation of labels; accuracy and F1 are in per cent.

    Every label of `label_names` counts in the macro mean. A label that is neither in `gold` nor in `predicted`, or that
    is never predicted correctly, has an F1 of 0.

    Args:
        gold: the correct labels of each text.
        predicted: the predicted labels of each text; empty if a single-label text has no prediction.
        label_names: all labels.
        is_multi_label: whether a text may have any number of labels; otherwise it has exactly one.

    Returns:
        `accuracy` (share of texts with all labels correct), `f1_macro`, `f1_micro`, `f1/<label>` for each label, and
        for single-label texts `matthews` from -1 to 1 (0 if all gold or all predicted labels are the same). In
        `matthews`, texts without a prediction are predicted as an additional class.

    Raises:
        ValueError: there are no texts or no labels, the numbers of texts differ, a label is not in `label_names`, or a
            single-label text does not have exactly one gold label, or has several predicted labels.
    """
    import numpy as np
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

    _require_pairs(len(gold), len(predicted))
    if not label_names:
        raise ValueError("label_names is empty")
    place = {label: i for i, label in enumerate(label_names)}
    if unknown := sorted({label for labels in (*gold, *predicted) for label in labels if label not in place}):
        raise ValueError(f"labels that are not in label_names: {', '.join(map(repr, unknown))}")

    if not is_multi_label:
        for i, (labels, others) in enumerate(zip(gold, predicted, strict=True)):
            if len(labels) != 1 or len(others) > 1:
                raise ValueError(f"text {i} has {len(labels)} gold and {len(others)} predicted labels, not one")

    def indicators(rows: Sequence[Collection[str]]) -> "np.ndarray":
        matrix = np.zeros((len(rows), len(place)), dtype=int)
        for i, labels in enumerate(rows):
            matrix[i, [place[label] for label in labels]] = 1
        return matrix

    right, found = indicators(gold), indicators(predicted)
    undefined: Any = {"zero_division": 0}
    # Column by column, because scikit-learn treats a matrix of one column as a vector of two classes.
    per_label = [float(f1_score(right[:, i], found[:, i], **undefined)) for i in range(len(place))]
    scores = {
        "accuracy": 100 * float(accuracy_score(right, found)),
        "f1_macro": 100 * float(np.mean(per_label)),
        "f1_micro": 100 * float(f1_score(right.ravel(), found.ravel(), **undefined)),
        **{f"f1/{label}": 100 * value for label, value in zip(label_names, per_label, strict=True)},
    }
    if not is_multi_label:
        one, other = right.argmax(axis=1), np.where(found.any(axis=1), found.argmax(axis=1), len(place))
        is_defined = len(np.unique(np.concatenate([one, other]))) > 1  # scikit-learn warns of a single label
        scores["matthews"] = float(matthews_corrcoef(one, other)) if is_defined else 0.0
    return scores


def regression_scores(gold: Sequence[float], predicted: Sequence[float]) -> dict[str, float]:
    """`pearson` and `spearman` from -1 to 1, and `mse`, the mean squared error.

    If `gold` or `predicted` is constant or has only one value, a correlation is not defined and 0 is returned.

    Raises:
        ValueError: there are no values, or the numbers of values differ.
    """
    import warnings

    from scipy.stats import pearsonr, spearmanr
    from sklearn.metrics import mean_squared_error

    _require_pairs(len(gold), len(predicted))
    scores = {"pearson": 0.0, "spearman": 0.0, "mse": float(mean_squared_error(gold, predicted))}
    if len(set(gold)) > 1 and len(set(predicted)) > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # about nearly constant values
            for name, correlate in (("pearson", pearsonr), ("spearman", spearmanr)):
                value = float(correlate(gold, predicted)[0])  # pyright: ignore[reportArgumentType]
                scores[name] = value if math.isfinite(value) else 0.0
    return scores


def _require_pairs(n_gold: int, n_predicted: int) -> None:
    if n_gold != n_predicted or not n_gold:
        raise ValueError(f"{n_gold} gold and {n_predicted} predicted; both must be the same number, not 0")
