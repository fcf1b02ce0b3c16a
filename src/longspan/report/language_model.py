"""The section about pre-training: losses of a masked language model before and after, at several lengths."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from longspan.records import LanguageModelScore, TrainingRecord
from longspan.report import plots
from longspan.report.blocks import Block, Cell, Figures, Plot, Section, Table, Text, number
from longspan.report.canvas import colour_order, parted
from longspan.report.names import LANGUAGE_NAMES, some

# Runs drawn in one plot, before and after each.
_MOST_RUNS = 4


class _Source(NamedTuple):
    """A source of text that was evaluated."""

    dataset: str
    language: str

    @property
    def title(self) -> str:
        """Its name for a heading."""
        if self.dataset == "all":
            return "all sources"
        return f"{self.dataset}, {LANGUAGE_NAMES[self.language]}" if self.language in LANGUAGE_NAMES else self.dataset


def language_model_section(records: Sequence[TrainingRecord]) -> Section | None:
    """Bits per token against length, before and after, per run and source; None without pre-training runs."""
    runs = _runs([record for record in records if record.language_model])
    if not runs:
        return None
    sources = list(
        dict.fromkeys(_Source(score.dataset, score.language) for scores in runs.values() for score in scores)
    )
    sources.sort(key=lambda source: source.dataset != "all")  # all together first
    blocks: list[Block] = [Text(_intro(runs))]
    if len(_lengths(runs)) > 1:
        blocks.append(Figures([plot for source in sources for plot in _by_length(runs, source)]))
    blocks += [_table(runs, sources, "bits_per_token", "Bits per token")]
    details: list[tuple[str, Sequence[Block]]] = []
    if any(score.bits_per_character is not None for scores in runs.values() for score in scores):
        details.append(
            ("Bits per character", [_table(runs, sources, "bits_per_character", "Bits per character of the text")])
        )
    positions = [plot for source in sources for plot in _by_position(runs, source)]
    if positions:
        blocks.append(Text("Loss by the position of the predicted token, in inputs of the greatest length:"))
        blocks.append(Figures(positions[:2]))
        if len(positions) > 2:
            details.append(("Loss by position, the other sources", [Figures(positions[2:])]))
    return Section("language-model", "The language model before and after", blocks, details)


def _runs(records: Sequence[TrainingRecord]) -> dict[str, list[LanguageModelScore]]:
    """Scores of each run; runs of the same name are distinguished by their seed, else by their order."""
    names = [record.name for record in records]
    seeded = [f"{record.name}, seed {record.made.seed}" for record in records]
    result = {}
    for index, record in enumerate(records):
        name = record.name
        if names.count(name) > 1:
            name = seeded[index] if seeded.count(seeded[index]) == 1 else f"{seeded[index]} ({index + 1})"
        result[name] = list(record.language_model)
    return result


def _intro(runs: Mapping[str, Sequence[LanguageModelScore]]) -> str:
    every = [score for scores in runs.values() for score in scores]
    n_asked = sorted({score.n_predicted for score in [s for s in every if s.dataset != "all"] or every})
    span = some(n_asked[0], "token") if len(n_asked) == 1 else f"{n_asked[0]:,} to {n_asked[-1]:,} tokens"
    text = f"Mean loss of a masked token in bits, over {span} of each source; lower is better. "
    if len(_lengths(runs)) > 1:
        text += "The same tokens are predicted at every length, so a falling line means that the model uses the longer "
        text += "context. "
    return text + "Dashed: before the first step; solid: after the last."


def _lengths(runs: Mapping[str, Sequence[LanguageModelScore]]) -> list[int]:
    return sorted({score.n_tokens for scores in runs.values() for score in scores})


def _by_length(runs: Mapping[str, Sequence[LanguageModelScore]], source: _Source) -> list[Plot]:
    series: dict[str, list[plots.Line]] = {}
    for name, scores in runs.items():
        found = []
        for when in ("final", "initial"):
            points = sorted((s.n_tokens, s.bits_per_token) for s in _of(scores, source, when))
            if points:
                found.append(plots.Line(points, is_dashed=when == "initial"))
        if found:
            series[name] = found
    # The plots of all sources share one scale.
    values = [s.bits_per_token for scores in runs.values() for s in scores if math.isfinite(s.bits_per_token)] or [0.0]
    room = 0.05 * (max(values) - min(values)) or 0.1
    y_range = (min(values) - room, max(values) + room)
    words = f"Bits per token against tokens per input, {source.title}, before (dashed) and after"
    return [
        Plot(
            plots.lines(
                part,
                x_label="tokens seen at once",
                y_label="bits per token",
                is_log=True,
                order=colour_order(runs, part),
                y_range=y_range,
            ),
            f"{words}: {', '.join(part)}",
            source.title,
        )
        for part in parted(series, _MOST_RUNS)
    ]


def _by_position(runs: Mapping[str, Sequence[LanguageModelScore]], source: _Source) -> list[Plot]:
    series: dict[str, list[plots.Line]] = {}
    longest = 0
    for name, scores in runs.items():
        found = []
        for when in ("final", "initial"):
            own = [score for score in _of(scores, source, when) if score.loss_by_position]
            if own:
                score = max(own, key=lambda score: score.n_tokens)
                longest = max(longest, score.n_tokens)
                points = sorted((_middle(where), loss) for where, loss in score.loss_by_position.items())
                found.append(plots.Line(points, is_dashed=when == "initial"))
        if any(len(line.points) > 1 for line in found):
            series[name] = found
    words = f"Loss by position in inputs of {longest:,} tokens, {source.title}, before (dashed) and after"
    return [
        Plot(
            plots.lines(
                part,
                x_label="position in the input",
                y_label="loss, nats",
                with_markers=False,
                order=colour_order(runs, part),
            ),
            f"{words}: {', '.join(part)}",
            source.title,
        )
        for part in parted(series, _MOST_RUNS)
    ]


def _middle(where: str) -> float:
    """Of a stretch `first-last`."""
    first, _, last = where.partition("-")
    return (float(first) + float(last or first)) / 2


def _of(scores: Sequence[LanguageModelScore], source: _Source, when: str) -> list[LanguageModelScore]:
    found = [s for s in scores if (s.dataset, s.language, s.when) == (*source, when)]
    return [score for score in found if math.isfinite(score.bits_per_token)]


def _table(
    runs: Mapping[str, Sequence[LanguageModelScore]], sources: Sequence[_Source], field: str, title: str
) -> Table:
    """A table with a row per source and run, before and after, and a column per length."""
    lengths = _lengths(runs)
    best: dict[tuple[_Source, int], float] = defaultdict(lambda: float("inf"))
    for scores in runs.values():
        for score in scores:
            value = getattr(score, field)
            if value is not None:
                key = _Source(score.dataset, score.language), score.n_tokens
                best[key] = min(best[key], value)
    # All runs of a model have the same scores before training, which are shown once.
    rows, seen = [], set()
    for source in sources:
        for name, scores in runs.items():
            for when, told in (("initial", "before"), ("final", "after")):
                found = {score.n_tokens: getattr(score, field) for score in _of(scores, source, when)}
                if not any(value is not None for value in found.values()):
                    continue
                cells = [
                    number(found.get(n), 3, is_best=len(runs) > 1 and found.get(n) == best[source, n]) for n in lengths
                ]
                key = (source, told, *(cell.text for cell in cells))
                if told == "before" and key in seen:
                    continue
                seen.add(key)
                rows.append([Cell(source.title), Cell(name), Cell(told), *cells])
    caption = f"{title}; the columns are tokens per input" + ("; the lowest in bold." if len(runs) > 1 else ".")
    if len(runs) > 1:
        caption += " A row before training that equals an earlier one is not repeated."
    return Table(["Source", "Run", "When", *(f"{n:,}" for n in lengths)], rows, caption)
