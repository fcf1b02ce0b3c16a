"""Trained models against each other on the same items."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean

from longspan.errors import InputError
from longspan.evaluation.differences import ItemKey, by_key, compare_scores, scores_of
from longspan.records import ComparisonRecord, EvaluationRecord, Item, made_now


def compare_records(
    records: Sequence[EvaluationRecord], *, system: str | None = None, name: str, command: str | None = None
) -> ComparisonRecord:
    """Return the paired bootstrap of the primary metric between runs, two at a time.

    Records of one run (`EvaluationRecord.run_name`) with several seeds are one side: the score of an item is its mean
    over seeds. The bootstrap draws units of items; the spread over seeds is not in its interval.

    Args:
        records: of at least two runs of one task, with their items.
        system: which system of the records; None: each that all of them have.
        name: of the comparison, for tables.
        command: what to type to do this again; the process's own command line where None.

    Returns:
        For each pair of runs and each system, the later run less the earlier one; `system` and `baseline` of a
        difference are 'run: system'.

    Raises:
        InputError: fewer than two runs, several tasks, a run's data set twice with one seed, records without items, no
            common system, or different items (the message says how many differ).
    """
    runs = _by_run(records)
    first = records[0]
    if tasks := sorted({record.task for record in records} - {first.task}):
        raise InputError(f"records of two tasks cannot be compared: {first.task} and {tasks[0]}; leave one out")
    if not first.metrics:
        raise InputError(f"the record {first.name!r} names no metric; evaluate again")
    metric = first.metrics[0]
    systems = _common_systems(records, system)
    scores = _mean_scores(runs, systems, metric.name)
    differences = []
    for earlier, later in combinations(runs, 2):
        for common in systems:
            differences += compare_scores(
                scores[later, common],
                scores[earlier, common],
                metric=metric.name,
                system=f"{later}: {common}",
                baseline=f"{earlier}: {common}",
            )
    hashes = {key: value for record in records for key, value in record.made.data.items()}
    return ComparisonRecord(
        made=made_now(data=hashes, command=command),
        name=name,
        task=first.task,
        item_noun=first.item_noun,
        metrics=[metric],
        differences=differences,
    )


def _by_run(records: Sequence[EvaluationRecord]) -> dict[str, dict[int | None, list[EvaluationRecord]]]:
    """Run -> seed -> its records: one, or several on different data sets."""
    runs: dict[str, dict[int | None, list[EvaluationRecord]]] = {}
    for record in records:
        members = runs.setdefault(record.run_name, {}).setdefault(record.seed, [])
        own = {(score.system, score.dataset) for score in record.scores}
        for member in members:
            if twice := own & {(score.system, score.dataset) for score in member.scores}:
                raise InputError(
                    f"two records of run {record.run_name} with seed {record.seed} hold {min(twice)[1]}; leave one "
                    "out, or tell them apart (`longspan evaluate --run NAME --training_seed N`)"
                )
        members.append(record)
    if len(runs) < 2:
        raise InputError(f"a comparison needs records of two runs; these are of {', '.join(runs) or 'none'}")
    return runs


def _mean_scores(
    runs: Mapping[str, Mapping[int | None, list[EvaluationRecord]]], systems: Sequence[str], metric: str
) -> dict[tuple[str, str], Mapping[ItemKey, float]]:
    """(Run, system) -> the score of each item, its mean over the seeds of the run."""
    scores: dict[tuple[str, str], Mapping[ItemKey, float]] = {}
    reference: dict[ItemKey, Item] = {}
    for run, seeds in runs.items():
        for system in systems:
            of_seeds = []
            for members in seeds.values():
                items = [item for record in members for item in record.items if item.system == system]
                asked = by_key(items)
                reference = reference or asked
                _require_same_items(reference, asked, next(iter(runs)), f"{run}: {system}")
                of_seeds.append(scores_of(items, metric))
            scores[run, system] = {key: fmean(own[key] for own in of_seeds) for key in reference}
    return scores


def _common_systems(records: Sequence[EvaluationRecord], system: str | None) -> list[str]:
    systems_of = []
    for record in records:
        answered = list(dict.fromkeys(item.system for item in record.items))
        if not answered:
            raise InputError(
                f"the record {record.name!r} of {record.run_name} has no {record.item_noun}s that could be paired; "
                "evaluate again without --scores_only"
            )
        systems_of.append(answered)
    common = [name for name in systems_of[0] if all(name in others for others in systems_of)]
    if system is None and not common:
        raise InputError(f"no system is in all of the records; the first has {', '.join(systems_of[0])}")
    if system is not None and system not in common:
        lacking = next(record for record, own in zip(records, systems_of, strict=True) if system not in own)
        raise InputError(f"there is no system {system!r} in the record of {lacking.run_name}; common are {common}")
    return common if system is None else [system]


def _require_same_items(
    reference: Mapping[ItemKey, Item], asked: Mapping[ItemKey, Item], first: str, second: str
) -> None:
    differing = [
        key
        for key in {**reference, **asked}
        if key not in reference or key not in asked or _content(reference[key]) != _content(asked[key])
    ]
    if differing:
        key = differing[0]
        place = "" if key.variant is None else f" with its paragraph at slot {key.variant}"
        raise InputError(
            f"{first} and {second} were evaluated on different items: {len(differing)} differ, of {len(reference)} and "
            f"{len(asked)}; the first is {key.id!r} of {key.dataset}{place}. Evaluate both on the same data"
        )


def _content(item: Item) -> tuple[str, list[str]]:
    return item.input, item.gold
