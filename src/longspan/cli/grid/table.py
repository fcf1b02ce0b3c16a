"""The table at the end of a grid: runs downwards, data sets across, mean and standard deviation over seeds."""

from collections.abc import Iterable
from statistics import fmean

from longspan.metrics.seeds import mean_and_deviation
from longspan.records import EvaluationRecord
from longspan.report.names import family_name


def score_table(records: Iterable[EvaluationRecord]) -> list[str]:
    """Lines of text: F1 of each run and system on each data set, by each language's own rules.

    Languages of a data set are averaged first, then seeds: mean, and the sample standard deviation of several.
    Nothing where there is no score.
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
    datasets = list(languages)
    titles = [name if len(languages[name]) == 1 else f"{name} ({len(languages[name])})" for name in datasets]
    rows = [["run", "system", *titles]]
    for (run, system), row in found.items():
        rows.append([run, system, *(_cell(row[name].values()) if name in row else "-" for name in datasets)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    text = [
        "  ".join(
            [row[0].ljust(widths[0]), row[1].ljust(widths[1])]
            + [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        ).rstrip()
        for row in rows
    ]
    return [*text, "F1 in per cent, every question counted; (n): mean over n languages; ±: over training seeds."]


def _cell(seeds: Iterable[list[float]]) -> str:
    mean, deviation = mean_and_deviation([fmean(scores) for scores in seeds])
    return f"{mean:.1f}" + ("" if deviation is None else f" ±{deviation:.1f}")
