"""Paired differences on the same questions, with their intervals: of one record's systems, and between runs."""

from collections import defaultdict
from collections.abc import Sequence

from longspan.records import ComparisonRecord, Difference
from longspan.report import plots
from longspan.report.blocks import Block, Cell, Figures, Plot, Section, Table, Text, count, signed
from longspan.report.comparison import Comparison, seed_of
from longspan.report.names import language_name, metric_name

# Rows of one plot that can still be read.
_MOST_ROWS = 16


def differences_section(comparison: Comparison) -> Section | None:
    """Of the systems of each record."""
    kept = {(id(entry.record), entry.system) for entries in comparison.lines.values() for entry in entries}
    found = [
        (_origin(comparison, record), own)
        for record in comparison.records
        for own in record.differences
        if (id(record), own.system) in kept  # a newer record of the same run may stand for this one
    ]
    if not found:
        return None
    # Over all questions first; data set by data set on demand, where there are several.
    whole = [(origin, difference) for origin, difference in found if difference.dataset == "all"]
    main, rest = (whole, [row for row in found if row[1].dataset != "all"]) if whole else (found, [])
    blocks: list[Block] = [Text(_told([difference for _, difference in main]))]
    blocks += _figures(main)
    blocks.append(_table(main))
    details = [("Data set by data set", [_table(rest)])] if rest else []
    return Section("differences", "Are the differences real?", blocks, details)


def comparison_section(records: Sequence[ComparisonRecord]) -> Section | None:
    """Between models that were evaluated on the same questions, two at a time."""
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
        blocks.append(Text(f"{record.name}. {_told(pooled or record.differences)}"))
        blocks += _figures([("", row) for row in pooled]) if len(pooled) > 1 else []
        if pooled and len(pairs) > 1:
            blocks.append(_table([("", row) for row in pooled]))
        for (system, baseline, metric), own in pairs.items():
            title = f"{system} less {baseline}, {metric_name(metric)}"
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
                drawing = plots.intervals(named, x_label=f"difference in {metric_name(metric)}")
                shown.append(Figures([Plot(drawing, f"{title}, with its 95 % interval, language by language", title)]))
            if len(pairs) == 1 or len(own) > len([row for row in own if row in pooled]):
                shown.append(_table([("", row) for row in own]))
            # One pair is what the reader came for; of many, each on demand.
            if shown and len(pairs) == 1:
                blocks += shown
            elif shown:
                details.append((title, shown))
    return Section("comparisons", "Run against run", blocks, details) if blocks else None


def _origin(comparison: Comparison, record: object) -> str:
    """Which run and seed a difference is of, where there are several."""
    if len(comparison.records) == 1:
        return ""
    found = next(own for own in comparison.records if own is record)
    seed = seed_of(found)
    parts = [found.run if len(comparison.runs) > 1 else None, None if seed is None else f"seed {seed}"]
    return ", ".join(part for part in parts if part)


def _told(differences: Sequence[Difference]) -> str:
    resamples = sorted({difference.n_resamples for difference in differences})
    text = f"Paired bootstrap over the same questions, {' to '.join(f'{n:,}' for n in resamples)} resamples."
    n_unsure = sum(difference.low <= 0 <= difference.high for difference in differences)
    if n_unsure:
        text += (
            f" In {n_unsure} of {len(differences)} rows the interval holds zero: these questions do not tell the two "
        )
        text += "apart."
    return text


def _figures(rows: Sequence[tuple[str, Difference]]) -> list[Block]:
    """One plot for each metric; none where its rows would be too many to read."""
    of_metric: dict[str, list[plots.Interval]] = defaultdict(list)
    pairs = {(row.system, row.baseline) for _, row in rows}
    is_one = len(pairs) == 1 and all(origin for origin, _ in rows)
    for origin, row in rows:
        on = "" if row.dataset == "all" else f", {row.dataset}"
        name = f"{row.system} less {row.baseline}{on}" + (f" ({origin})" if origin else "")
        name = origin + on if is_one else name
        of_metric[row.metric].append(plots.Interval(name, row.mean, row.low, row.high))
    drawn = []
    for metric, found in of_metric.items():
        if 1 < len(found) <= _MOST_ROWS:
            drawing = plots.intervals(found, x_label=f"difference in {metric_name(metric)}")
            words = f"Differences in {metric_name(metric)} with their 95 % intervals; hollow where zero is inside"
            drawn.append(Plot(drawing, words, " less ".join(next(iter(pairs))) if is_one else ""))
    return [Figures(drawn)] if drawn else []


def _table(rows: Sequence[tuple[str, Difference]]) -> Table:
    has_origin = any(origin for origin, _ in rows)
    pairs = {(row.system, row.baseline) for _, row in rows}
    is_one = len(pairs) == 1 and len(rows) > 1 and not has_origin
    cells = []
    for origin, found in rows:
        n_resamples = max(found.n_resamples, 1)
        # A share of resamples: none at all says only that it is below one of them.
        p_value = f"< {2 / n_resamples:g}" if found.p_value == 0 else f"{found.p_value:.3f}"
        on = "all questions" if found.dataset == "all" else found.dataset
        if found.dataset == "all" and found.language != "all":
            on = language_name(found.language)
        cells.append(
            [
                *([] if is_one else [Cell(f"{found.system} less {found.baseline}")]),
                *([Cell(origin)] if has_origin else []),
                Cell(on),
                Cell(metric_name(found.metric)),
                Cell(signed(found.mean), is_number=True),
                Cell(f"{signed(found.low)} to {signed(found.high)}", is_number=True),
                Cell(p_value, is_number=True),
                count(found.n_questions),
            ]
        )
    columns = ["Difference", *(["Of"] if has_origin else []), "On", "Metric", "Mean", "95 % interval", "p", "Questions"]
    if is_one:
        return Table(columns[1:], cells, " less ".join(next(iter(pairs))) + ".")
    return Table(columns, cells)
