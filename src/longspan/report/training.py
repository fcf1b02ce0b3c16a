"""The section about training runs: their cost and their losses."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from longspan.records import TrainingRecord
from longspan.report import plots
from longspan.report.blocks import Block, Cell, Figures, Plot, Section, Table, Text, count, number
from longspan.report.canvas import colour_order, parted
from longspan.wording import duration

_CURVES = (
    ("loss", "training loss"),
    ("eval_loss", "evaluation loss"),
    ("eval_bits_per_token", "evaluation, bits per token"),
    ("learning_rate", "learning rate"),
)


def training_section(records: Sequence[TrainingRecord]) -> Section | None:
    """Cost and losses of each run; seeds of one run share a colour."""
    if not records:
        return None
    blocks: list[Block] = [_table(records)]
    runs: dict[str, list[TrainingRecord]] = defaultdict(list)
    for record in records:
        runs[record.name].append(record)
    drawn: list[Plot] = []
    for key, what in _CURVES:
        curves: dict[str, list[plots.Line]] = {}
        for name, own in runs.items():
            found = [plots.Line(points) for record in own if len(points := _curve(record, key)) > 1]
            if found:
                curves[name] = found
        # The learning rate follows from the recipe, so it is not drawn for many runs.
        if curves and not (key == "learning_rate" and len(curves) > 1):
            drawn += _drawn(curves, what, list(runs))
    blocks += [Figures(drawn)] if drawn else []
    told = []
    for record in records:
        counts = [f"{name.replace('_', ' ')}: {value:,}" for name, value in record.counts.items()]
        text = f"{_name(record, records)}: attention {record.attention_backend}."
        told.append(Text(text + (f" Data: {', '.join(counts)}." if counts else ""), is_note=True))
    if len(told) > 4:
        return Section("training", "Training", blocks, [("Attention and data of each run", told)])
    return Section("training", "Training", [*blocks, *told])


def _table(records: Sequence[TrainingRecord]) -> Table:
    rows = []
    for record in records:
        losses = [step.values["loss"] for step in record.steps if "loss" in step.values]
        rows.append(
            [
                Cell(record.name),
                Cell("–" if record.made.seed is None else str(record.made.seed), is_number=True),
                count(record.n_examples),
                count(record.n_features),
                number(record.epochs, 2),
                count(record.n_steps),
                Cell(duration(record.seconds), is_number=True),
                Cell(duration(record.seconds / record.n_steps) if record.n_steps else "–", is_number=True),
                Cell(f"{record.peak_memory_gib:.2f} GiB", is_number=True),
                number(losses[-1] if losses else None, 3),
            ]
        )
    columns = [
        "Run",
        "Seed",
        "Examples",
        "Windows",
        "Epochs",
        "Steps",
        "Time",
        "Time a step",
        "Peak memory",
        "Last loss",
    ]
    return Table(columns, rows)


def _drawn(curves: Mapping[str, Sequence[plots.Line]], what: str, runs: Sequence[str]) -> list[Plot]:
    values = [y for own in curves.values() for line in own for _, y in line.points]
    room = 0.05 * (max(values) - min(values)) or 0.1
    parts = parted(curves)
    # The parts of a plot share one scale.
    y_range = (min(values) - room, max(values) + room) if len(parts) > 1 else None
    return [
        Plot(
            plots.lines(
                part, x_label="step", y_label=what, y_range=y_range, with_markers=False, order=colour_order(runs, part)
            ),
            f"{what} by step: {', '.join(part)}",
        )
        for part in parts
    ]


def _curve(record: TrainingRecord, key: str) -> list[tuple[float, float]]:
    return [(step.step, step.values[key]) for step in record.steps if math.isfinite(step.values.get(key, math.nan))]


def _name(record: TrainingRecord, records: Sequence[TrainingRecord]) -> str:
    """Names of the runs, with the seed if several runs have the same name."""
    is_alone = sum(other.name == record.name for other in records) == 1
    return record.name if is_alone else f"{record.name}, seed {record.made.seed}"
