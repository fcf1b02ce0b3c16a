"""Several trainings of one run: mean and spread of their scores over seeds."""

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from longspan.errors import InputError
from longspan.records import EvaluationRecord


class OverSeeds(NamedTuple):
    """One cell of a table of runs: a system on a data set, over the seeds its run was trained with.

    Attributes:
        run: what was trained, its seed left out.
        system: name of the system.
        dataset: name of the data set, or 'all' for the plain mean over the data sets of the run.
        language: of the data set, or 'all'.
        metric: name of the metric.
        mean: over seeds, in the metric's unit.
        deviation: sample standard deviation over seeds (n - 1 in the denominator); None for one seed.
        n_seeds: how many seeds.
        n_questions: asked of each seed's model.
    """

    run: str
    system: str
    dataset: str
    language: str
    metric: str
    mean: float
    deviation: float | None
    n_seeds: int
    n_questions: int


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (n - 1 in the denominator); None for the deviation of a single value.

    Raises:
        InputError: there are no values.
    """
    if not values:
        raise InputError("there are no values to average over")
    return fmean(values), stdev(values) if len(values) > 1 else None


def over_seeds(records: Sequence[EvaluationRecord], metric: str = "f1") -> list[OverSeeds]:
    """Mean and spread over seeds of every run, system and data set, and of each run's mean over its data sets.

    Records of one `run` (`run_of`) belong together, one for each seed; a run that was evaluated in several records a
    seed (one for each data set) is put together. Cells stand in the order of the records. Those without the metric
    are left out.

    Raises:
        InputError: two records of one run and seed hold the same cell, or the seeds of a cell were asked different
            numbers of questions.
    """
    found: dict[tuple[str, str, str, str], dict[int | None, tuple[float, int]]] = {}
    for record in records:
        run, seed = run_of(record), seed_of(record)
        for score in record.scores:
            if metric not in score.metrics:
                continue
            seeds = found.setdefault((run, score.system, score.dataset, score.language), {})
            if seed in seeds:
                raise InputError(
                    f"run {run} has two scores of {score.system} on {score.dataset} with seed {seed}; leave one "
                    "record out, or tell them apart (`longspan evaluate --run NAME --training_seed N`)"
                )
            seeds[seed] = (score.metrics[metric], score.n_questions)
    rows = []
    for (run, system), cells in _by_run_and_system(found).items():
        for (dataset, language), seeds in cells.items():
            n_questions = {n for _, n in seeds.values()}
            if len(n_questions) > 1:
                raise InputError(
                    f"run {run}, {system} on {dataset}: its seeds were asked {min(n_questions)} to "
                    f"{max(n_questions)} questions; evaluate all on the same"
                )
            mean, deviation = mean_and_deviation([value for value, _ in seeds.values()])
            rows.append(
                OverSeeds(run, system, dataset, language, metric, mean, deviation, len(seeds), n_questions.pop())
            )
        whole = _mean_of_cells(cells)
        if len(cells) > 1 and whole:
            mean, deviation = mean_and_deviation([value for value, _ in whole])
            rows.append(OverSeeds(run, system, "all", "all", metric, mean, deviation, len(whole), whole[0][1]))
    return rows


def run_of(record: EvaluationRecord) -> str:
    """What was trained: the record's run, or its model where it names none."""
    return record.run or record.model


def seed_of(record: EvaluationRecord) -> int | None:
    """The seed of the training, as far as the record says."""
    return record.made.seed if record.training_seed is None else record.training_seed


_Seeds = dict[int | None, tuple[float, int]]


def _by_run_and_system(
    found: dict[tuple[str, str, str, str], _Seeds],
) -> dict[tuple[str, str], dict[tuple[str, str], _Seeds]]:
    grouped: dict[tuple[str, str], dict[tuple[str, str], _Seeds]] = {}
    for (run, system, dataset, language), seeds in found.items():
        grouped.setdefault((run, system), {})[dataset, language] = seeds
    return grouped


def _mean_of_cells(cells: dict[tuple[str, str], _Seeds]) -> list[tuple[float, int]]:
    """For each seed that has every cell: the plain mean over cells, and how many questions these are."""
    complete = [seed for seed in next(iter(cells.values())) if all(seed in seeds for seeds in cells.values())]
    return [
        (fmean(seeds[seed][0] for seeds in cells.values()), sum(seeds[seed][1] for seeds in cells.values()))
        for seed in complete
    ]
