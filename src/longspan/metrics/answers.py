"""Exact match and F1 of extracted answers, by the rules of SQuAD or of MLQA."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from longspan.errors import InputError
from longspan.metrics.mlqa import normalize_mlqa
from longspan.metrics.squad import normalize_squad

RULES = ("squad", "mlqa")


def normalize_answer(text: str, language: str = "en", rules: str = "squad") -> str:
    """What of an answer counts, words between single blanks.

    Args:
        text: the answer.
        language: ISO 639-1 code of the answer's language; region and script (`zh-CN`, `zh_Hans`) are left out.
        rules: "squad" (English rules for every language) or "mlqa" (each language's own).

    Raises:
        InputError: unknown rules.
    """
    if rules == "squad":
        return normalize_squad(text)
    if rules == "mlqa":
        return normalize_mlqa(text, language.lower().replace("_", "-").split("-")[0])
    raise InputError(f"there are no rules {rules!r} to compare answers; choose one of {', '.join(RULES)}")


def exact_match(prediction: str, gold: str, language: str = "en", rules: str = "squad") -> float:
    """1.0 if both answers are equal once normalised, else 0.0."""
    return float(normalize_answer(prediction, language, rules) == normalize_answer(gold, language, rules))


def f1(prediction: str, gold: str, language: str = "en", rules: str = "squad") -> float:
    """F1 of the words two normalised answers share, between 0 and 1.

    Two answers without any word are equal only to `exact_match`: as in the scorers of SQuAD 1.1 and MLQA, their F1 is
    0. (SQuAD 2.0 gives them 1; see `squad_v2_scores`.)
    """
    predicted = normalize_answer(prediction, language, rules).split()
    wanted = normalize_answer(gold, language, rules).split()
    n_shared = sum((Counter(predicted) & Counter(wanted)).values())
    if n_shared == 0:
        return 0.0
    precision, recall = n_shared / len(predicted), n_shared / len(wanted)
    return 2 * precision * recall / (precision + recall)


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


def aggregate(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean of each metric over all questions; `scores` holds one mapping a question, in any order.

    Raises:
        InputError: there are no questions.
        KeyError: a question lacks a metric that the first one has.
    """
    if not scores:
        raise InputError("there are no questions to average over")
    return {name: float(np.mean([row[name] for row in scores])) for name in scores[0]}
