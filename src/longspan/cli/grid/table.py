"""The table at the end of a grid: runs downwards, data sets across, mean and standard deviation over seeds."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from longspan.metrics.seeds import mean_and_deviation
from longspan.records import EvaluationRecord
from longspan.report.groups import connected
from longspan.report.names import family_name, without_length


def score_table(records: Iterable[EvaluationRecord]) -> list[str]:
    """Lines of text: F1 of each run and system on each data set, by each language's own rules.

    Languages of a data set are averaged first, then seeds: mean, and the sample standard deviation of several. Runs
    that share no data set, of whatever length, stand in tables of their own. Nothing where there is no score.
    """
    # (run, system) -> data set -> seed -> F1 of each language
    found: dict[tuple[str, str], dict[str, dict[int | None, list[float]]]] = {}
    languages: dict[str, set[str]] = {}
    for record in records:
        for score in record.scores:
            if "f1" not in score.metrics:
                continue
            dataset = family_name(score.dataset, score.language)
            row = found.setdefault((record.run or record.name, score.system), {})
            row.setdefault(dataset, {}).setdefault(record.training_seed, []).append(score.metrics["f1"])
            languages.setdefault(dataset, set()).add(score.language)
    if not found:
        return []
    text: list[str] = []
    for bases in connected([{without_length(name) for name in row} for row in found.values()]):
        datasets = [name for name in languages if without_length(name) in bases]
        rows = {key: row for key, row in found.items() if not row.keys().isdisjoint(datasets)}
        n_languages = [len(languages[name]) for name in datasets]
        text += [*_table(rows, datasets, _titles(datasets, n_languages)), ""]
    text[-1] = "F1 in per cent, every question counted; (n): mean over n languages; ±: over training seeds."
    return text


def _titles(datasets: Sequence[str], n_languages: Sequence[int]) -> list[str]:
    """Their names, of one data set at several lengths only the first time whole: `squad x1`, `x3`, `x5`."""
    titles, before = [], None
    for name, n in zip(datasets, n_languages, strict=True):
        base = without_length(name)
        shown = name.removeprefix(f"{base} ") if base == before else name
        titles.append(shown if n == 1 else f"{shown} ({n})")
        before = base
    return titles


def _table(
    rows: Mapping[tuple[str, str], Mapping[str, Mapping[int | None, list[float]]]],
    datasets: Sequence[str],
    titles: Sequence[str],
) -> list[str]:
    cells = [["run", "system", *titles]]
    for (run, system), row in rows.items():
        cells.append([run, system, *(_cell(row[name].values()) if name in row else "-" for name in datasets)])
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), row[1].ljust(widths[1])]
            + [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        ).rstrip()
        for row in cells
    ]


def _cell(seeds: Iterable[list[float]]) -> str:
    mean, deviation = mean_and_deviation([fmean(scores) for scores in seeds])
    return f"{mean:.1f}" + ("" if deviation is None else f" ±{deviation:.1f}")
