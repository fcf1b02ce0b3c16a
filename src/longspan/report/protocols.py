"""The section that compares the thesis' protocol with the honest one, on the same answers of the same models."""

import math
from collections.abc import Sequence
from statistics import fmean

from longspan.records import Score
from longspan.report import plots
from longspan.report.blocks import Block, Cell, Figures, Plot, Section, Table, Text, number, signed
from longspan.report.comparison import Comparison, Entry
from longspan.report.metric_display import mean_cell, unnamed
from longspan.report.names import language_name

_THESIS = "f1_thesis"
_SURVIVORS = "thesis_survivors"


_WAYS = {"honest": "f1", "as the thesis scored": _THESIS}
# Number of families whose languages are plotted.
_MOST_DRAWN = 2


def protocols_section(comparison: Comparison) -> Section | None:
    """F1 over all questions beside F1 by the thesis' protocol; None if there are no scores by that protocol."""
    if comparison.metric("f1") is None or not any(_has_both(score) for score in comparison.scores):
        return None
    text = (
        "Two protocols for the same models. Honest: every question counts, the answer is the best span of all windows, "
        "and each language has its own rules. Thesis: only questions whose gold answer is aligned to tokens of the "
        "first window survive, start and end are chosen independently, and SQuAD's English rules apply to all "
        "languages. The difference shows what the protocol itself adds."
    )
    best = comparison.best_system()
    blocks: list[Block] = [Text(text), _by_system(comparison)]
    details: list[tuple[str, Sequence[Block]]] = []
    if any(len(comparison.languages(name)) > 1 for name in comparison.families):
        details.append(("Both protocols, language by language", [_by_language(comparison)]))
        for name in comparison.families[:_MOST_DRAWN] if best is not None else ():
            drawn = _bars(comparison, best or "", name)
            if drawn is not None:
                blocks.append(Figures([drawn], is_wide=plots.are_wide(comparison.languages(name), _WAYS)))
    return Section("protocols", "Honest, and as the thesis scored", blocks, details)


def _has_both(score: Score) -> bool:
    return "f1" in score.metrics and (_THESIS in score.metrics or _SURVIVORS in score.counts)


_COLUMNS = ["F1, honest", "F1 by the thesis", "Thesis less honest", "F1 of the survivors, honest", "Survivors"]


def _by_system(comparison: Comparison) -> Table:
    several = len(comparison.families) > 1
    rows = []
    for in_family in comparison.families:
        for name in comparison.systems:
            cells = _cells(comparison, name, in_family, None)
            if cells:
                rows.append([Cell(name), *([Cell(in_family)] if several else []), *cells])
    caption = (
        "Survivors: questions that the thesis' filter leaves, of all, summed over languages; scores are means over "
    )
    caption += "languages that have some."
    columns = ["System", *(["Data"] if several else []), *_COLUMNS]
    return _without_empty(Table(columns, rows, caption))


def _by_language(comparison: Comparison) -> Table:
    several = len(comparison.families) > 1
    rows = []
    for in_family in comparison.families:
        for language in comparison.languages(in_family):
            for name in comparison.systems:
                cells = _cells(comparison, name, in_family, language)
                if cells:
                    data = [Cell(in_family)] if several else []
                    rows.append([Cell(language_name(language)), *data, Cell(name), *cells])
    columns = ["Language", *(["Data"] if several else []), "System", *_COLUMNS]
    return _without_empty(Table(columns, rows))


def _cells(comparison: Comparison, system: str, in_family: str, language: str | None) -> list[Cell]:
    """Cells: honest, thesis, difference, honest over survivors, survivors; empty if only one protocol was scored."""
    honest, thesis, differences, survivors = [], [], [], []
    n_survivors = n_items = 0
    for entry, cells in zip(comparison.lines[system], comparison.cells(system, in_family, language), strict=True):
        both = [score for score in cells if _has_both(score)]
        n_survivors += sum(score.counts.get(_SURVIVORS, 0) for score in both)
        n_items += sum(score.n_items for score in both)
        scored = [score for score in both if _THESIS in score.metrics and math.isfinite(score.metrics[_THESIS])]
        if not scored:
            continue
        honest.append(fmean(score.metrics["f1"] for score in scored))
        thesis.append(fmean(score.metrics[_THESIS] for score in scored))
        differences.append(thesis[-1] - honest[-1])
        alone = _honest_of_survivors(entry, scored)
        survivors += [] if alone is None else [alone]
    if not n_items:
        return []
    # The filter is the same for all seeds, because it depends on the tokenizer and not on the weights.
    n_seeds = comparison.n_seeds(system)
    share = 100 * n_survivors / n_items
    told = f"{n_survivors // n_seeds:,} of {n_items // n_seeds:,} ({share:.0f} %)"
    difference = Cell(signed(fmean(differences)), is_number=True) if differences else number(None)
    f1 = comparison.metric("f1") or unnamed("F1")
    cells = (mean_cell(f1, honest), mean_cell(f1, thesis), difference, mean_cell(f1, survivors))
    return [*cells, Cell(told, is_number=True)]


def _honest_of_survivors(entry: Entry, scores: Sequence[Score]) -> float | None:
    """Mean over languages of the honest F1 of the survivors; None if the record lacks answers."""
    means = []
    for score in scores:
        answers = entry.items_of.get((score.dataset, score.language), [])
        kept = [a.metrics["f1"] for a in answers if _THESIS in a.metrics and "f1" in a.metrics]
        if len(answers) != score.n_items or not kept:
            return None
        means.append(fmean(kept))
    return fmean(means)


def _without_empty(table: Table) -> Table:
    """Remove columns that have only dashes."""
    kept = [i for i in range(len(table.columns)) if any(row[i].text != "–" for row in table.rows)]
    return Table([table.columns[i] for i in kept], [[row[i] for i in kept] for row in table.rows], table.caption)


def _bars(comparison: Comparison, system: str, in_family: str) -> Plot | None:
    """Both F1 scores of each system per language, and the honest F1 of the survivors if the record has the answers."""
    languages = comparison.languages(in_family)
    if len(languages) < 2:
        return None
    series: dict[str, list[plots.Bar | None]] = {}
    for title, name in _WAYS.items():
        metric = comparison.metric(name) or unnamed(name)
        values = [comparison.values(metric, system, in_family, language) for language in languages]
        series[title] = [plots.Bar(fmean(found)) if found else None for found in values]
    if not any(bar is not None for bar in list(series.values())[1]):
        return None
    words = f"F1 of “{system}” in each language of {in_family}: honest, and as the thesis scored"
    title = f"{system}, {in_family}"
    return Plot(plots.bars(languages, series, x_label="language", y_label="F1, per cent"), words, title)
