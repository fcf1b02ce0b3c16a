"""The sections made from evaluation records: who answered how well, where, and what it cost."""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from longspan.records import Answer, Difference, EvaluationRecord, Score
from longspan.report import plots
from longspan.report.blocks import Block, Cell, Figures, Section, Table, Text, count, duration, number
from longspan.report.examples import examples_of

# How a metric is called on the page; others keep their own name.
METRIC_NAMES = {
    "f1": "F1",
    "em": "EM",
    "f1_squad": "F1, English rules",
    "em_squad": "EM, English rules",
    "HasAns_f1": "F1, answerable",
    "HasAns_exact": "EM, answerable",
    "NoAns_f1": "F1, unanswerable",
    "NoAns_exact": "EM, unanswerable",
    "best_f1": "F1 at best threshold",
    "best_exact": "EM at best threshold",
}
_COUNT_NAMES = {
    "gold_not_read": "Gold answer not read",
    "gold_not_in_document": "Gold answer not in its document",
    "no_prediction": "No prediction",
    "empty_answers": "Empty answers",
}
LANGUAGE_NAMES = {
    "ar": "Arabic",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "fr": "French",
    "hi": "Hindi",
    "it": "Italian",
    "ro": "Romanian",
    "ru": "Russian",
    "sv": "Swedish",
    "th": "Thai",
    "tr": "Turkish",
    "vi": "Vietnamese",
    "zh": "Chinese",
}


@dataclass(frozen=True)
class Comparison:
    """Evaluation records that show the same systems on the same questions with different seeds; mostly one record."""

    records: Sequence[EvaluationRecord]

    @property
    def name(self) -> str:
        """What the evaluation was called."""
        return self.records[0].name

    @property
    def systems(self) -> list[str]:
        """Names of the systems, in the order of the record."""
        return list(dict.fromkeys(score.system for record in self.records for score in record.scores))

    @property
    def families(self) -> list[str]:
        """Data sets without their language (`xquad` of `xquad.el`), in the order of the record."""
        return list(dict.fromkeys(family(score) for record in self.records for score in record.scores))

    @property
    def metrics(self) -> list[str]:
        """The one or two metrics that the overview shows; the first decides which system is called best."""
        names = list(
            dict.fromkeys(name for record in self.records for score in record.scores for name in score.metrics)
        )
        return [name for name in ("f1", "em") if name in names] or names[:2]

    def languages(self, in_family: str) -> list[str]:
        """Languages of one family of data sets, in the order of the record."""
        scores = [score for record in self.records for score in record.scores]
        return list(dict.fromkeys(score.language for score in scores if family(score) == in_family))

    def values(self, metric: str, system: str, in_family: str, language: str | None = None) -> list[float]:
        """One value for each record: the mean over the family's languages, or one language's own."""
        result = []
        for record in self.records:
            chosen = [
                score.metrics[metric]
                for score in record.scores
                if (score.system, family(score)) == (system, in_family)
                and metric in score.metrics
                and language in {None, score.language}
            ]
            if chosen:
                result.append(fmean(chosen))
        return result

    def n_questions(self) -> int:
        """Questions that each system answered (of the system with most)."""
        record = self.records[0]
        return max(
            (sum(score.n_questions for score in record.scores if score.system == name) for name in self.systems),
            default=0,
        )

    def mean(self, metric: str, system: str) -> float | None:
        """Mean over families, languages and seeds."""
        values = [value for name in self.families for value in self.values(metric, system, name)]
        return fmean(values) if values else None

    def best_system(self) -> str | None:
        """The system with the highest mean of the first metric."""
        if not self.metrics:
            return None
        means = {system: self.mean(self.metrics[0], system) for system in self.systems}
        known = {system: value for system, value in means.items() if value is not None}
        return max(known, key=known.__getitem__) if known else None


def family(score: Score | Answer) -> str:
    """The data set's name without its language."""
    return re.sub(rf"[._-]{re.escape(score.language)}(?=[._\s-]|$)", "", score.dataset) or score.dataset


def comparisons(records: Sequence[EvaluationRecord]) -> list[Comparison]:
    """Records of different seeds of the same evaluation stand together, all others alone."""
    groups: dict[object, list[EvaluationRecord]] = defaultdict(list)
    for index, record in enumerate(records):
        cells = frozenset((score.system, score.dataset, score.language, score.n_questions) for score in record.scores)
        key: object = (record.name, record.protocol, cells)
        seeds = {other.made.seed for other in groups[key]}
        if record.made.seed is None or record.made.seed in seeds:
            key = index
        groups[key].append(record)
    return [Comparison(group) for group in groups.values() if group]


def score_sections(comparison: Comparison, prefix: str = "", title_prefix: str = "") -> list[Section]:
    """Every section that this comparison has the figures for."""
    if not comparison.metrics:
        return []
    makers = (_overview, _languages, _places, _lengths, _differences, _squad_v2)
    sections = [section for maker in makers if (section := maker(comparison)) is not None]
    sections += examples_of(comparison.records[0].answers, comparison.best_system(), comparison.metrics[0])
    return [
        Section(prefix + section.anchor, title_prefix + section.title, section.blocks, section.details)
        for section in sections
    ]


def metric_name(metric: str) -> str:
    """A metric as the page calls it."""
    return METRIC_NAMES.get(metric, metric)


def language_name(code: str) -> str:
    """A language as the page calls it, its code behind."""
    return f"{LANGUAGE_NAMES[code]} ({code})" if code in LANGUAGE_NAMES else code


def _overview(comparison: Comparison) -> Section:
    systems, several = comparison.systems, len(comparison.families) > 1
    columns = ["System"]
    cells: dict[str, list[Cell]] = {system: [Cell(system)] for system in systems}
    for in_family in comparison.families:
        for metric in comparison.metrics:
            columns.append(f"{metric_name(metric)}, {in_family}" if several else metric_name(metric))
            _add_column(cells, {name: comparison.values(metric, name, in_family) for name in systems})
    scores = [score for record in comparison.records for score in record.scores]
    seconds = {
        name: [s.seconds_per_question for s in scores if s.system == name and s.seconds_per_question is not None]
        for name in systems
    }
    if any(seconds.values()):
        columns.append("Time a question")
        for name in systems:
            cells[name].append(Cell(duration(fmean(seconds[name])) if seconds[name] else "–", is_number=True))
    peaks = {
        name: [s.peak_memory_gib for s in scores if s.system == name and s.peak_memory_gib is not None]
        for name in systems
    }
    if any(peaks.values()):
        columns.append("Peak memory")
        for name in systems:
            cells[name].append(Cell(f"{max(peaks[name]):.2f} GiB" if peaks[name] else "–", is_number=True))
    _add_counts(columns, cells, comparison.records[0].scores)
    blocks: list[Block] = [Table(columns, list(cells.values()), _caption(comparison))]
    return Section("overview", "How the systems compare", blocks)


def _caption(comparison: Comparison) -> str:
    n_languages = len({score.language for score in comparison.records[0].scores})
    caption = f"{comparison.n_questions():,} questions, every one counted"
    caption += f"; means over {n_languages} languages" if n_languages > 1 else ""
    n_seeds = len(comparison.records)
    return caption + (f", ± standard deviation over {n_seeds} seeds." if n_seeds > 1 else ".")


def _add_counts(columns: list[str], cells: dict[str, list[Cell]], scores: Sequence[Score]) -> None:
    """One column for each thing that was counted, such as gold answers outside what was read."""
    names = list(dict.fromkeys(name for score in scores for name in score.counts))
    for name in names:
        columns.append(_COUNT_NAMES.get(name, name.replace("_", " ").capitalize()))
        for system, row in cells.items():
            row.append(count(sum(score.counts.get(name, 0) for score in scores if score.system == system)))


def _add_column(cells: dict[str, list[Cell]], values: dict[str, list[float]]) -> None:
    """A metric's column: mean (and deviation over seeds), the best in bold."""
    means = {name: fmean(found) for name, found in values.items() if found}
    best = max(means.values(), default=0.0)
    for name, row in cells.items():
        row.append(_mean_cell(values[name], best, mark=len(means) > 1))


def _mean_cell(values: Sequence[float], best: float, *, mark: bool, shade: float | None = None) -> Cell:
    if not values:
        return number(None)
    text = f"{fmean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")
    return Cell(text, mark and math.isclose(fmean(values), best), shade, is_number=True)


def _languages(comparison: Comparison) -> Section | None:
    if all(len(comparison.languages(name)) < 2 for name in comparison.families):
        return None
    metric = comparison.metrics[0]
    blocks: list[Block] = []
    more: list[Block] = []
    for name in comparison.families:
        languages = comparison.languages(name)
        if len(languages) < 2:
            continue
        blocks.append(_language_table(comparison, metric, name))
        series: dict[str, list[float | None]] = {}
        for system in comparison.systems:
            found = [comparison.values(metric, system, name, language) for language in languages]
            series[system] = [fmean(values) if values else None for values in found]
        plot = plots.bars(languages, series, x_label="language", y_label=f"{metric_name(metric)}, per cent")
        blocks.append(Figures([(plot, f"{metric_name(metric)} of each system in each language, {name}")], is_wide=True))
        known = {key for score in comparison.records[0].scores for key in score.metrics}
        others = [key for key in ("em", "f1_squad", "em_squad") if key in known and key != metric]
        more += [_language_table(comparison, key, name) for key in others]
    details = [("Other metrics, language by language", more)] if more else []
    return Section("languages", f"{metric_name(metric)} in each language", blocks, details)


def _language_table(comparison: Comparison, metric: str, in_family: str) -> Table:
    rows = []
    for language in [*comparison.languages(in_family), None]:
        values = {name: comparison.values(metric, name, in_family, language) for name in comparison.systems}
        best = max((fmean(found) for found in values.values() if found), default=0.0)
        marks = sum(map(bool, values.values())) > 1
        title = "mean" if language is None else language_name(language)
        rows.append([Cell(title), *(_mean_cell(found, best, mark=marks) for found in values.values())])
    return Table(["Language", *comparison.systems], rows, f"{metric_name(metric)}, {in_family}; the best in bold.")


def _places(comparison: Comparison) -> Section | None:
    """By slot of the paragraph that holds the answer, or by depth in the document where there are no slots."""
    slots = {answer.slot for record in comparison.records for answer in record.answers if answer.slot is not None}
    if len(slots) > 1:
        table, plot = _grouped(
            comparison, lambda a: a.slot, lambda slot: str(slot + 1), "Paragraph", "paragraph that holds the answer"
        )
        intro = (
            "The documents are paragraphs joined. Which of them holds the answer decides how far a system has to see."
        )
        return Section("places", "By the place of the answer", [Text(intro), table, plot])
    n_bins = 10

    def bin_of(answer: Answer) -> int | None:
        return None if answer.depth is None else min(int(answer.depth * n_bins), n_bins - 1)

    if len({bin_of(answer) for answer in comparison.records[0].answers} - {None}) < 2:
        return None
    table, plot = _grouped(
        comparison, bin_of, lambda part: f"{100 * part // n_bins}–{100 * (part + 1) // n_bins} %", "Depth", "depth"
    )
    intro = "Where the answer starts in its document: 0 % is the first letter, 100 % the last."
    return Section("places", "By the depth of the answer", [Text(intro), table, plot])


def _lengths(comparison: Comparison) -> Section | None:
    def bin_of(answer: Answer) -> int | None:
        # Bins (2^(k-1), 2^k]; everything up to 128 tokens is one bin.
        return None if answer.n_tokens is None else max(7, math.ceil(math.log2(max(answer.n_tokens, 1))))

    def label(power: int) -> str:
        return "up to 128" if power == 7 else f"{2 ** (power - 1) + 1:,}–{2**power:,}"

    if len({bin_of(answer) for answer in comparison.records[0].answers} - {None}) < 2:
        return None
    table, plot = _grouped(comparison, bin_of, label, "Tokens", "tokens, question and document")
    return Section("lengths", "By the length of the document", [table, plot])


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
    for record in comparison.records:
        for answer in record.answers:
            group = group_of(answer)
            if group is not None and metric in answer.metrics:
                values[answer.system, group].append(answer.metrics[metric])
    groups = sorted({group for _, group in values})
    systems = [system for system in comparison.systems if any((system, group) in values for group in groups)]
    means = {key: fmean(found) for key, found in values.items()}
    top = max(means.values(), default=0.0) or 1.0
    rows = []
    for group in groups:
        cells = [means.get((system, group)) for system in systems]
        n_answers = max(len(values.get((system, group), [])) for system in systems)
        shaded = [number(mean, shade=None if mean is None else mean / top) for mean in cells]
        rows.append([Cell(label(group)), *shaded, count(n_answers)])
    name = metric_name(metric)
    table = Table([column, *systems, "Questions"], rows, f"{name}; the stronger the colour, the better.")
    series = {
        system: [(groups.index(group), means[system, group]) for group in groups if (system, group) in means]
        for system in systems
    }
    ticks = list(enumerate(map(label, groups)))
    if len(ticks) > 6 and max(len(text) for _, text in ticks) > 4:
        ticks = ticks[:: math.ceil(len(ticks) / 5)]
    plot = plots.lines(series, x_label=x_label, y_label=f"{name}, per cent", x_ticks=ticks, from_zero=True)
    return table, Figures([(plot, f"{name} by {x_label}, one line for each system")])


def _differences(comparison: Comparison) -> Section | None:
    found = [difference for record in comparison.records for difference in record.differences]
    if not found:
        return None
    # Over all questions first; data set by data set on demand, where there are several.
    whole = [difference for difference in found if difference.dataset == "all"]
    main, rest = (whole, [difference for difference in found if difference.dataset != "all"]) if whole else (found, [])
    n_unsure = sum(difference.low <= 0 <= difference.high for difference in main)
    text = f"Paired bootstrap over the same questions, {found[0].n_resamples:,} resamples."
    if n_unsure:
        text += f" In {n_unsure} of {len(main)} rows the interval holds zero: the questions do not tell the two apart."
    details = [("Data set by data set", [_difference_table(rest)])] if rest else []
    return Section("differences", "Are the differences real?", [Text(text), _difference_table(main)], details)


def _difference_table(differences: Sequence[Difference]) -> Table:
    rows = []
    for found in differences:
        n_resamples = max(found.n_resamples, 1)
        # A share of resamples: none at all says only that it is below one of them.
        p_value = f"< {2 / n_resamples:g}" if found.p_value == 0 else f"{found.p_value:.3f}"
        rows.append(
            [
                Cell(f"{found.system} less {found.baseline}"),
                Cell("all questions" if found.dataset == "all" else found.dataset),
                Cell(metric_name(found.metric)),
                Cell(f"{found.mean:+.1f}", is_number=True),
                Cell(f"{found.low:+.1f} to {found.high:+.1f}", is_number=True),
                Cell(p_value, is_number=True),
                count(found.n_questions),
            ]
        )
    return Table(["Difference", "On", "Metric", "Mean", "95 % interval", "p", "Questions"], rows)


def _squad_v2(comparison: Comparison) -> Section | None:
    names = ("HasAns_f1", "HasAns_exact", "NoAns_f1", "NoAns_exact", "best_f1", "best_exact")
    scores = [score for score in comparison.records[0].scores if any(name in score.metrics for name in names)]
    if not scores:
        return None
    rows = [
        [Cell(score.system), Cell(score.dataset), *(number(score.metrics.get(name)) for name in names)]
        for score in scores
    ]
    text = (
        "Scores at the best threshold are chosen on these same questions, as the SQuAD 2.0 script does: an upper bound."
    )
    table = Table(["System", "Data", *map(metric_name, names)], rows)
    return Section("unanswerable", "Questions without an answer", [table, Text(text, is_note=True)])
