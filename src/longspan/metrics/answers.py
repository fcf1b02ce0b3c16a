"""Exact match and F1 of extracted answers, by the rules of SQuAD, MLQA or TriviaQA, or by Unicode properties."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np

from longspan.errors import InputError
from longspan.metrics.mlqa import MLQA_LANGUAGES, normalize_mlqa
from longspan.metrics.overlap import word_overlap
from longspan.metrics.squad import normalize_squad
from longspan.metrics.trivia_qa import normalize_trivia_qa
from longspan.metrics.unicode import normalize_unicode

RULES = ("squad", "mlqa", "trivia_qa", "unicode")

logger = logging.getLogger(__name__)


def normalize_answer(text: str, language: str = "en", rules: str = "squad") -> str:
    """Normalise an answer for comparison: the words that count, separated by single blanks.

    Args:
        text: the answer.
        language: ISO 639-1 code of the answer's language; region and script (`zh-CN`, `zh_Hans`) are ignored.
        rules: "squad" (English rules for every language), "mlqa" (the language's own rules for the seven of MLQA, else
            "unicode" with one logged warning per language), "trivia_qa" (English), or "unicode" (the same for all
            languages).

    Raises:
        InputError: unknown rules.
    """
    if rules == "squad":
        return normalize_squad(text)
    if rules == "mlqa":
        code = language.lower().replace("_", "-").split("-")[0]
        if code in MLQA_LANGUAGES:
            return normalize_mlqa(text, code)
        _warn_without_rules(code)
        return normalize_unicode(text)
    if rules == "trivia_qa":
        return normalize_trivia_qa(text)
    if rules == "unicode":
        return normalize_unicode(text)
    raise InputError(f"there are no rules {rules!r} to compare answers; choose one of {', '.join(RULES)}")


@cache
def _warn_without_rules(language: str) -> None:
    """Warn, once per language, that MLQA has no rules for it."""
    logger.warning(
        "there are no rules for answers in %r (MLQA has some for %s): they are compared casefolded and without "
        "punctuation, articles stay, and scripts without blanks are cut into characters",
        language,
        ", ".join(MLQA_LANGUAGES),
    )


def exact_match(prediction: str, gold: str, language: str = "en", rules: str = "squad") -> float:
    """1.0 if both answers are equal once normalised, else 0.0."""
    return float(normalize_answer(prediction, language, rules) == normalize_answer(gold, language, rules))


def f1(prediction: str, gold: str, language: str = "en", rules: str = "squad") -> float:
    """F1 of the words that two normalised answers share, between 0 and 1.

    Two answers without words have an exact match of 1 but an F1 of 0, as in the scorers of SQuAD 1.1 and MLQA; SQuAD
    2.0 gives them an F1 of 1 (see `squad_v2_scores`).
    """
    predicted = normalize_answer(prediction, language, rules).split()
    return word_overlap(predicted, normalize_answer(gold, language, rules).split()).f1


def best_over_gold(
    metric: Callable[[str, str, str, str], float],
    prediction: str,
    golds: Sequence[str],
    language: str = "en",
    rules: str = "squad",
) -> float:
    """The best `metric` (`exact_match` or `f1`) of a prediction over all gold answers.

    If there are no gold answers, the score is 1.0 for an empty prediction and 0.0 for any other.
    """
    if not golds:
        return float(not normalize_answer(prediction, language, rules))
    return max(metric(prediction, gold, language, rules) for gold in golds)


def score_answer(
    prediction: str | None, golds: Sequence[str], language: str = "en", rules: str = "squad"
) -> dict[str, float]:
    """`exact_match` and `f1` of one question in per cent; both are 0 if the prediction is None."""
    if prediction is None:
        return {"exact_match": 0.0, "f1": 0.0}
    return {
        "exact_match": 100 * best_over_gold(exact_match, prediction, golds, language, rules),
        "f1": 100 * best_over_gold(f1, prediction, golds, language, rules),
    }


def official_scores(
    predictions: Sequence[str | None], golds: Sequence[Sequence[str]], language: str = "en", rules: str = "squad"
) -> dict[str, float]:
    """`exact_match` and `f1` in per cent, equal to the scorers of SQuAD 1.1, MLQA and TriviaQA to the last digit.

    Like them, it sums the questions one by one in order and divides at the end. `aggregate` takes the mean of
    percentages, whose last digits can differ.

    Args:
        predictions: one per question; None counts as wrong.
        golds: each question's gold answers.
        language: language of the answers.
        rules: "squad" for SQuAD 1.1, "mlqa", "trivia_qa".

    Raises:
        InputError: there are no questions, lengths that differ, or unknown rules.
    """
    if len(predictions) != len(golds):
        raise InputError(f"there are {len(predictions)} predictions for {len(golds)} questions; give one each")
    if not predictions:
        raise InputError("there are no questions to average over")
    sums = {"exact_match": 0.0, "f1": 0.0}
    for prediction, row in zip(predictions, golds, strict=True):
        if prediction is not None:
            sums["exact_match"] += best_over_gold(exact_match, prediction, row, language, rules)
            sums["f1"] += best_over_gold(f1, prediction, row, language, rules)
    return {name: 100.0 * total / len(predictions) for name, total in sums.items()}


def aggregate(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean of each metric over all questions; `scores` has one mapping per question, in any order.

    Raises:
        InputError: there are no questions.
        KeyError: a question lacks a metric that the first one has.
    """
    if not scores:
        raise InputError("there are no questions to average over")
    return {name: float(np.mean([row[name] for row in scores])) for name in scores[0]}
