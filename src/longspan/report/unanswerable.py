"""Question answering with questions that their document does not answer: the SQuAD 2.0 scorer's figures."""

from longspan.records import Score
from longspan.report.blocks import Cell, Section, Table, Text
from longspan.report.comparison import Comparison
from longspan.report.metric_display import mean_cell


def unanswerable_section(comparison: Comparison) -> Section | None:
    """Return the scores of answerable and unanswerable questions apart; None if the data has none."""
    names = ("HasAns_f1", "HasAns_exact", "NoAns_f1", "NoAns_exact", "best_f1", "best_exact")
    found: dict[tuple[str, str], list[Score]] = {}
    for line, entries in comparison.lines.items():
        for score in (score for entry in entries for score in entry.scores):
            if any(name in score.metrics for name in names):
                found.setdefault((line, score.dataset), []).append(score)
    if not found:
        return None
    metrics = [metric for name in names if (metric := comparison.metric(name)) is not None]
    rows = [
        [
            Cell(line),
            Cell(dataset),
            *(
                mean_cell(metric, [s.metrics[metric.name] for s in scores if metric.name in s.metrics])
                for metric in metrics
            ),
        ]
        for (line, dataset), scores in found.items()
    ]
    text = "The best threshold is chosen on the same questions, as in the SQuAD 2.0 script, so these are upper bounds."
    table = Table(["System", "Data", *(metric.label for metric in metrics)], rows)
    return Section("unanswerable", "Questions without an answer", [table, Text(text, is_note=True)])
