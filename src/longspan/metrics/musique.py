"""Scores of MuSiQue (Trivedi et al. 2022), equal to its official scorer `evaluate_v1.0.py` to the last digit.

Answers are normalised as SQuAD's and compared with the answer and its aliases; exact match and F1 are each the best
over them. Two answers without any word are equal, with an F1 of 1. Support is a set of paragraphs. Answers and support
are scored over the answerable questions. In MuSiQue-Full each question comes twice, once without an answer, and its
grouped figures count only if both are rightly called answerable or not.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from longspan.errors import InputError
from longspan.metrics.overlap import NOTHING, Overlap, mean_in_per_cent, require_pairs, set_overlap, word_overlap
from longspan.metrics.squad import normalize_squad


@dataclass(frozen=True)
class MusiquePrediction:
    """What a system says of a question.

    Attributes:
        answer: its text; None if there is no prediction, which counts as wrong.
        support: indices of the supporting paragraphs, from 0; None if there is no prediction, which counts as wrong.
        is_answerable: whether the paragraphs answer the question.
    """

    answer: str | None
    support: Collection[int] | None
    is_answerable: bool = True


@dataclass(frozen=True)
class MusiqueGold:
    """What is right for a question.

    Attributes:
        id: as in the data: the two versions of a question in MuSiQue-Full share it.
        answers: the answer and its aliases.
        support: indices of the supporting paragraphs, from 0.
        is_answerable: whether the paragraphs answer the question.
    """

    id: str
    answers: Sequence[str]
    support: Collection[int]
    is_answerable: bool = True


def musique_answer_scores(prediction: str, golds: Sequence[str]) -> tuple[float, float]:
    """Exact match and F1 of an answer, each the best over the gold answers, between 0 and 1.

    Raises:
        ValueError: there is no gold answer.
    """
    predicted = normalize_squad(prediction).split()
    overlaps = [_answer_overlap(predicted, normalize_squad(gold).split()) for gold in golds]
    return max(one.em for one in overlaps), max(one.f1 for one in overlaps)


def _answer_overlap(predicted: list[str], gold: list[str]) -> Overlap:
    overlap = word_overlap(predicted, gold)
    return overlap if predicted or gold else overlap._replace(f1=1.0)


def musique_support_overlap(prediction: Collection[int], gold: Collection[int]) -> Overlap:
    """Figures of supporting paragraphs, between 0 and 1; nothing predicted where nothing is gold has an F1 of 1."""
    overlap = set_overlap(set(prediction), set(gold))
    return overlap if prediction or gold else overlap._replace(f1=1.0)


def score_musique(prediction: MusiquePrediction, gold: MusiqueGold) -> dict[str, float]:
    """`answer_em`, `answer_f1`, `support_em` and `support_f1` of one answerable question, between 0 and 1."""
    answer = (0.0, 0.0) if prediction.answer is None else musique_answer_scores(prediction.answer, gold.answers)
    support = NOTHING if prediction.support is None else musique_support_overlap(prediction.support, gold.support)
    return {"answer_em": answer[0], "answer_f1": answer[1], "support_em": support.em, "support_f1": support.f1}


def musique_scores(predictions: Sequence[MusiquePrediction], golds: Sequence[MusiqueGold]) -> dict[str, float]:
    """The figures over all questions in per cent; the official scorer prints shares with three decimals.

    Args:
        predictions: one for each question.
        golds: one for each question, in the same order.

    Returns:
        The means of `score_musique`'s figures over the answerable questions. If a question is not answerable also
        `group_answer_sufficiency_f1` and `group_support_sufficiency_f1`: the means over the pairs of versions of the
        answerable version's F1, which is 0 unless `is_answerable` is right for both.

    Raises:
        InputError: there are no questions, none that is answerable, numbers that differ, or a question of MuSiQue-Full
            that does not come once answerable and once not.
    """
    require_pairs(len(predictions), len(golds))
    pairs = list(zip(predictions, golds, strict=True))
    answerable = [pair for pair in pairs if pair[1].is_answerable]
    if not answerable:
        raise InputError("none of the questions is answerable; there is nothing to score answers on")
    found = mean_in_per_cent(score_musique(*pair) for pair in answerable)
    if len(answerable) < len(pairs):
        grouped = mean_in_per_cent(_grouped(pairs))
        found |= {f"group_{name}_sufficiency_f1": grouped[f"{name}_f1"] for name in ("answer", "support")}
    return found


def _grouped(pairs: Sequence[tuple[MusiquePrediction, MusiqueGold]]) -> list[dict[str, float]]:
    versions: dict[str, list[tuple[MusiquePrediction, MusiqueGold]]] = {}
    for pair in pairs:
        versions.setdefault(pair[1].id, []).append(pair)
    rows = []
    for identifier, group in versions.items():
        if sorted(gold.is_answerable for _, gold in group) != [False, True]:
            raise InputError(
                f"question {identifier!r} should come twice, once answerable and once not, and comes {len(group)} "
                f"times, {sum(gold.is_answerable for _, gold in group)} times answerable; score MuSiQue-Full whole"
            )
        are_right = all(prediction.is_answerable == gold.is_answerable for prediction, gold in group)
        prediction, gold = next(pair for pair in group if pair[1].is_answerable)
        scores = score_musique(prediction, gold)
        rows.append({name: value if are_right else 0.0 for name, value in scores.items()})
    return rows
