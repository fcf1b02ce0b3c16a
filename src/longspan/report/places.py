"""By the place of the answer and the length of the document, from the answers themselves."""

import math
from collections import defaultdict
from collections.abc import Callable
from statistics import fmean

from longspan.records import Answer
from longspan.report import plots
from longspan.report.blocks import Cell, Figures, Plot, Section, Table, Text, count, number
from longspan.report.canvas import parted
from longspan.report.comparison import Comparison
from longspan.report.names import metric_name

_N_DEPTHS = 10


def depth_section(comparison: Comparison) -> Section | None:
    """By slot of the paragraph that holds the answer, or by depth in the document where there are no slots."""
    if any(record.places for record in comparison.records):
        return None  # `where` shows these, length by length
    slots = {answer.slot for _, answer in comparison.answers() if answer.slot is not None}
    if len(slots) > 1:
        table, figures = _grouped(
            comparison, lambda a: a.slot, lambda slot: str(slot + 1), "Paragraph", "paragraph that holds the answer"
        )
        intro = (
            "The documents are paragraphs joined. Which of them holds the answer decides how far a system has to see."
        )
        return Section("places", "By the place of the answer", [Text(intro), table, figures])

    def bin_of(answer: Answer) -> int | None:
        return None if answer.depth is None else min(int(answer.depth * _N_DEPTHS), _N_DEPTHS - 1)

    if len({bin_of(answer) for _, answer in comparison.answers()} - {None}) < 2:
        return None
    table, figures = _grouped(
        comparison,
        bin_of,
        lambda part: f"{100 * part // _N_DEPTHS}–{100 * (part + 1) // _N_DEPTHS} %",
        "Depth",
        "depth",
    )
    intro = "Where the answer starts in its document: 0 % is the first letter, 100 % the last."
    return Section("places", "By the depth of the answer", [Text(intro), table, figures])


def lengths_section(comparison: Comparison) -> Section | None:
    """By the length of question and document together."""
    if any(place.unit == "tokens" for record in comparison.records for place in record.places):
        return None  # `where` shows it

    def bin_of(answer: Answer) -> int | None:
        # Bins (2^(k-1), 2^k]; everything up to 128 tokens is one bin.
        return None if answer.n_tokens is None else max(7, math.ceil(math.log2(max(answer.n_tokens, 1))))

    def label(power: int) -> str:
        return "up to 128" if power == 7 else f"{2 ** (power - 1) + 1:,}–{2**power:,}"

    if len({bin_of(answer) for _, answer in comparison.answers()} - {None}) < 2:
        return None
    table, figures = _grouped(comparison, bin_of, label, "Tokens", "tokens, question and document")
    return Section("lengths", "By the length of the document", [table, figures])


def _grouped(
    comparison: Comparison,
    group_of: Callable[[Answer], int | None],
    label: Callable[[int], str],
    column: str,
    x_label: str,
) -> tuple[Table, Figures]:
    """Mean of the first metric over the answers of each group: a shaded table and a line for each system."""
    metric = comparison.metrics[0]
    values: dict[tuple[str, int], list[float]] = defaultdict(list)
    for system, answer in comparison.answers():
        group = group_of(answer)
        if group is not None and metric in answer.metrics:
            values[system, group].append(answer.metrics[metric])
    groups = sorted({group for _, group in values})
    systems = [system for system in comparison.systems if any((system, group) in values for group in groups)]
    means = {key: fmean(found) for key, found in values.items()}
    top = max(means.values(), default=0.0) or 1.0
    rows = []
    for group in groups:
        cells = [means.get((system, group)) for system in systems]
        n_answers = max(len(values.get((system, group), [])) // comparison.n_seeds(system) for system in systems)
        shaded = [number(mean, shade=None if mean is None else mean / top) for mean in cells]
        rows.append([Cell(label(group)), *shaded, count(n_answers)])
    name = metric_name(metric)
    table = Table([column, *systems, "Questions"], rows, f"{name}; the stronger the colour, the better.")
    series = {
        system: [
            plots.Line([(groups.index(group), means[system, group]) for group in groups if (system, group) in means])
        ]
        for system in systems
    }
    ticks = list(enumerate(map(label, groups)))
    drawn = [
        Plot(
            plots.lines(part, x_label=x_label, y_label=f"{name}, per cent", x_ticks=ticks, y_range=(0, 1.05 * top)),
            f"{name} by {x_label}, one line for each system: {', '.join(part)}",
        )
        for part in parted(series)
    ]
    return table, Figures(drawn)
