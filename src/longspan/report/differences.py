"""Sections about paired differences on the same items, between systems of a record and between runs."""

from collections import defaultdict
from collections.abc import Sequence

from longspan.records import ComparisonRecord, Difference, Metric
from longspan.report import plots
from longspan.report.blocks import Block, Cell, Figures, Plot, Section, Table, Text, count
from longspan.report.comparison import Comparison
from longspan.report.metric_display import axis_label, metric_of, signed_text
from longspan.report.names import language_name

# Largest number of readable rows in one plot.
_MOST_ROWS = 16


def differences_section(comparison: Comparison) -> Section | None:
    """Differences between the systems of each record; None if the records have none."""
    kept = {(id(entry.record), entry.system) for entries in comparison.lines.values() for entry in entries}
    found = [
        (_origin(comparison, record), own)
        for record in comparison.records
        for own in record.differences
        if (id(record), own.system) in kept  # a newer record of the same run may stand for this one
    ]
    if not found:
        return None
    # Differences over all questions come first; those of single data sets are collapsed.
    whole = [(origin, difference) for origin, difference in found if difference.dataset == "all"]
    main, rest = (whole, [row for row in found if row[1].dataset != "all"]) if whole else (found, [])
    metrics = comparison.all_metrics
    blocks: list[Block] = [Text(_told([difference for _, difference in main], comparison.noun))]
    blocks += _figures(main, metrics)
    blocks.append(_table(main, metrics, comparison.noun))
    details = [("Data set by data set", [_table(rest, metrics, comparison.noun)])] if rest else []
    return Section("differences", "Are the differences real?", blocks, details)


def comparison_section(records: Sequence[ComparisonRecord]) -> Section | None:
    """Differences between pairs of models that were evaluated on the same questions; None without records."""
    blocks: list[Block] = []
    details: list[tuple[str, Sequence[Block]]] = []
    for record in records:
        if not record.differences:
            blocks.append(Text(f"{record.name}: nothing was compared."))
            continue
        pairs: dict[tuple[str, str, str], list[Difference]] = defaultdict(list)
        for difference in record.differences:
            pairs[difference.system, difference.baseline, difference.metric].append(difference)
        pooled = [row for own in pairs.values() for row in own if (row.dataset, row.language) == ("all", "all")]
        metrics, noun = record.metrics, record.item_noun
        blocks.append(Text(f"{record.name}. {_told(pooled or record.differences, noun)}"))
        blocks += _figures([("", row) for row in pooled], metrics) if len(pooled) > 1 else []
        if pooled and len(pairs) > 1:
            blocks.append(_table([("", row) for row in pooled], metrics, noun))
        for (system, baseline, _), own in pairs.items():
            metric = metric_of(own[0], metrics)
            title = f"{system} less {baseline}, {metric.label}"
            in_languages = [row for row in own if row.language != "all"]
            shown: list[Block] = []
            if len(in_languages) > 1 and len({row.language for row in in_languages}) == len(in_languages):
                rows = [*in_languages, *(row for row in own if row in pooled)]
                named = [
                    plots.Interval(
                        "all" if row.language == "all" else language_name(row.language), row.mean, row.low, row.high
                    )
                    for row in rows
                ]
                drawing = plots.intervals(named, x_label=_difference_label(metric))
                shown.append(Figures([Plot(drawing, f"{title}, with its 95 % interval, language by language", title)]))
            if len(pairs) == 1 or len(own) > len([row for row in own if row in pooled]):
                shown.append(_table([("", row) for row in own], metrics, noun))
            # The details of a single pair are shown; those of several pairs are collapsed.
            if shown and len(pairs) == 1:
                blocks += shown
            elif shown:
                details.append((title, shown))
    return Section("comparisons", "Run against run", blocks, details) if blocks else None


def _origin(comparison: Comparison, record: object) -> str:
    """The run and seed of a difference; "" if there is a single record."""
    if len(comparison.records) == 1:
        return ""
    found = next(own for own in comparison.records if own is record)
    seed = found.seed
    parts = [found.run if len(comparison.runs) > 1 else None, None if seed is None else f"seed {seed}"]
    return ", ".join(part for part in parts if part)


def _told(differences: Sequence[Difference], noun: str) -> str:
    resamples = sorted({difference.n_resamples for difference in differences})
    text = f"Paired bootstrap over the same {noun}s, {' to '.join(f'{n:,}' for n in resamples)} resamples."
    n_unsure = sum(difference.low <= 0 <= difference.high for difference in differences)
    if n_unsure:
        text += f" In {n_unsure} of {len(differences)} rows the interval contains zero: these {noun}s do not show a "
        text += "difference."
    return text


def _figures(rows: Sequence[tuple[str, Difference]], metrics: Sequence[Metric]) -> list[Block]:
    """Return one plot for each metric; none if its rows would be too many to read."""
    of_metric: dict[Metric, list[plots.Interval]] = defaultdict(list)
    pairs = {(row.system, row.baseline) for _, row in rows}
    is_one = len(pairs) == 1 and all(origin for origin, _ in rows)
    for origin, row in rows:
        on = "" if row.dataset == "all" else f", {row.dataset}"
        name = f"{row.system} less {row.baseline}{on}" + (f" ({origin})" if origin else "")
        name = origin + on if is_one else name
        of_metric[metric_of(row, metrics)].append(plots.Interval(name, row.mean, row.low, row.high))
    drawn = []
    for metric, found in of_metric.items():
        if 1 < len(found) <= _MOST_ROWS:
            drawing = plots.intervals(found, x_label=_difference_label(metric))
            words = f"Differences in {metric.label} with their 95 % intervals; hollow if the interval contains zero"
            drawn.append(Plot(drawing, words, " less ".join(next(iter(pairs))) if is_one else ""))
    return [Figures(drawn)] if drawn else []


def _difference_label(metric: Metric) -> str:
    """Return the label of an axis of differences, with a note if lower is better."""
    label = f"difference in {metric.label if metric.is_per_cent else axis_label(metric)}"
    return label if metric.higher_is_better else f"{label} (lower is better)"


def _table(rows: Sequence[tuple[str, Difference]], metrics: Sequence[Metric], noun: str) -> Table:
    has_origin = any(origin for origin, _ in rows)
    pairs = {(row.system, row.baseline) for _, row in rows}
    is_one = len(pairs) == 1 and len(rows) > 1 and not has_origin
    cells = []
    for origin, found in rows:
        n_resamples = max(found.n_resamples, 1)
        # The p value is a share of resamples, so 0 only means that it is below the smallest share.
        p_value = f"< {2 / n_resamples:g}" if found.p_value == 0 else f"{found.p_value:.3f}"
        metric = metric_of(found, metrics)
        on = f"all {noun}s" if found.dataset == "all" else found.dataset
        if found.dataset == "all" and found.language != "all":
            on = language_name(found.language)
        cells.append(
            [
                *([] if is_one else [Cell(f"{found.system} less {found.baseline}")]),
                *([Cell(origin)] if has_origin else []),
                Cell(on),
                Cell(metric.label),
                Cell(signed_text(metric, found.mean), is_number=True),
                Cell(f"{signed_text(metric, found.low)} to {signed_text(metric, found.high)}", is_number=True),
                Cell(p_value, is_number=True),
                count(found.n_units),
            ]
        )
    of = ["Of"] if has_origin else []
    columns = ["Difference", *of, "On", "Metric", "Mean", "95 % interval", "p", f"{noun.capitalize()}s"]
    if is_one:
        return Table(columns[1:], cells, " less ".join(next(iter(pairs))) + ".")
    return Table(columns, cells)
