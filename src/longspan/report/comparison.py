"""Groups evaluation records of systems and runs on the same questions, with the seeds of each."""

import math
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from longspan.records import EvaluationRecord, Item, Metric, Score
from longspan.report.blocks import Cell
from longspan.report.metric_display import best_of, mean_cell
from longspan.report.names import family_name, without_length

_LONG_NAME = 48


@dataclass(frozen=True, eq=False)
class Entry:
    """One system of one record."""

    record: EvaluationRecord
    system: str

    @cached_property
    def scores(self) -> list[Score]:
        """The system's cells."""
        return [score for score in self.record.scores if score.system == self.system]

    @cached_property
    def items(self) -> list[Item]:
        """The system's items; none if the record did not keep them."""
        return [item for item in self.record.items if item.system == self.system]

    @cached_property
    def items_of(self) -> dict[tuple[str, str], list[Item]]:
        """The system's items by data set and language."""
        found: dict[tuple[str, str], list[Item]] = defaultdict(list)
        for item in self.items:
            found[item.dataset, item.language].append(item)
        return dict(found)


@dataclass(frozen=True)
class Comparison:
    """Systems, of one run or several, that were evaluated on the same items.

    Attributes:
        lines: name of a line of the tables -> its entries, one per seed. A line is a system, with its run before it if
            there are several runs.
        notes: sentences about what was left out.
    """

    lines: Mapping[str, Sequence[Entry]]
    notes: Sequence[str] = ()

    @property
    def records(self) -> list[EvaluationRecord]:
        """Every record once, in the order of the lines."""
        found = {id(entry.record): entry.record for entries in self.lines.values() for entry in entries}
        return list(found.values())

    @property
    def name(self) -> str:
        """The name of the evaluation; of several runs, all names."""
        return "; ".join(dict.fromkeys(record.name for record in self.records))

    @property
    def short_name(self) -> str:
        """The name, or the data sets without their lengths if the name is too long for a heading."""
        if len(self.name) <= _LONG_NAME:
            return self.name
        data = ", ".join(dict.fromkeys(map(without_length, self.families)))
        return data if len(data) <= _LONG_NAME else textwrap.shorten(self.name, _LONG_NAME, placeholder=" …")

    @property
    def systems(self) -> list[str]:
        """Names of the lines."""
        return list(self.lines)

    @property
    def runs(self) -> list[str]:
        """Names of the runs, as far as records have them."""
        return list(dict.fromkeys(record.run for record in self.records if record.run is not None))

    @property
    def scores(self) -> list[Score]:
        """All cells of all records."""
        return [score for record in self.records for score in record.scores]

    @property
    def families(self) -> list[str]:
        """Data sets without their language (`xquad` of `xquad.el`), in the order of the record."""
        return list(dict.fromkeys(family(score) for score in self.scores))

    @property
    def task(self) -> str:
        """Name of the task that all records are of."""
        return self.records[0].task

    @property
    def noun(self) -> str:
        """What one item is called, in the singular."""
        return self.records[0].item_noun

    @property
    def heading(self) -> str:
        """Heading of a column that counts items."""
        return f"{self.noun.capitalize()}s"

    @cached_property
    def all_metrics(self) -> list[Metric]:
        """Every metric that a score has, in the order of the records."""
        known = {name for score in self.scores for name in score.metrics}
        told = {metric.name: metric for record in self.records for metric in record.metrics if metric.name in known}
        return list(told.values())

    @property
    def metrics(self) -> list[Metric]:
        """The one or two metrics that the overview shows; the first decides which system is best."""
        return self.all_metrics[:2]

    def metric(self, name: str) -> Metric | None:
        """The metric of that name; None if no score has it."""
        return next((metric for metric in self.all_metrics if metric.name == name), None)

    @cached_property
    def count_labels(self) -> dict[str, str]:
        """Headings of what the scores count."""
        return {name: label for record in self.records for name, label in record.count_labels.items()}

    def languages(self, in_family: str) -> list[str]:
        """Languages of one family of data sets, in the order of the record."""
        return list(dict.fromkeys(score.language for score in self.scores if family(score) == in_family))

    def cells(self, system: str, in_family: str, language: str | None = None) -> list[list[Score]]:
        """Per seed, the line's cells of one family, in all languages or in one."""
        return [
            [score for score in entry.scores if family(score) == in_family and language in {None, score.language}]
            for entry in self.lines[system]
        ]

    def values(self, metric: Metric, system: str, in_family: str, language: str | None = None) -> list[float]:
        """One value per seed: the mean over the family's languages, or the value of one language."""
        found = [
            [score.metrics[metric.name] for score in cells if metric.name in score.metrics]
            for cells in self.cells(system, in_family, language)
        ]
        return [fmean(values) for values in found if values]

    def n_seeds(self, system: str) -> int:
        """Number of records of a line."""
        return len(self.lines[system])

    def n_items(self, system: str | None = None, in_family: str | None = None) -> int:
        """Number of items of a line's system in one evaluation; without a system, the largest number of any line."""
        names = self.systems if system is None else [system]
        return max(
            (sum(s.n_items for s in self.lines[name][0].scores if in_family in {None, family(s)}) for name in names),
            default=0,
        )

    def mean(self, metric: Metric, system: str) -> float | None:
        """Mean over families, languages and seeds."""
        values = self.seed_means(metric, system)
        return fmean(values) if values else None

    def seed_means(self, metric: Metric, system: str) -> list[float]:
        """Mean over families and languages, per seed."""
        means = []
        for entry in self.lines[system]:
            of_family: dict[str, list[float]] = defaultdict(list)
            for score in entry.scores:
                if metric.name in score.metrics:
                    of_family[family(score)].append(score.metrics[metric.name])
            if of_family:
                means.append(fmean(fmean(values) for values in of_family.values()))
        return means

    def seconds(self, system: str) -> float | None:
        """Mean seconds per item over all items and seeds; None if not measured."""
        return mean_seconds(score for entry in self.lines[system] for score in entry.scores)

    def best_system(self) -> str | None:
        """The line with the best mean of the first metric; None if none has one."""
        ranked = self.ranked(self.metrics[0]) if self.metrics else []
        return ranked[0] if ranked else None

    def ranked(self, metric: Metric) -> list[str]:
        """The lines that have the metric, from the best mean to the worst."""
        means = {system: self.mean(metric, system) for system in self.systems}
        known = {system: value for system, value in means.items() if value is not None}
        return sorted(known, key=lambda system: metric.rank(known[system]))

    def margin(self, metric: Metric, system: str) -> float | None:
        """Half the 95 % interval of the mean of a line's first seed, over units; None if items are missing.

        The variance of the mean is the sum of the units' squared deviations, weighted as in the mean. The translations
        of a question are one unit, because a question that is hard in one language is hard in the others.
        """
        entry = self.lines[system][0]
        cells = [score for score in entry.scores if metric.name in score.metrics]
        in_family = defaultdict(int)
        for score in cells:
            in_family[family(score)] += 1
        deviations: dict[str, float] = defaultdict(float)
        for score in cells:
            items = [i for i in entry.items_of.get((score.dataset, score.language), []) if metric.name in i.metrics]
            if len(items) != score.n_items:
                return None
            weight = 1 / (len(in_family) * in_family[family(score)] * len(items))
            mean = fmean(item.metrics[metric.name] for item in items)
            for item in items:
                deviations[item.unit] += weight * (item.metrics[metric.name] - mean)
        if len(deviations) < 2:
            return None
        return 1.96 * sum(deviation**2 for deviation in deviations.values()) ** 0.5

    def items(self) -> Iterator[tuple[str, Item]]:
        """Every item of every seed, with the name of its line."""
        for name, entries in self.lines.items():
            for entry in entries:
                for item in entry.items:
                    yield name, item


def mean_seconds(scores: Iterable[Score]) -> float | None:
    """Return the mean seconds per item over the items of all cells; None if not measured."""
    timed = [(s.seconds_per_item, s.n_items) for s in scores if s.seconds_per_item is not None]
    n_items = sum(n for _, n in timed)
    return sum(seconds * n for seconds, n in timed) / n_items if n_items else None


def family(of: Score | Item) -> str:
    """The data set's name without its language."""
    return family_name(of.dataset, of.language)


def comparisons(records: Sequence[EvaluationRecord]) -> list[Comparison]:
    """Group records of runs that were evaluated on the same items, and of seeds of the same evaluation.

    A record without a run is grouped with records of other seeds that have the same name, protocol and cells. If a run
    and seed occur twice, the newest record is used.
    """
    groups: dict[object, list[EvaluationRecord]] = defaultdict(list)
    notes: dict[object, list[str]] = defaultdict(list)
    for index, record in enumerate(records):
        if record.run is not None:
            asked = frozenset((score.dataset, score.language, score.n_items) for score in record.scores)
            groups["run", record.task, record.protocol, asked].append(record)
            continue
        cells = frozenset((score.system, score.dataset, score.language, score.n_items) for score in record.scores)
        key: object = (record.task, record.name, record.protocol, cells)
        seed = record.seed
        if groups[key] and (seed is None or seed in {other.seed for other in groups[key]}):
            told = "without a seed" if seed is None else f"with seed {seed}"
            key = index
            notes[key].append(
                f"“{record.name}” {told} is here more than once ({record.made.date}): it stands apart, not averaged."
            )
        groups[key].append(record)
    return [_compare(group, notes[key]) for key, group in groups.items() if group]


def names_apart(found: Sequence[Comparison]) -> list[str]:
    """A short, unique name for each comparison; equal names are distinguished by their runs, else by a number."""
    names = [comparison.short_name for comparison in found]
    behind = [" and ".join(comparison.runs) for comparison in found]
    apart = []
    for index, name in enumerate(names):
        same = [behind[other] for other in range(len(found)) if names[other] == name]
        told = behind[index] if "" not in same and len(set(same)) == len(same) else names[: index + 1].count(name)
        apart.append(f"{name} ({told})" if len(same) > 1 else name)
    return apart


def _compare(group: Sequence[EvaluationRecord], notes: Sequence[str]) -> Comparison:
    runs = list(dict.fromkeys(record.run for record in group if record.run is not None))
    kept: dict[tuple[str | None, str], dict[int | None, EvaluationRecord]] = defaultdict(dict)
    notes = list(notes)
    for record in sorted(group, key=lambda record: runs.index(record.run) if record.run is not None else 0):
        for system in dict.fromkeys(score.system for score in record.scores):
            seed = record.seed
            other = kept[record.run, system].get(seed)
            if other is None:
                kept[record.run, system][seed] = record
                continue
            first, newest = sorted((other, record), key=lambda record: record.made.date)
            kept[record.run, system][seed] = newest
            told = "" if seed is None else f", seed {seed}"
            notes.append(
                f"{record.run}{told} is here twice ({system}; {first.made.date} and {newest.made.date}): the newer one "
                "is counted, and the two are not averaged."
            )
    lines = {
        f"{run}: {system}" if len(runs) > 1 else system: [
            Entry(record, system)
            for _, record in sorted(seeds.items(), key=lambda item: -1 if item[0] is None else item[0])
        ]
        for (run, system), seeds in kept.items()
    }
    return Comparison(lines, notes)


def column(metric: Metric, values: Mapping[str, list[float]]) -> dict[str, Cell]:
    """Return a metric's column: name -> mean (and deviation over seeds), the best in bold."""
    means = {name: fmean(found) for name, found in values.items() if found}
    best = best_of(metric, means.values())
    return {
        name: mean_cell(
            metric,
            found,
            is_best=best is not None and len(means) > 1 and bool(found) and math.isclose(fmean(found), best),
        )
        for name, found in values.items()
    }
