"""Scores by the place of the evidence and the length of the document, from the items of a record."""

import math
from collections import defaultdict
from collections.abc import Callable
from statistics import fmean

from longspan.records import Item
from longspan.report import plots
from longspan.report.blocks import Cell, Figures, Plot, Section, Table, Text, count
from longspan.report.canvas import parted
from longspan.report.comparison import Comparison
from longspan.report.metric_display import axis_label, value_cell

_N_DEPTHS = 10


def depth_section(comparison: Comparison) -> Section | None:
    """Scores by the slot of the paragraph with the answer, or by depth in the document if there are no slots."""
    if any(record.places for record in comparison.records):
        return None  # `where` shows these, length by length
    slots = {item.variant for _, item in comparison.items() if item.variant is not None}
    if len(slots) > 1:
        table, figures = _grouped(
            comparison,
            lambda item: item.variant,
            lambda slot: str(slot + 1),
            "Paragraph",
            "paragraph that holds the answer",
        )
        intro = (
            "The documents are joined paragraphs. The place of the paragraph with the answer determines how far a "
            "system has to read."
        )
        return Section("places", "By the place of the answer", [Text(intro), table, figures])

    def bin_of(item: Item) -> int | None:
        depth = item.extra.get("depth")
        return None if depth is None else min(int(depth * _N_DEPTHS), _N_DEPTHS - 1)

    if len({bin_of(item) for _, item in comparison.items()} - {None}) < 2:
        return None
    table, figures = _grouped(
        comparison,
        bin_of,
        lambda part: f"{100 * part // _N_DEPTHS}–{100 * (part + 1) // _N_DEPTHS} %",
        "Depth",
        "depth",
    )
    intro = "Place of the start of the answer in its document: 0 % is the first letter, 100 % the last."
    return Section("places", "By the depth of the answer", [Text(intro), table, figures])


def lengths_section(comparison: Comparison) -> Section | None:
    """Return scores by the tokens of the whole input; None if the section about places shows them."""
    if any(place.unit == "tokens" for record in comparison.records for place in record.places):
        return None  # `where` shows it

    def bin_of(item: Item) -> int | None:
        # Bins (2^(k-1), 2^k]; everything up to 128 tokens is one bin.
        return None if item.n_tokens is None else max(7, math.ceil(math.log2(max(item.n_tokens, 1))))

    def label(power: int) -> str:
        return "up to 128" if power == 7 else f"{2 ** (power - 1) + 1:,}–{2**power:,}"

    if len({bin_of(item) for _, item in comparison.items()} - {None}) < 2:
        return None
    table, figures = _grouped(comparison, bin_of, label, "Tokens", "tokens of the whole input")
    return Section("lengths", "By the length of the document", [table, figures])


def _grouped(
    comparison: Comparison,
    group_of: Callable[[Item], int | None],
    label: Callable[[int], str],
    column: str,
    x_label: str,
) -> tuple[Table, Figures]:
    """Return the mean of the first metric over the items of each group: a shaded table, and a line per system."""
    metric = comparison.metrics[0]
    values: dict[tuple[str, int], list[float]] = defaultdict(list)
    for system, item in comparison.items():
        group = group_of(item)
        if group is not None and metric.name in item.metrics:
            values[system, group].append(item.metrics[metric.name])
    groups = sorted({group for _, group in values})
    systems = [system for system in comparison.systems if any((system, group) in values for group in groups)]
    means = {key: fmean(found) for key, found in values.items()}
    top = max(means.values(), default=0.0) or 1.0
    rows = []
    for group in groups:
        cells = [means.get((system, group)) for system in systems]
        n_items = max(len(values.get((system, group), [])) // comparison.n_seeds(system) for system in systems)
        shaded = [value_cell(metric, mean, top=top) for mean in cells]
        rows.append([Cell(label(group)), *shaded, count(n_items)])
    name = metric.label
    table = Table([column, *systems, comparison.heading], rows, f"{name}; the stronger the colour, the better.")
    series = {
        system: [
            plots.Line([(groups.index(group), means[system, group]) for group in groups if (system, group) in means])
        ]
        for system in systems
    }
    ticks = list(enumerate(map(label, groups)))
    drawn = [
        Plot(
            plots.lines(part, x_label=x_label, y_label=axis_label(metric), x_ticks=ticks, y_range=(0, 1.05 * top)),
            f"{name} by {x_label}, one line for each system: {', '.join(part)}",
        )
        for part in parted(series)
    ]
    return table, Figures(drawn)
