"""Scores of SQuAD 2.0 (Rajpurkar, Jia and Liang 2018).

They equal those of the official scorer if every question has a prediction. The official scorer leaves questions without
a prediction out of the mean; here they count as wrong.
"""

from collections.abc import Sequence

import numpy as np

from longspan.errors import InputError
from longspan.metrics.answers import exact_match, f1, normalize_answer


def squad_v2_scores(
    predictions: Sequence[str | None],
    golds: Sequence[Sequence[str]],
    *,
    no_answer_scores: Sequence[float] | None = None,
    threshold: float | None = None,
    language: str = "en",
    rules: str = "squad",
) -> dict[str, float]:
    """Exact match and F1 over questions with and without an answer, in per cent.

    Args:
        predictions: one per question; "" means that the document has no answer, None that there is no prediction.
        golds: each question's gold answers; empty if it has no answer.
        no_answer_scores: per question, the model's confidence that there is no answer, on any scale.
        threshold: a prediction with a higher no-answer score counts as "". The official scorer's default is 1.0.
        language: language of the answers.
        rules: "squad" as in the official scorer, or other rules of `normalize_answer`.

    Returns:
        `exact`, `f1`, `total`; the same with the prefixes `HasAns_` and `NoAns_` if there are such questions. With
        `no_answer_scores` also `best_exact`, `best_exact_thresh`, `best_f1`, `best_f1_thresh`: the best scores of any
        one threshold, chosen on the same questions.

    Raises:
        InputError: there are no questions, lengths differ, or a threshold is given without `no_answer_scores`.
    """
    _check(predictions, golds, no_answer_scores, threshold)
    # As in the official scorer, gold answers that are empty once normalised (articles, punctuation) are left out.
    texts = [[gold for gold in row if normalize_answer(gold, language, rules)] or [""] for row in golds]
    has_answer = np.array([bool(row) for row in golds])
    exact = np.array([_best(exact_match, p, row, language, rules) for p, row in zip(predictions, texts, strict=True)])
    overlap = np.array([_best(_f1, p, row, language, rules) for p, row in zip(predictions, texts, strict=True)])

    if no_answer_scores is not None and threshold is not None:
        is_refused = np.array(no_answer_scores) > threshold
        final_exact = np.where(is_refused, ~has_answer, exact)
        final_overlap = np.where(is_refused, ~has_answer, overlap)
    else:
        final_exact, final_overlap = exact, overlap
    result: dict[str, float] = {}
    for prefix, chosen in (("", np.full(len(exact), True)), ("HasAns_", has_answer), ("NoAns_", ~has_answer)):
        if chosen.any():
            # Python's sum, as in the official scorer, because NumPy adds in another order.
            result[f"{prefix}exact"] = 100.0 * sum(final_exact[chosen].tolist()) / int(chosen.sum())
            result[f"{prefix}f1"] = 100.0 * sum(final_overlap[chosen].tolist()) / int(chosen.sum())
            result[f"{prefix}total"] = int(chosen.sum())
    if no_answer_scores is not None:
        for name, scores in (("exact", exact), ("f1", overlap)):
            best, best_threshold = _best_threshold(predictions, scores, np.array(no_answer_scores), has_answer)
            result[f"best_{name}"], result[f"best_{name}_thresh"] = best, best_threshold
    return result


def _check(
    predictions: Sequence[str | None],
    golds: Sequence[Sequence[str]],
    no_answer_scores: Sequence[float] | None,
    threshold: float | None,
) -> None:
    if not len(predictions):
        raise InputError("there are no questions to score")
    lengths = {len(predictions), len(golds), len(predictions) if no_answer_scores is None else len(no_answer_scores)}
    if len(lengths) > 1:
        raise InputError("give one prediction, gold row and no-answer score per question, in the same order")
    if threshold is not None and no_answer_scores is None:
        raise InputError("a threshold needs no_answer_scores to compare with")


def _best(metric, prediction: str | None, golds: Sequence[str], language: str, rules: str) -> float:
    return 0.0 if prediction is None else max(metric(prediction, gold, language, rules) for gold in golds)


def _f1(prediction: str, gold: str, language: str, rules: str) -> float:
    """F1 that is 1 for two answers without words."""
    if not normalize_answer(gold, language, rules):
        return exact_match(prediction, gold, language, rules)
    return f1(prediction, gold, language, rules)


def _best_threshold(
    predictions: Sequence[str | None], scores: np.ndarray, no_answer_scores: np.ndarray, has_answer: np.ndarray
) -> tuple[float, float]:
    """Return the best mean score in per cent, and the largest no-answer score at which predictions are kept for it.

    Starting from "no answer" everywhere, predictions are accepted one by one in the order of their no-answer scores. As
    in the official scorer, ties are accepted in the order of the questions.
    """
    current = best = float((~has_answer).sum())
    best_threshold = 0.0
    for i in np.argsort(no_answer_scores, kind="stable"):
        if has_answer[i]:
            current += float(scores[i])
        elif predictions[i] != "":
            current -= 1
        if current > best:
            best, best_threshold = current, float(no_answer_scores[i])
    return 100 * best / len(scores), best_threshold
