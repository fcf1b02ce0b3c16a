"""Logits of all windows of one document -> its labels or its number. NumPy only.

Each window gives log-probabilities of the labels; the document's are their mean over windows, or their maximum. Of a
number (regression) it is the mean.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Merge = Literal["mean", "maximum"]

_THRESHOLD = 0.5  # of the probability of a label, where a document may have several


def problem_type_of(config: Any) -> str:
    """Return the problem type of a model.

    Many models on the hub do not say theirs. One output is then a number, as in transformers, and several outputs are
    labels of which one is right: nothing in such a configuration tells it from a multi-label model.
    """
    if (told := getattr(config, "problem_type", None)) is not None:
        return told
    return "regression" if config.num_labels == 1 else "single_label_classification"


def labels_of(config: Any) -> list[str]:
    """Return the labels of a model, in the order of its outputs."""
    return [str(config.id2label[i]) for i in range(config.num_labels)]


class WindowMerger:
    """The number of a regression, or the probability of each label, over the windows of one document so far.

    Args:
        config: the configuration of the model.
        merge: mean of the windows' log-probabilities, or their maximum.
    """

    def __init__(self, config: Any, merge: Merge) -> None:
        self._config = config
        self._kind = problem_type_of(config)
        self._takes_maximum = merge == "maximum" and self._kind != "regression"
        self._merged: NDArray[np.float64] | None = None
        self.n_windows = 0

    def add(self, logits_L: NDArray[np.floating]) -> None:
        """Take in one window's logits, floating point [labels]."""
        own = self._log_shares(logits_L.astype(np.float64))
        if self._merged is None:
            self._merged = own
        else:
            self._merged = np.maximum(self._merged, own) if self._takes_maximum else self._merged + own
        self.n_windows += 1

    def result(self) -> tuple[float | None, dict[str, float]]:
        """Return the number, or None and the probability of each label; at least one window was added."""
        assert self._merged is not None
        merged = self._merged if self._takes_maximum else self._merged / self.n_windows
        if self._kind == "regression":
            return float(merged.mean()), {}
        if self._kind == "multi_label_classification":
            yes, no = _log_sigmoids(merged) if self._takes_maximum else merged
            shares = np.exp(yes - np.logaddexp(yes, no))
        else:
            shares = np.exp(merged - np.logaddexp.reduce(merged))
        return None, {label: float(share) for label, share in zip(labels_of(self._config), shares, strict=True)}

    def _log_shares(self, logits_L: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what is merged: numbers, or log-probabilities; the largest logit is the largest log-probability."""
        if self._kind == "regression":
            return logits_L
        if self._kind == "multi_label_classification":
            return logits_L if self._takes_maximum else _log_sigmoids(logits_L)
        return logits_L - np.logaddexp.reduce(logits_L)


def _log_sigmoids(logits_L: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log-probabilities of yes and no, [2, labels]."""
    return np.stack([-np.logaddexp(0, -logits_L), -np.logaddexp(0, logits_L)])


def merge_windows(logits_NL: NDArray[np.floating], config: Any, merge: Merge) -> tuple[float | None, dict[str, float]]:
    """Return the number of a regression, or the probability of each label, over all windows of a document.

    Args:
        logits_NL: float [windows, labels].
        config: the configuration of the model.
        merge: mean of the windows' log-probabilities, or their maximum.
    """
    merger = WindowMerger(config, merge)
    for logits_L in logits_NL:
        merger.add(logits_L)
    return merger.result()


def chosen_labels(probabilities: Mapping[str, float], config: Any) -> list[str]:
    """Return the likeliest label, or all above one half if a document may have several; none for a regression."""
    if not probabilities:
        return []
    if problem_type_of(config) == "multi_label_classification":
        return [label for label, share in probabilities.items() if share > _THRESHOLD]
    return [max(probabilities, key=lambda label: probabilities[label])]
