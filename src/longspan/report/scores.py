"""Sections about evaluation records: scores of each system, by language, with time and memory."""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

from longspan.records import Metric
from longspan.report import plots
from longspan.report.blocks import Block, Cell, Figures, Plot, Section, Table, count
from longspan.report.canvas import parted
from longspan.report.comparison import Comparison, Entry, column, family
from longspan.report.differences import differences_section
from longspan.report.examples import examples_of
from longspan.report.metric_display import axis_label, mean_cell
from longspan.report.names import count_name, language_name, language_pair, some, without_length
from longspan.report.places import depth_section, lengths_section
from longspan.report.task_sections import SECTIONS
from longspan.report.where import where_section
from longspan.wording import duration

# With more families than this, families are rows of the table instead of columns.
_MOST_COLUMNS = 2
# Number of families whose languages are shown; those of others are collapsed.
_MOST_OPEN = 2
# Number of metrics whose languages are shown; a task may have a metric per class.
_MOST_METRICS = 4


def score_sections(comparison: Comparison, prefix: str = "", group: str = "") -> list[Section]:
    """Return the sections that this comparison has data for; `group` is put before their titles."""
    if not comparison.metrics:
        return []
    makers = (
        _overview,
        *SECTIONS.get(comparison.task, ()),
        _languages,
        where_section,
        depth_section,
        lengths_section,
        differences_section,
    )
    sections = [section for maker in makers if (section := maker(comparison)) is not None]
    items = [(name, item) for name, entries in comparison.lines.items() for item in entries[0].items]
    sections += examples_of(items, comparison.best_system(), comparison.metrics[0])
    return [
        Section(
            prefix + section.anchor,
            f"{group}: {section.title}" if group else section.title,
            section.blocks,
            section.details,
            group,
        )
        for section in sections
    ]


def _overview(comparison: Comparison) -> Section:
    blocks: list[Block] = [_whole(comparison)]
    costs = _costs(comparison)
    if costs:
        blocks.append(Figures(costs))
    n_families = len(comparison.families)
    details = [(f"Each of the {n_families} data sets", [_each(comparison)])] if n_families > _MOST_COLUMNS else []
    return Section("overview", "How the systems compare", blocks, details)


def _whole(comparison: Comparison) -> Table:
    """One row per line; one column per metric, and per family if there are few."""
    systems, n_families = comparison.systems, len(comparison.families)
    columns = ["System"]
    cells: dict[str, list[Cell]] = {system: [Cell(system)] for system in systems}
    for in_family in comparison.families if n_families <= _MOST_COLUMNS else [None]:
        for metric in comparison.metrics:
            columns.append(f"{metric.label}, {in_family}" if n_families > 1 and in_family else metric.label)
            found = {
                name: comparison.values(metric, name, in_family) if in_family else comparison.seed_means(metric, name)
                for name in systems
            }
            for name, cell in column(metric, found).items():
                cells[name].append(cell)
    _add_seeds(columns, cells, comparison)
    _add_costs(columns, cells, comparison)
    _add_counts(columns, cells, comparison)
    return Table(columns, list(cells.values()), _caption(comparison))


def _each(comparison: Comparison) -> Table:
    """One row per line and family."""
    columns = ["System", "Data", *(metric.label for metric in comparison.metrics), comparison.heading]
    rows = []
    for in_family in comparison.families:
        found = {
            metric: column(metric, {name: comparison.values(metric, name, in_family) for name in comparison.systems})
            for metric in comparison.metrics
        }
        for name in comparison.systems:
            if comparison.n_items(name, in_family):
                cells = [found[metric][name] for metric in comparison.metrics]
                rows.append([Cell(name), Cell(in_family), *cells, count(comparison.n_items(name, in_family))])
    return Table(columns, rows, _caption(comparison))


def _caption(comparison: Comparison) -> str:
    n_languages = len({score.language for score in comparison.records[0].scores})
    caption = f"{some(comparison.n_items(), comparison.noun)}, every one counted"
    n_families = len(comparison.families)
    caption += f"; means over {n_families} data sets" if n_families > _MOST_COLUMNS else ""
    caption += (
        f"{' and' if n_families > _MOST_COLUMNS else '; means over'} {n_languages} languages" if n_languages > 1 else ""
    )
    n_seeds = sorted({comparison.n_seeds(name) for name in comparison.systems})
    if n_seeds[-1] > 1:
        seeds = f"{n_seeds[0]}" if len(n_seeds) == 1 else f"{n_seeds[0]} to {n_seeds[-1]}"
        caption += f", ± standard deviation over {seeds} seeds"
    return caption + "."


def _add_seeds(columns: list[str], cells: Mapping[str, list[Cell]], comparison: Comparison) -> None:
    if len({comparison.n_seeds(name) for name in cells}) > 1:
        columns.append("Seeds")
        for name, row in cells.items():
            row.append(count(comparison.n_seeds(name)))


def _add_costs(columns: list[str], cells: Mapping[str, list[Cell]], comparison: Comparison) -> None:
    seconds = {name: comparison.seconds(name) for name in cells}
    if any(seconds.values()):
        columns.append(f"Time per {comparison.noun}")
        for name, row in cells.items():
            row.append(Cell(duration(taken) if (taken := seconds[name]) else "–", is_number=True))
    of_line = {name: [score for entry in comparison.lines[name] for score in entry.scores] for name in cells}
    peaks = {name: [s.peak_memory_gib for s in found if s.peak_memory_gib] for name, found in of_line.items()}
    if any(peaks.values()):
        columns.append("Peak memory")
        for name, row in cells.items():
            row.append(Cell(f"{max(peaks[name]):.2f} GiB" if peaks[name] else "–", is_number=True))


def _add_counts(columns: list[str], cells: Mapping[str, list[Cell]], comparison: Comparison) -> None:
    """Add a column per count, such as gold answers that were not read."""
    entries: dict[str, Entry] = {name: comparison.lines[name][0] for name in cells}
    names = dict.fromkeys(name for entry in entries.values() for score in entry.scores for name in score.counts)
    for name in names:
        if name.startswith("thesis_"):  # the section on the thesis' protocol shows these
            continue
        columns.append(comparison.count_labels.get(name) or count_name(name))
        for system, row in cells.items():
            row.append(count(sum(score.counts.get(name, 0) for score in entries[system].scores)))


def _costs(comparison: Comparison) -> list[Plot]:
    """Plot the score against the time; None if there is a single line."""
    metric = comparison.metrics[0]
    points = {}
    for name in comparison.systems:
        seconds, mean = comparison.seconds(name), comparison.mean(metric, name)
        if seconds and mean is not None:
            points[name] = (seconds, mean)
    if len(points) < 2:
        return []
    title = f"{metric.label} against seconds per {comparison.noun}"
    y_label = f"mean {axis_label(metric)}"
    return [
        Plot(
            plots.costs(part, x_label=f"seconds per {comparison.noun}", y_label=y_label), f"{title}: {', '.join(part)}"
        )
        for part in parted(points)
    ]


def _languages(comparison: Comparison) -> Section | None:
    metric = comparison.metrics[0]
    # If lengths are compared, the section about places shows the languages.
    n_lengths = Counter(map(without_length, comparison.families))
    has_places = any(record.places for record in comparison.records)
    several = [
        name
        for name in comparison.families
        if len(comparison.languages(name)) > 1 and not (has_places and n_lengths[without_length(name)] > 1)
    ]
    if not several:
        return None
    blocks: list[Block] = []
    more: list[Block] = []
    for name in several[:_MOST_OPEN]:
        blocks += _language_blocks(comparison, metric, name)
    others = comparison.all_metrics[1:_MOST_METRICS]
    for name in several[:_MOST_OPEN]:
        more += [_language_table(comparison, other, name) for other in others]
    details: list[tuple[str, Sequence[Block]]] = []
    for name in several[_MOST_OPEN:]:
        details.append((f"{metric.label} in each language, {name}", _language_blocks(comparison, metric, name)))
    pairs = _pairs(comparison, metric)
    if pairs:
        details.append(("Languages of text and question", pairs))
    if more:
        details.append(("Other metrics, language by language", more))
    return Section("languages", f"{metric.label} in each language", blocks, details)


def _language_blocks(comparison: Comparison, metric: Metric, in_family: str) -> list[Block]:
    """A table of languages, and bars with their deviation over seeds."""
    languages = comparison.languages(in_family)
    series: dict[str, list[plots.Bar | None]] = {}
    for system in comparison.systems:
        found = [comparison.values(metric, system, in_family, language) for language in languages]
        series[system] = [
            plots.Bar(fmean(values), stdev(values) if len(values) > 1 else None) if values else None for values in found
        ]
    y_label = axis_label(metric)
    title = f"{metric.label} of each system in each language, {in_family}"
    has_spread = any(bar is not None and bar.deviation is not None for bars in series.values() for bar in bars)
    title += "; thin lines: standard deviation over seeds" if has_spread else ""
    drawn = [
        Plot(plots.bars(languages, part, x_label="language", y_label=y_label), f"{title}: {', '.join(part)}")
        for part in parted(series)
    ]
    is_wide = plots.are_wide(languages, parted(series)[0])
    return [_language_table(comparison, metric, in_family), Figures(drawn, is_wide=is_wide)]


def _language_table(comparison: Comparison, metric: Metric, in_family: str) -> Table:
    # Lines or languages are the columns, whichever are fewer.
    languages = comparison.languages(in_family)
    of_language: dict[str | None, dict[str, Cell]] = {}
    for language in [*languages, None]:
        values = {name: comparison.values(metric, name, in_family, language) for name in comparison.systems}
        of_language[language] = column(metric, values)
    caption = f"{metric.label}, {in_family}; the best in bold."
    if len(comparison.systems) > len(languages):
        rows = [[Cell(name), *(cells[name] for cells in of_language.values())] for name in comparison.systems]
        return Table(["System", *languages, "mean"], rows, caption)
    asked = {s.language: s.n_items for s in reversed(comparison.scores) if family(s) == in_family}
    rows = [
        [
            Cell("mean" if language is None else language_name(language)),
            *cells.values(),
            count(sum(asked.values()) if language is None else asked[language]),
        ]
        for language, cells in of_language.items()
    ]
    return Table(["Language", *comparison.systems, comparison.heading], rows, caption)


def _pairs(comparison: Comparison, metric: Metric) -> list[Block]:
    """A table of language pairs per line: languages of texts are rows, those of questions are columns."""
    found: dict[str, dict[tuple[str, str], list[float]]] = {}
    for name, entries in comparison.lines.items():
        for score in (score for entry in entries for score in entry.scores):
            pair = language_pair(score.dataset)
            if pair is not None and metric.name in score.metrics:
                found.setdefault(name, {}).setdefault(pair, []).append(score.metrics[metric.name])
    blocks: list[Block] = []
    for name, pairs in found.items():
        if all(text == question for text, question in pairs):
            continue
        texts = sorted({text for text, _ in pairs})
        questions = sorted({question for _, question in pairs})
        top = max((fmean(values) for values in pairs.values()), default=0.0) or 1.0
        rows = []
        for text in texts:
            values = [pairs.get((text, question), []) for question in questions]
            shaded = [mean_cell(metric, found, top=top) for found in values]
            rows.append([Cell(language_name(text)), *shaded])
        caption = f"{metric.label} of “{name}”: language of the text down, of the question across."
        blocks.append(Table(["Text", *questions], rows, caption))
    return blocks
