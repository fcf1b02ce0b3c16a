"""Trained models against each other on the same questions."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean

from longspan.errors import InputError
from longspan.evaluation.differences import Question, by_question, compare_scores, f1_of_questions
from longspan.metrics.seeds import run_of, seed_of
from longspan.records import Answer, ComparisonRecord, EvaluationRecord, made_now


def compare_records(
    records: Sequence[EvaluationRecord], *, system: str | None = None, name: str, command: str | None = None
) -> ComparisonRecord:
    """Paired bootstrap of F1 between runs, two at a time: pooled over all questions, and on each data set.

    Records of one run (`EvaluationRecord.run`; the model where it names none) with several seeds are one side: each
    question's F1 is then the mean over seeds. The bootstrap draws questions; the spread over seeds is not in its
    interval (`longspan.metrics.seeds.over_seeds` tells it).

    Args:
        records: of at least two runs, with their answers.
        system: which system of the records; None: each that all of them have.
        name: of the comparison, for tables.
        command: what to type to do this again; the process's own command line where None.

    Returns:
        For each pair of runs and each system, the later run less the earlier one; `system` and `baseline` of a
        difference are 'run: system'.

    Raises:
        InputError: fewer than two runs, a run's data set twice with one seed, records without answers, no common
            system, or different questions (the message says how many differ).
    """
    runs = _by_run(records)
    systems = _common_systems(records, system)
    scores: dict[tuple[str, str], Mapping[Question, float]] = {}
    reference: dict[Question, Answer] = {}
    for run, seeds in runs.items():
        for common in systems:
            of_seeds = []
            for members in seeds.values():
                answers = [answer for record in members for answer in record.answers if answer.system == common]
                asked = by_question(answers)
                reference = reference or asked
                _require_same_questions(reference, asked, next(iter(runs)), f"{run}: {common}")
                of_seeds.append(f1_of_questions(answers))
            scores[run, common] = {question: fmean(own[question] for own in of_seeds) for question in reference}
    differences = []
    for earlier, later in combinations(runs, 2):
        for common in systems:
            differences += compare_scores(
                scores[later, common],
                scores[earlier, common],
                system=f"{later}: {common}",
                baseline=f"{earlier}: {common}",
            )
    hashes = {key: value for record in records for key, value in record.made.data.items()}
    return ComparisonRecord(made=made_now(data=hashes, command=command), name=name, differences=differences)


def _by_run(records: Sequence[EvaluationRecord]) -> dict[str, dict[int | None, list[EvaluationRecord]]]:
    """Run -> seed -> its records: one, or several on different data sets."""
    runs: dict[str, dict[int | None, list[EvaluationRecord]]] = {}
    for record in records:
        members = runs.setdefault(run_of(record), {}).setdefault(seed_of(record), [])
        own = {(score.system, score.dataset) for score in record.scores}
        for member in members:
            if twice := own & {(score.system, score.dataset) for score in member.scores}:
                raise InputError(
                    f"two records of run {run_of(record)} with seed {seed_of(record)} hold {min(twice)[1]}; leave one "
                    "out, or tell them apart (`longspan evaluate --run NAME --training_seed N`)"
                )
        members.append(record)
    if len(runs) < 2:
        raise InputError(f"a comparison needs records of two runs; these are of {', '.join(runs) or 'none'}")
    return runs


def _common_systems(records: Sequence[EvaluationRecord], system: str | None) -> list[str]:
    systems_of = []
    for record in records:
        answered = list(dict.fromkeys(answer.system for answer in record.answers))
        if not answered:
            raise InputError(
                f"the record {record.name!r} of {run_of(record)} has no answers, so that its questions cannot be "
                "paired; evaluate again without --scores_only"
            )
        systems_of.append(answered)
    common = [name for name in systems_of[0] if all(name in others for others in systems_of)]
    if system is None and not common:
        raise InputError(f"no system is in all of the records; the first has {', '.join(systems_of[0])}")
    if system is not None and system not in common:
        lacking = next(record for record, own in zip(records, systems_of, strict=True) if system not in own)
        raise InputError(f"there is no system {system!r} in the record of {run_of(lacking)}; common are {common}")
    return common if system is None else [system]


def _require_same_questions(
    reference: Mapping[Question, Answer], asked: Mapping[Question, Answer], first: str, second: str
) -> None:
    differing = [
        question
        for question in {**reference, **asked}
        if question not in reference or question not in asked or _words(reference[question]) != _words(asked[question])
    ]
    if differing:
        dataset, _, identifier, slot, _ = differing[0]
        place = "" if slot is None else f" with its paragraph at slot {slot}"
        raise InputError(
            f"{first} and {second} were asked different questions: {len(differing)} differ, of {len(reference)} and "
            f"{len(asked)}; the first is {identifier!r} of {dataset}{place}. Evaluate both on the same data"
        )


def _words(answer: Answer) -> tuple[str, list[str]]:
    return answer.question, answer.gold
