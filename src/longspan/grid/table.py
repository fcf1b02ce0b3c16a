"""The table at the end of a grid: runs downwards, data sets across, mean and standard deviation over seeds."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev

from longspan.records import EvaluationRecord, Metric
from longspan.report.comparison import family
from longspan.report.groups import connected
from longspan.report.metric_display import axis_label, value_text
from longspan.report.names import without_length
from longspan.text_table import aligned

# Data set -> seed -> the metric in each language.
_Row = dict[str, dict[int | None, list[float]]]


def score_table(records: Iterable[EvaluationRecord]) -> list[str]:
    """Return lines of text: the primary metric of each run and system on each data set.

    Languages of a data set are averaged first, then seeds: mean, and the sample standard deviation of several. Tasks
    stand apart, and so do runs that share no data set of whatever length. No lines if there is no score.
    """
    by_metric: dict[tuple[str, Metric, str], list[EvaluationRecord]] = {}
    for record in records:
        if record.metrics:
            by_metric.setdefault((record.task, record.metrics[0], record.item_noun), []).append(record)
    text: list[str] = []
    for (_, metric, noun), own in by_metric.items():
        text += ([""] if text else []) + _of_one_metric(own, metric, noun)
    return text


def _of_one_metric(records: Sequence[EvaluationRecord], metric: Metric, noun: str) -> list[str]:
    found: dict[tuple[str, str], _Row] = {}
    languages: dict[str, set[str]] = {}
    for record in records:
        for score in record.scores:
            if metric.name not in score.metrics:
                continue
            dataset = family(score)
            row = found.setdefault((record.run or record.name, score.system), {})
            row.setdefault(dataset, {}).setdefault(record.training_seed, []).append(score.metrics[metric.name])
            languages.setdefault(dataset, set()).add(score.language)
    if not found:
        return []
    text: list[str] = []
    for bases in connected([{without_length(name) for name in row} for row in found.values()]):
        datasets = [name for name in languages if without_length(name) in bases]
        rows = {key: row for key, row in found.items() if not row.keys().isdisjoint(datasets)}
        n_languages = [len(languages[name]) for name in datasets]
        text += [*_table(rows, datasets, _titles(datasets, n_languages), metric), ""]
    direction = "" if metric.higher_is_better else " (lower is better)"
    text[-1] = f"{axis_label(metric)}{direction}, every {noun} counted; (n): mean over n languages; ±: over seeds."
    return text


def _titles(datasets: Sequence[str], n_languages: Sequence[int]) -> list[str]:
    """Return the headings; of one data set at several lengths only the first is whole: `squad x1`, `x3`, `x5`."""
    titles, before = [], None
    for name, n in zip(datasets, n_languages, strict=True):
        base = without_length(name)
        shown = name.removeprefix(f"{base} ") if base == before else name
        titles.append(shown if n == 1 else f"{shown} ({n})")
        before = base
    return titles


def _table(
    rows: Mapping[tuple[str, str], _Row], datasets: Sequence[str], titles: Sequence[str], metric: Metric
) -> list[str]:
    cells = [["run", "system", *titles]]
    for (run, system), row in rows.items():
        found = (_cell(metric, row[name].values()) if name in row else "-" for name in datasets)
        cells.append([run, system, *found])
    return aligned(cells, n_text=2)


def _cell(metric: Metric, seeds: Iterable[list[float]]) -> str:
    values = [fmean(scores) for scores in seeds]
    deviation = f" ±{value_text(metric, stdev(values))}" if len(values) > 1 else ""
    return value_text(metric, fmean(values)) + deviation
