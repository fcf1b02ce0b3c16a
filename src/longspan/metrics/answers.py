"""Exact match and F1 of extracted answers, by the rules of SQuAD, MLQA or TriviaQA, or by Unicode's properties."""

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
    """What of an answer counts, words between single blanks.

    Args:
        text: the answer.
        language: ISO 639-1 code of the answer's language; region and script (`zh-CN`, `zh_Hans`) are left out.
        rules: "squad" (English rules for every language), "mlqa" (each language's own, for the seven of MLQA; "unicode"
            for others, which is said once a language, as a warning of this module's logger), "trivia_qa" (English), or
            "unicode" (no language's own).

    Raises:
        InputError: unknown rules.
    """
    if rules == "squad":
        return normalize_squad(text)
    if rules == "mlqa":
        code = language.lower().replace("_", "-").split("-")[0]
        if code in MLQA_LANGUAGES:
            return normalize_mlqa(text, code)
        _say_that_there_are_no_rules(code)
        return normalize_unicode(text)
    if rules == "trivia_qa":
        return normalize_trivia_qa(text)
    if rules == "unicode":
        return normalize_unicode(text)
    raise InputError(f"there are no rules {rules!r} to compare answers; choose one of {', '.join(RULES)}")


@cache
def _say_that_there_are_no_rules(language: str) -> None:
    """Once a language."""
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
    """F1 of the words two normalised answers share, between 0 and 1.

    Two answers without any word are equal only to `exact_match`. Their F1 is 0, as in the scorers of SQuAD 1.1 and
    MLQA; SQuAD 2.0 gives them 1 (see `squad_v2_scores`).
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

    A question without gold answers is answered rightly by an empty prediction, with 1.0, and by nothing else.
    """
    if not golds:
        return float(not normalize_answer(prediction, language, rules))
    return max(metric(prediction, gold, language, rules) for gold in golds)


def score_answer(
    prediction: str | None, golds: Sequence[str], language: str = "en", rules: str = "squad"
) -> dict[str, float]:
    """`exact_match` and `f1` of one question in per cent; both 0 where the prediction is missing (None)."""
    if prediction is None:
        return {"exact_match": 0.0, "f1": 0.0}
    return {
        "exact_match": 100 * best_over_gold(exact_match, prediction, golds, language, rules),
        "f1": 100 * best_over_gold(f1, prediction, golds, language, rules),
    }


def official_scores(
    predictions: Sequence[str | None], golds: Sequence[Sequence[str]], language: str = "en", rules: str = "squad"
) -> dict[str, float]:
    """`exact_match` and `f1` in per cent, as the scorers of SQuAD 1.1, MLQA and TriviaQA print them, to the last digit.

    They add up the questions one by one in their order and divide at the end; `aggregate` takes the mean of per cents,
    whose last digits can differ.

    Args:
        predictions: one a question; None where there is none, which counts as wrong.
        golds: each question's gold answers.
        language: of the answers.
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
    """Mean of each metric over all questions; `scores` holds one mapping a question, in any order.

    Raises:
        InputError: there are no questions.
        KeyError: a question lacks a metric that the first one has.
    """
    if not scores:
        raise InputError("there are no questions to average over")
    return {name: float(np.mean([row[name] for row in scores])) for name in scores[0]}
