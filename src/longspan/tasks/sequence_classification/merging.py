"""Logits of all windows of one document -> its labels or its number. NumPy only.

Each window gives log-probabilities of the labels; the document's are their mean over windows, or their maximum. Of a
number (regression) it is the mean.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

Merge = Literal["mean", "maximum"]

_THRESHOLD = 0.5  # of the probability of a label, where a document may have several


def labels_of(config: Any) -> list[str]:
    """Return the labels of a model, in the order of its outputs."""
    return [str(config.id2label[i]) for i in range(config.num_labels)]


def merge_windows(logits_NL: np.ndarray, config: Any, merge: Merge) -> tuple[float | None, dict[str, float]]:
    """Return the number of a regression, or the probability of each label, over all windows of a document.

    Args:
        logits_NL: float [windows, labels].
        config: the configuration of the model.
        merge: mean of the windows' log-probabilities, or their maximum.
    """
    if config.problem_type == "regression":
        return float(logits_NL.mean()), {}
    logits_NL = logits_NL.astype(np.float64)
    if config.problem_type == "multi_label_classification":
        if merge == "maximum":
            logits_NL = logits_NL.max(axis=0, keepdims=True)
        yes = np.mean(-np.logaddexp(0, -logits_NL), axis=0)
        no = np.mean(-np.logaddexp(0, logits_NL), axis=0)
        shares = np.exp(yes - np.logaddexp(yes, no))
    else:
        over = np.mean if merge == "mean" else np.max
        log_p = over(logits_NL - np.logaddexp.reduce(logits_NL, axis=1, keepdims=True), axis=0)
        shares = np.exp(log_p - np.logaddexp.reduce(log_p))
    return None, {label: float(share) for label, share in zip(labels_of(config), shares, strict=True)}


def chosen_labels(probabilities: Mapping[str, float], config: Any) -> list[str]:
    """Return the likeliest label, or all above one half if a document may have several; none for a regression."""
    if not probabilities:
        return []
    if config.problem_type == "multi_label_classification":
        return [label for label, share in probabilities.items() if share > _THRESHOLD]
    return [max(probabilities, key=lambda label: probabilities[label])]
