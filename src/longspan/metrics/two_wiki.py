"""Scores of 2WikiMultihopQA (Ho et al. 2020), equal to its official scorer, version 1.1, to the last digit.

They are HotpotQA's with these differences. An answer is compared with every name of the entity, and each figure is the
best over them. Titles of supporting facts are compared in lower case. Evidences are triples of subject, relation and
object, compared without case, ASCII punctuation and repeated blanks; a predicted triple is right if subject and object
are names of those of a gold triple. The joint figures are the products of all three.
"""

import string
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from longspan.metrics.hotpotqa import NamedFact, figures, hotpotqa_answer_overlap, joint_overlap
from longspan.metrics.overlap import NOTHING, Overlap, harmonic_mean, mean_in_per_cent, require_pairs, set_overlap

Triple = tuple[str, str, str]
"""Subject, relation and object."""
NamedTriple = tuple[Collection[str], str, Collection[str]]
"""Every name of the subject, the relation, every name of the object."""
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class TwoWikiPrediction:
    """What a system says of a question; None for a part counts as wrong there and in the joint figures.

    Attributes:
        answer: its text.
        facts: the supporting facts.
        evidences: the triples.
    """

    answer: str | None
    facts: Collection[NamedFact] | None
    evidences: Collection[Triple] | None


@dataclass(frozen=True)
class TwoWikiGold:
    """What is right for a question.

    Attributes:
        answers: every name of the answer.
        facts: the supporting facts, as the data has them.
        evidences: the triples with their names.
    """

    answers: Collection[str]
    facts: Collection[NamedFact]
    evidences: Sequence[NamedTriple]


def two_wiki_answer_overlap(prediction: str, golds: Collection[str]) -> Overlap:
    """Each figure of an answer at its best over the names, between 0 and 1."""
    overlaps = [hotpotqa_answer_overlap(prediction, gold) for gold in golds]
    return Overlap(*map(max, zip(*overlaps, strict=True))) if overlaps else NOTHING


def two_wiki_fact_overlap(prediction: Collection[NamedFact], gold: Collection[NamedFact]) -> Overlap:
    """Figures of supporting facts, between 0 and 1.

    Titles are put in lower case after repeated facts are left out, as in the official scorer: facts of two titles that
    differ only in case count twice.
    """
    return set_overlap(_lower_titles(prediction), _lower_titles(gold))


def _lower_titles(facts: Collection[NamedFact]) -> list[NamedFact]:
    return [(title.lower(), sentence) for title, sentence in dict.fromkeys((one[0], one[1]) for one in facts)]


def evidence_overlap(prediction: Collection[Triple], golds: Sequence[NamedTriple]) -> Overlap:
    """Figures of evidences, between 0 and 1.

    As in the official scorer a gold triple counts as often as the data has it, and a predicted one once. Several
    predicted triples may match the same gold triple by its names, so that recall can be above 1.
    """
    predicted = {tuple(_normalize(text) for text in triple) for triple in prediction}
    named = [
        {
            (_normalize(subject), _normalize(relation), _normalize(object_))
            for subject in subjects
            for object_ in objects
        }
        for subjects, relation, objects in golds
    ]
    right = sum(any(triple in names for names in named) for triple in predicted)
    precision = right / len(predicted) if predicted else 0.0
    recall = right / len(named) if named else 0.0
    return Overlap(float(right == len(predicted) == len(named)), harmonic_mean(precision, recall), precision, recall)


def _normalize(text: str) -> str:
    """Lower case, without ASCII punctuation, runs of blanks to one; articles stay."""
    return " ".join(text.lower().translate(_NO_PUNCTUATION).split())


def score_two_wiki(prediction: TwoWikiPrediction, gold: TwoWikiGold) -> dict[str, float]:
    """The figures of one question between 0 and 1, by the official scorer's names.

    Returns:
        `em`, `f1`, `prec`, `recall` of the answer; with the prefix `sp_` of the supporting facts, `evi_` of the
        evidences, `joint_` of all three.
    """
    answer = NOTHING if prediction.answer is None else two_wiki_answer_overlap(prediction.answer, gold.answers)
    facts = NOTHING if prediction.facts is None else two_wiki_fact_overlap(prediction.facts, gold.facts)
    evidences = NOTHING if prediction.evidences is None else evidence_overlap(prediction.evidences, gold.evidences)
    return {
        **figures(answer),
        **figures(facts, "sp_"),
        **figures(evidences, "evi_"),
        **figures(joint_overlap(answer, facts, evidences), "joint_"),
    }


def two_wiki_scores(predictions: Sequence[TwoWikiPrediction], golds: Sequence[TwoWikiGold]) -> dict[str, float]:
    """The figures over all questions in per cent; the official scorer prints them with two decimals.

    Args:
        predictions: one for each question.
        golds: one for each question, in the same order.

    Returns:
        The means of `score_two_wiki`'s figures over all questions, those without a prediction included.

    Raises:
        InputError: there are no questions, or numbers that differ.
    """
    require_pairs(len(predictions), len(golds))
    return mean_in_per_cent(score_two_wiki(*pair) for pair in zip(predictions, golds, strict=True))
