"""Two systems on the same questions: the mean difference, and how sure it is."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from longspan.metrics import paired_bootstrap
from longspan.records import Answer, Difference

METRIC = "f1"
_N_RESAMPLES = 1000

# What tells a question from others: data set, language, id, slot of its paragraph, and which of those that share all
# of these (some data sets repeat ids).
Question = tuple[str, str, str, int | None, int]


def f1_of_questions(answers: Iterable[Answer]) -> dict[Question, float]:
    """F1 of each question of one system, in the order of `answers`."""
    return {question: answer.metrics[METRIC] for question, answer in by_question(answers).items()}


def by_question(answers: Iterable[Answer]) -> dict[Question, Answer]:
    """The answers of one system, each under what tells its question from others."""
    seen: Counter[tuple[str, str, str, int | None]] = Counter()
    found: dict[Question, Answer] = {}
    for answer in answers:
        key = (answer.dataset, answer.language, answer.id, answer.slot)
        found[*key, seen[key]] = answer
        seen[key] += 1
    return found


def compare_scores(
    own: Mapping[Question, float], other: Mapping[Question, float], *, system: str, baseline: str
) -> list[Difference]:
    """`own` less `other`, by paired bootstrap: over all questions where there are several data sets, then on each.

    A question that is asked with its paragraph at several slots is drawn as one: its scores are not independent. Nor
    are, over all, those of a question that stands in several languages or lengths of documents under one id.

    Args:
        own: F1 of each question.
        other: of the same questions.
        system: name of `own` in the result.
        baseline: name of `other`.
    """
    groups: dict[tuple[str, str], list[Question]] = {}
    for question in own:
        groups.setdefault(question[:2], []).append(question)
    wholes = [("all", "all", list(own))] if len(groups) > 1 else []
    parts = [(dataset, language, questions) for (dataset, language), questions in groups.items()]
    result = []
    for dataset, language, questions in [*wholes, *parts]:
        own_means, other_means = _means_over_slots(own, questions), _means_over_slots(other, questions)
        drawn_together = [(identifier, repeat) for _, _, identifier, repeat in own_means]
        found = paired_bootstrap(
            list(own_means.values()), list(other_means.values()), n=_N_RESAMPLES, groups=drawn_together
        )
        result.append(
            Difference(
                system=system,
                baseline=baseline,
                dataset=dataset,
                language=language,
                metric=METRIC,
                n_questions=len(set(drawn_together)),
                mean=found.difference,
                low=found.low,
                high=found.high,
                p_value=found.p_value,
                n_resamples=_N_RESAMPLES,
            )
        )
    return result


def _means_over_slots(
    scores: Mapping[Question, float], questions: Sequence[Question]
) -> dict[tuple[str, str, str, int], float]:
    """One score for each question (data set, language, id, repeat) whatever its slot, in order."""
    of_question: dict[tuple[str, str, str, int], list[float]] = {}
    for question in questions:
        dataset, language, identifier, _, repeat = question
        of_question.setdefault((dataset, language, identifier, repeat), []).append(scores[question])
    return {question: float(np.mean(values)) for question, values in of_question.items()}
