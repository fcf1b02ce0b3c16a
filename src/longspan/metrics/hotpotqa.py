"""Scores of HotpotQA (Yang et al. 2018), equal to its official scorer `hotpot_evaluate_v1.py` to the last digit.

Answers are normalised as SQuAD's. An answer that is "yes", "no" or "noanswer" once normalised has no part of a score:
it is equal to the other one, or all its figures are 0. A supporting fact is a title and a sentence number. Joint
precision and recall of a question are the products of the answer's and the facts'; its joint exact match is 1 if both
are exact.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from longspan.metrics.overlap import (
    NOTHING,
    Overlap,
    harmonic_mean,
    mean_in_per_cent,
    require_pairs,
    set_overlap,
    word_overlap,
)
from longspan.metrics.squad import normalize_squad

NamedFact = tuple[str, int]
"""Title of a paragraph and number of a sentence in it, from 0."""
_WHOLE = frozenset({"yes", "no", "noanswer"})


@dataclass(frozen=True)
class HotpotqaPrediction:
    """What a system says of a question.

    Attributes:
        answer: its text; None if there is no prediction, which counts as wrong, also in the joint figures.
        facts: the supporting facts; None if there is no prediction, which counts as wrong, also in the joint figures.
    """

    answer: str | None
    facts: Collection[NamedFact] | None


@dataclass(frozen=True)
class HotpotqaGold:
    """What is right for a question: its answer and its supporting facts, as the data has them."""

    answer: str
    facts: Collection[NamedFact]


def hotpotqa_answer_overlap(prediction: str, gold: str) -> Overlap:
    """Exact match, F1, precision and recall of an answer, between 0 and 1."""
    predicted, wanted = normalize_squad(prediction), normalize_squad(gold)
    if predicted != wanted and (predicted in _WHOLE or wanted in _WHOLE):
        return NOTHING
    return word_overlap(predicted.split(), wanted.split())


def hotpotqa_fact_overlap(prediction: Collection[NamedFact], gold: Collection[NamedFact]) -> Overlap:
    """Exact match, F1, precision and recall of supporting facts, between 0 and 1; repeated facts count once."""
    return set_overlap({tuple(fact) for fact in prediction}, {tuple(fact) for fact in gold})


def joint_overlap(*parts: Overlap) -> Overlap:
    """The product of exact matches, precisions and recalls, and the F1 of the last two."""
    em = precision = recall = 1.0
    for part in parts:
        em, precision, recall = em * part.em, precision * part.precision, recall * part.recall
    return Overlap(em, harmonic_mean(precision, recall), precision, recall)


def score_hotpotqa(prediction: HotpotqaPrediction, gold: HotpotqaGold) -> dict[str, float]:
    """The figures of one question between 0 and 1, by the official scorer's names.

    Returns:
        `em`, `f1`, `prec`, `recall` of the answer; with the prefix `sp_` of the supporting facts, `joint_` of both.
    """
    answer = NOTHING if prediction.answer is None else hotpotqa_answer_overlap(prediction.answer, gold.answer)
    facts = NOTHING if prediction.facts is None else hotpotqa_fact_overlap(prediction.facts, gold.facts)
    return figures(answer) | figures(facts, "sp_") | figures(joint_overlap(answer, facts), "joint_")


def figures(overlap: Overlap, prefix: str = "") -> dict[str, float]:
    """An overlap by the official scorers' names `em`, `f1`, `prec`, `recall`, each with a prefix."""
    return dict(zip((f"{prefix}{name}" for name in ("em", "f1", "prec", "recall")), overlap, strict=True))


def hotpotqa_scores(predictions: Sequence[HotpotqaPrediction], golds: Sequence[HotpotqaGold]) -> dict[str, float]:
    """The figures over all questions in per cent: 100 times what the official scorer prints.

    Args:
        predictions: one for each question.
        golds: one for each question, in the same order.

    Returns:
        The means of `score_hotpotqa`'s figures over all questions, those without a prediction included.

    Raises:
        InputError: there are no questions, or numbers that differ.
    """
    require_pairs(len(predictions), len(golds))
    return mean_in_per_cent(score_hotpotqa(*pair) for pair in zip(predictions, golds, strict=True))
