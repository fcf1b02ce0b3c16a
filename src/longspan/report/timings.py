"""The sections made from benchmark records: time and memory against length."""

from collections.abc import Sequence

from longspan.records import BenchmarkRecord, Timing
from longspan.report import plots
from longspan.report.blocks import Block, Cell, Figures, Section, Table, Text, count, duration, memory


def benchmark_section(records: Sequence[BenchmarkRecord]) -> Section | None:
    """Plots on logarithmic axes and a table for each thing that was measured."""
    blocks: list[Block] = []
    for record in records:
        if len(records) > 1:
            blocks.append(Text(f"{record.name}, on {_device(record)}."))
        else:
            blocks.append(Text(f"Measured on {_device(record)}, all systems in one process."))
        for what, dtype in dict.fromkeys((timing.what, timing.dtype) for timing in record.timings):
            blocks += _measured([t for t in record.timings if (t.what, t.dtype) == (what, dtype)], f"{what}, {dtype}")
    return Section("timings", "Time and memory against length", blocks) if blocks else None


def _device(record: BenchmarkRecord) -> str:
    machine = record.made.machine
    return machine.gpu or f"{machine.processor}, {machine.cores} cores"


def _measured(timings: Sequence[Timing], title: str) -> list[Block]:
    systems = list(dict.fromkeys(timing.system for timing in timings))
    done = [timing for timing in timings if timing.left_out is None]
    series, bands, peaks = {}, {}, {}
    for system in systems:
        own = sorted((timing for timing in done if timing.system == system), key=lambda timing: timing.n_tokens)
        if own:
            series[system] = [(t.n_tokens, t.median_seconds) for t in own]
            bands[system] = [(t.q20_seconds, t.q80_seconds) for t in own]
        known = [(t.n_tokens, t.peak_memory_bytes / 2**30) for t in own if t.peak_memory_bytes]
        if known:
            peaks[system] = known
    figures = []
    if series:
        plot = plots.growth(series, x_label="tokens", y_label="seconds, median", bands=bands)
        figures.append((plot, f"{title}: seconds against tokens, both axes logarithmic"))
    if peaks:
        plot = plots.growth(peaks, x_label="tokens", y_label="peak memory, GiB")
        figures.append((plot, f"{title}: peak memory against tokens, both axes logarithmic"))
    return [Text(title + ":"), *([Figures(figures)] if figures else []), _table(timings)]


def _table(timings: Sequence[Timing]) -> Table:
    others = list(dict.fromkeys(name for timing in timings for name in timing.ratio_to))
    has_memory = any(timing.peak_memory_bytes for timing in timings)
    columns = ["System", "Tokens", "Median", "20 to 80 %", *(["Peak memory"] if has_memory else [])]
    columns += [f"Time over {name}" for name in others]
    rows = []
    for timing in timings:
        row = [Cell(timing.system), count(timing.n_tokens)]
        if timing.left_out is not None:
            row += [Cell(f"left out: {timing.left_out}"), Cell("–", is_number=True)]
        else:
            spread = f"{duration(timing.q20_seconds)} to {duration(timing.q80_seconds)}"
            row += [Cell(duration(timing.median_seconds), is_number=True), Cell(spread, is_number=True)]
        if has_memory:
            row.append(Cell(memory(timing.peak_memory_bytes) if timing.peak_memory_bytes else "–", is_number=True))
        for name in others:
            row.append(Cell(f"{timing.ratio_to[name]:.2f}" if name in timing.ratio_to else "–", is_number=True))
        rows.append(row)
    caption = f"Median of up to {max(timing.repeats for timing in timings)} repeats."
    if others:
        caption += " Below 1 is faster than the other."
    return Table(columns, rows, caption)
