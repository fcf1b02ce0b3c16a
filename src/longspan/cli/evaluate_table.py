"""The table that `longspan evaluate` prints; `longspan report` shows the whole record."""

from collections.abc import Sequence
from statistics import fmean

from longspan.records import EvaluationRecord, Metric, Score
from longspan.report.comparison import family, mean_seconds
from longspan.report.metric_display import axis_label, value_text
from longspan.text_table import aligned


def evaluation_table(record: EvaluationRecord) -> list[str]:
    """Return lines of text: for each system the means of the first two metrics and the time.

    The first metric follows in each language, and for each data set if there are several.
    """
    if not record.metrics:
        return [f"{record.name}: no metric"]
    primary, *_ = shown = record.metrics[:2]
    languages = list(dict.fromkeys(score.language for score in record.scores))
    systems = list(dict.fromkeys(score.system for score in record.scores))
    several = len(languages) > 1
    head = ["system", *(metric.label for metric in shown), f"s/{record.item_noun}", f"{record.item_noun}s"]
    rows = [[*head, *(languages if several else [])]]
    for system in systems:
        own = [score for score in record.scores if score.system == system]
        seconds = mean_seconds(own)
        rows.append([system, *(_mean(own, metric) for metric in shown)])
        rows[-1] += ["-" if seconds is None else f"{seconds:.2f}", str(sum(score.n_items for score in own))]
        if several:
            rows[-1] += [_mean([score for score in own if score.language == code], primary) for code in languages]
    families = list(dict.fromkeys(map(family, record.scores)))
    lines = [*aligned(rows), _caption(record, shown, len(families), len(systems))]
    if len(families) > 1:
        rows = [[primary.label, *families]]
        for system in systems:
            own = [score for score in record.scores if score.system == system]
            rows.append([system, *(_mean([s for s in own if family(s) == kind], primary) for kind in families)])
        lines += ["", *aligned(rows)]
    return lines


def _caption(record: EvaluationRecord, shown: Sequence[Metric], n_families: int, n_systems: int) -> str:
    units = "; ".join(axis_label(metric) + _direction(metric) for metric in shown)
    over = "languages" if n_families == 1 else "data sets"
    mean = f"; mean over {over}" if len(record.scores) > n_systems else ""
    return f"{units}{mean}; {record.protocol}."


def _direction(metric: Metric) -> str:
    return "" if metric.higher_is_better else " (lower is better)"


def _mean(scores: Sequence[Score], metric: Metric) -> str:
    values = [score.metrics[metric.name] for score in scores if metric.name in score.metrics]
    return value_text(metric, fmean(values)) if values else "-"
