"""The section "Where long context helps": scores by document length, place of the answer, language and system."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from longspan.records import Metric, Place
from longspan.report import plots
from longspan.report.blocks import Block, Cell, Figures, Plot, Section, Table, Text, count
from longspan.report.canvas import parted
from longspan.report.comparison import Comparison
from longspan.report.heat_map import Field, Row, edges, heat_map, scale
from longspan.report.metric_display import axis_label, digits, goodness, scale_top, value_cell, value_text
from longspan.report.names import family_name, language_name, some, without_length

# Figures of fewer questions are marked, because their standard error can be 50 / sqrt(20) = 11 points and more.
_FEW = 20


class _Own(NamedTuple):
    """A place and the line of its system."""

    line: str
    place: Place


class _Mean(NamedTuple):
    """Mean over questions, and the number of questions in one record."""

    value: float
    n_items: int


class _Topic(NamedTuple):
    """Places that belong to one heat map: the same data set in documents of several lengths."""

    name: str
    unit: str
    owns: list[_Own]


def where_section(comparison: Comparison) -> Section | None:
    """Heat maps of length and place, one per line, with their tables."""
    metric = comparison.metrics[0]
    topics: dict[tuple[str, str], list[_Own]] = defaultdict(list)
    for line, entries in comparison.lines.items():
        for entry in entries:
            for place in entry.record.places:
                if place.system == entry.system and math.isfinite(place.metrics.get(metric.name, math.nan)):
                    name = without_length(family_name(place.dataset, place.language))
                    topics[name, place.unit].append(_Own(line, place))
    if not topics:
        return None
    blocks: list[Block] = []
    details: list[tuple[str, Sequence[Block]]] = []
    for (name, unit), owns in topics.items():
        topic = _Topic(name, unit, owns)
        blocks += _shown(comparison, topic, metric)
        behind = f", {name}" if len(topics) > 1 else ""
        details.append((f"Every place in numbers{behind}", [_every_place(comparison, topic, metric)]))
        if len({own.place.language for own in owns}) > 1:
            details.append((f"Every language{behind}", _by_language(comparison, topic, metric)))
    return Section("where", "Where long context helps", blocks, details)


def _shown(comparison: Comparison, topic: _Topic, metric: Metric) -> list[Block]:
    """The blocks that are not collapsed: all languages together."""
    name = metric.label
    lengths = _lengths(topic.owns)
    blocks: list[Block] = [Text(_intro(comparison, topic, metric))]
    by_length = _means(comparison, topic.owns, metric, lambda own: (own.line, own.place.length))
    lines = list(dict.fromkeys(own.line for own in topic.owns))
    if len(lengths) > 1:
        series = {line: [_line({n: by_length[line, n] for n in lengths if (line, n) in by_length})] for line in lines}
        top = scale_top(metric, (mean.value for mean in by_length.values()))
        drawn = [
            Plot(
                plots.lines(
                    part,
                    x_label=f"{topic.unit} of the document",
                    y_label=axis_label(metric),
                    is_log=True,
                    y_range=(0, top),
                ),
                f"{name} against the length of the document in {topic.unit}: {', '.join(part)}",
            )
            for part in parted(series)
        ]
        blocks.append(Figures(drawn))
    rows = []
    for line in lines:
        cells = [by_length.get((line, n)) for n in lengths]
        rows.append([Cell(line), *(value_cell(metric, None if cell is None else cell.value) for cell in cells)])
    asked = [max(mean.n_items for (_, n), mean in by_length.items() if n == length) for length in lengths]
    rows.append([Cell(f"{comparison.noun}s"), *(count(n) for n in asked)])
    caption = f"{name} by the length of the document in {topic.unit}, mean over {comparison.noun}s."
    has_few = any(mean.n_items < _FEW for mean in by_length.values())
    caption += f" Hollow above: fewer than {_FEW} {comparison.noun}s." if has_few and len(lengths) > 1 else ""
    blocks.append(Table(["System", *(f"{n:,}" for n in lengths)], rows, caption))
    spreads = _spreads(comparison, topic, metric, lines, lengths)
    if spreads is not None:
        blocks.append(spreads)
    maps = _maps(comparison, topic.owns, metric, topic.unit)
    if maps:
        top = scale_top(metric, (own.place.metrics[metric.name] for own in topic.owns))
        dark, bright = ("0", f"{top:g}") if metric.higher_is_better else (f"{top:g}", "0")
        words = f"Colours of the heat maps: {name} from {dark}, dark, to {bright}, bright"
        blocks.append(Figures([*maps, Plot(scale(dark, bright, name), words)]))
        at = _means(comparison, topic.owns, metric, lambda own: (own.line, own.place.length, *_where(own.place)))
        if any(mean.n_items < _FEW for mean in at.values()):
            blocks.append(Text(f"In brackets: fewer than {_FEW} {comparison.noun}s."))
    return blocks


def _line(means: Mapping[int, _Mean]) -> plots.Line:
    """Means by length."""
    few = {n for n, mean in means.items() if mean.n_items < _FEW}
    return plots.Line([(n, mean.value) for n, mean in means.items()], hollow=few)


def _intro(comparison: Comparison, topic: _Topic, metric: Metric) -> str:
    lengths = _lengths(topic.owns)
    n_languages = len({own.place.language for own in topic.owns})
    line = topic.owns[0].line
    n = sum(own.place.n_items for own in topic.owns if own.line == line) // comparison.n_seeds(line)
    span = f"{lengths[0]:,}" if len(lengths) == 1 else f"{lengths[0]:,} to {lengths[-1]:,}"
    text = f"{topic.name}: {some(n, comparison.noun)} in documents of {span} {topic.unit}"
    text += f", in {n_languages} languages together" if n_languages > 1 else ""
    return text + f". Each field is the mean {metric.label} of the {comparison.noun}s with the answer at that place."


def _spreads(
    comparison: Comparison, topic: _Topic, metric: Metric, lines: Sequence[str], lengths: Sequence[int]
) -> Table | None:
    """Difference between the best and the worst place of each system, at each length."""
    at = _means(comparison, topic.owns, metric, lambda own: (own.line, own.place.length, *_where(own.place)))
    values: dict[tuple[str, int], list[float]] = defaultdict(list)
    for (line, length, is_nowhere, *_), mean in at.items():
        if not is_nowhere:
            values[line, length].append(mean.value)
    shown = [n for n in lengths if any(len(values[line, n]) > 1 for line in lines)]
    if not shown:
        return None
    rows = []
    for line in lines:
        found = [values[line, n] for n in shown]
        rows.append([Cell(line), *(value_cell(metric, max(own) - min(own) if len(own) > 1 else None) for own in found)])
    caption = f"Best place minus worst place, {metric.label}, by length in {topic.unit}: 0 means the same at every "
    return Table(["System", *(f"{n:,}" for n in shown)], rows, caption + "place.")


def _maps(comparison: Comparison, owns: Sequence[_Own], metric: Metric, unit: str, language: str = "") -> list[Plot]:
    """One heat map per line with more than one field."""
    at = _means(comparison, owns, metric, lambda own: (own.line, own.place.length, *_where(own.place)))
    top = scale_top(metric, (own.place.metrics[metric.name] for own in owns))
    drawn = []
    for line in dict.fromkeys(own.line for own in owns):
        rows = []
        for length in _lengths(owns):
            places = sorted((key[2:], mean) for key, mean in at.items() if key[:2] == (line, length) and not key[2])
            fields = []
            for (where, mean), (left, right) in zip(places, edges([depth for (_, depth, _), _ in places]), strict=True):
                told = (
                    f"{some(length, unit[:-1])}, {_place_name(where)}: {value_text(metric, mean.value)}, "
                    f"{some(mean.n_items, comparison.noun)}"
                )
                number_text = f"{mean.value:.{digits(metric) - 1}f}"
                number_text = f"({number_text})" if mean.n_items < _FEW else number_text
                fields.append(Field(left, right, goodness(metric, mean.value, top), number_text, told))
            if fields:
                rows.append(Row(f"{length:,}", fields))
        if sum(len(row.fields) for row in rows) < 2:
            continue
        drawing = heat_map(rows, x_label="place of the answer in its document", y_label=unit)
        words = f"Heat map of {line}{language}: {metric.label} by length and place of the answer. "
        words += "; ".join(
            f"{row.label} {unit}: {', '.join(field.number.strip('()') for field in row.fields)}" for row in rows
        )
        drawn.append(Plot(drawing, words, line + language))
    return drawn


def _every_place(comparison: Comparison, topic: _Topic, metric: Metric) -> Table:
    lines = list(dict.fromkeys(own.line for own in topic.owns))
    at = _means(comparison, topic.owns, metric, lambda own: (own.line, own.place.length, *_where(own.place)))
    keys = sorted({key[1:] for key in at})
    top = max((mean.value for mean in at.values()), default=0.0) or 1.0
    rows = []
    for length, *rest in keys:
        where = (rest[0], rest[1], rest[2])
        found = [at.get((line, length, *rest)) for line in lines]
        shaded = [value_cell(metric, None if f is None else f.value, top=top) for f in found]
        n_items = max(f.n_items for f in found if f is not None)
        rows.append([Cell(f"{some(length, topic.unit[:-1])}, {_place_name(where)}"), *shaded, count(n_items)])
    return Table(["Place", *lines, comparison.heading], rows, f"{metric.label}, all languages together.")


def _by_language(comparison: Comparison, topic: _Topic, metric: Metric) -> list[Block]:
    """A row in the table of lengths per language, and the language's heat maps."""
    lengths = _lengths(topic.owns)
    languages = list(dict.fromkeys(own.place.language for own in topic.owns))
    lines = list(dict.fromkeys(own.line for own in topic.owns))
    means = _means(comparison, topic.owns, metric, lambda own: (own.place.language, own.line, own.place.length))
    top = max((mean.value for mean in means.values()), default=0.0) or 1.0
    rows = []
    for language in languages:
        for line in lines:
            found = [means.get((language, line, n)) for n in lengths]
            shaded = [value_cell(metric, None if f is None else f.value, top=top) for f in found]
            asked = sum(f.n_items for f in found if f is not None)
            rows.append([Cell(language_name(language)), Cell(line), *shaded, count(asked)])
    columns = ["Language", "System", *(f"{n:,}" for n in lengths), comparison.heading]
    caption = f"{metric.label} by the length of the document in {topic.unit}."
    blocks: list[Block] = [Table(columns, rows, caption)]
    for language in languages:
        owns = [own for own in topic.owns if own.place.language == language]
        maps = _maps(comparison, owns, metric, topic.unit, f", {language_name(language)}")
        if maps:
            blocks.append(Figures(maps))
    return blocks


def _means(
    comparison: Comparison, owns: Iterable[_Own], metric: Metric, key_of: Callable[[_Own], tuple]
) -> Mapping[tuple, _Mean]:
    """Mean over the questions of all places with the same key."""
    sums: dict[tuple, list[float]] = defaultdict(lambda: [0.0, 0.0])
    n_seeds: dict[tuple, int] = {}
    for own in owns:
        key, n = key_of(own), own.place.n_items
        sums[key][0] += n * own.place.metrics[metric.name]
        sums[key][1] += n
        n_seeds[key] = comparison.n_seeds(own.line)
    return {key: _Mean(total / n, round(n / n_seeds[key])) for key, (total, n) in sums.items() if n}


def _where(place: Place) -> tuple[bool, float, int]:
    """Sort key by depth; places without a depth come last."""
    return place.depth is None, place.depth or 0.0, -1 if place.slot is None else place.slot


def _place_name(where: tuple[bool, float, int]) -> str:
    is_nowhere, depth, slot = where
    if is_nowhere:
        return "no gold answer in the document"
    return f"depth {100 * depth:.0f}\u00a0%" if slot < 0 else f"answer in paragraph {slot + 1}"


def _lengths(owns: Sequence[_Own]) -> list[int]:
    return sorted({own.place.length for own in owns})
