"""Sections about benchmark records: time and memory against length, and ratios to longspan."""

from collections.abc import Sequence
from pathlib import Path

from longspan.errors import InputError
from longspan.records import BenchmarkRecord, Timing
from longspan.report.blocks import Block, Cell, Figures, Plot, Section, Table, Text, count, memory
from longspan.report.growth import Growth, Ratios, growth, ratios, save_picture
from longspan.wording import duration

_FLOORS = ("useful operations at the matmul rate", "bytes at the copy bandwidth")
# Names of the chosen system in records from before `Timing.is_chosen`.
_OURS = "longspan"


# Tables with more rows than this are collapsed.
_MOST_OPEN = 20


def benchmark_section(records: Sequence[BenchmarkRecord]) -> Section | None:
    """Plots on logarithmic axes and a table per measured operation."""
    blocks: list[Block] = []
    details: list[tuple[str, Sequence[Block]]] = []
    for record in records:
        if len(records) > 1:
            blocks.append(Text(f"{record.name}, on {_device(record)}."))
        else:
            blocks.append(Text(f"Measured on {_device(record)}, all systems in one process."))
        for what, dtype in _whats(record):
            measured = _measured(_about(record, what, dtype), f"{what}, {dtype}")
            table = measured[-1]
            if isinstance(table, Table) and len(table.rows) > _MOST_OPEN and len(measured) > 2:
                of = f", {record.name}" if len(records) > 1 else ""
                details.append((f"Every measurement of {what}, {dtype}{of}", [table]))
                measured = measured[:-1]
            blocks += measured
    return Section("timings", "Time and memory against length", blocks, details) if blocks else None


def save_benchmark_picture(
    record: BenchmarkRecord, what: str, dtype: str, path: str | Path, *, ratios: bool = False
) -> Path:
    """Save a picture of time and memory against length, like Figure 1 of the Longformer paper.

    Args:
        record: what was measured.
        what: `Timing.what` of what to draw.
        dtype: its precision.
        path: a .png or .svg file.
        ratios: draw each system's time over ours instead.

    Raises:
        InputError: the record holds nothing of the kind, or the path cannot be written.
    """
    timings = _about(record, what, dtype)
    wanted = [_ratio_plot(timings)] if ratios else [_time_plot(timings), _memory_plot(timings)]
    drawn = [plot for plot in wanted if plot is not None]
    if not drawn:
        raise InputError(f"the record has no measurement of {what!r} in {dtype}")
    settings = record.settings
    shape = f", {settings['heads']} heads x {settings['width']}" if "heads" in settings else ""
    window = f", window {settings['window']}" if "window" in settings else ""
    return save_picture(drawn, path, f"{what}, {dtype}{shape}{window}; {_device(record)}")


def _device(record: BenchmarkRecord) -> str:
    machine = record.made.machine
    return machine.gpu or f"{machine.processor}, {machine.cores} cores"


def _whats(record: BenchmarkRecord) -> list[tuple[str, str]]:
    return list(dict.fromkeys((timing.what, timing.dtype) for timing in record.timings))


def _about(record: BenchmarkRecord, what: str, dtype: str) -> list[Timing]:
    return [timing for timing in record.timings if (timing.what, timing.dtype) == (what, dtype)]


def _measured(timings: Sequence[Timing], title: str) -> list[Block]:
    figures = []
    several = len({timing.n_tokens for timing in timings if timing.left_out is None}) > 1
    time_plot, memory_plot, ratio_plot = _time_plot(timings), _memory_plot(timings), _ratio_plot(timings)
    if several and time_plot is not None:
        figures.append(Plot(growth(time_plot), f"{title}: seconds against tokens, both axes logarithmic"))
    if several and memory_plot is not None:
        figures.append(Plot(growth(memory_plot), f"{title}: peak memory against tokens, both axes logarithmic"))
    blocks: list[Block] = [Text(title + ":"), *([Figures(figures)] if figures else [])]
    if ratio_plot is not None:
        blocks.append(Figures([Plot(ratios(ratio_plot), f"{title}: time of each over ours")], is_wide=True))
    return [*blocks, _table(timings)]


def _is_ours(timing: Timing) -> bool:
    return timing.is_chosen or timing.system == _OURS


def _leader(timings: Sequence[Timing]) -> str | None:
    """The system that longspan would choose at the greatest measured length."""
    own = [timing for timing in timings if _is_ours(timing) and timing.left_out is None]
    return max(own, key=lambda timing: timing.n_tokens).system if own else None


def _systems(timings: Sequence[Timing]) -> list[str]:
    """Sort the systems: longspan first, then other implementations, then variants of longspan."""
    leader = _leader(timings)
    names = list(dict.fromkeys(timing.system for timing in timings if timing.left_out is None))
    return sorted(names, key=lambda name: 0 if name == leader else 2 if name.startswith(_OURS) else 1)


def _growth(timings: Sequence[Timing], of: dict[str, list[tuple[float, float]]], y_label: str,
            bands: dict[str, list[tuple[float, float]]] | None = None) -> Growth | None:  # fmt: skip
    leader = _leader(timings)
    beside = [name for name in of if name.startswith(_OURS) and name != leader]
    return Growth(of, "tokens", y_label, bands, leader, beside, _systems(timings)) if of else None


def _time_plot(timings: Sequence[Timing]) -> Growth | None:
    series, bands = {}, {}
    for system in _systems(timings):
        own = _own(timings, system)
        series[system] = [(t.n_tokens, t.median_seconds) for t in own]
        bands[system] = [(t.q20_seconds, t.q80_seconds) for t in own]
    return _growth(timings, series, "seconds, median", bands)


def _memory_plot(timings: Sequence[Timing]) -> Growth | None:
    peaks = {}
    for system in _systems(timings):
        known = [(t.n_tokens, t.peak_memory_bytes / 2**30) for t in _own(timings, system) if t.peak_memory_bytes]
        if known:
            peaks[system] = known
    return _growth(timings, peaks, "peak memory, GiB")


def _ratio_plot(timings: Sequence[Timing]) -> Ratios | None:
    """The time of each other implementation over longspan's, at lengths where both were measured."""
    lengths = sorted({timing.n_tokens for timing in timings})
    ours = {t.n_tokens: t.median_seconds for t in timings if _is_ours(t) and t.left_out is None}
    series = {}
    for system in _systems(timings):
        theirs = {t.n_tokens: t.median_seconds for t in _own(timings, system) if not _is_ours(t)}
        values = [theirs[n] / ours[n] if n in theirs and ours.get(n) and theirs[n] > 0 else None for n in lengths]
        if any(value is not None for value in values):
            series[system] = values
    if not series:
        return None
    return Ratios([f"{n:,}" for n in lengths], series, "tokens", "time over ours", _systems(timings))


def _own(timings: Sequence[Timing], system: str) -> list[Timing]:
    found = [timing for timing in timings if timing.system == system and timing.left_out is None]
    return sorted(found, key=lambda timing: timing.n_tokens)


def _table(timings: Sequence[Timing]) -> Table:
    has_memory = any(timing.peak_memory_bytes for timing in timings)
    has_floor = any(name in timing.ratio_to for timing in timings for name in _FLOORS)
    ours = {t.n_tokens: t for t in timings if _is_ours(t) and t.left_out is None}
    columns = ["System", "Tokens", "Median", "20 to 80 %", *(["Peak memory"] if has_memory else [])]
    columns += [*(["Ours over it"] if ours else []), *(["Time over floor"] if has_floor else [])]
    rows = []
    for timing in timings:
        row = [Cell(f"{timing.system} (ours)" if _is_ours(timing) else timing.system), count(timing.n_tokens)]
        if timing.left_out is not None:
            row += [Cell(f"left out: {timing.left_out}"), _number(None)]
        else:
            spread = f"{duration(timing.q20_seconds)} to {duration(timing.q80_seconds)}"
            row += [Cell(duration(timing.median_seconds), is_number=True), Cell(spread, is_number=True)]
        if has_memory:
            row.append(Cell(memory(timing.peak_memory_bytes) if timing.peak_memory_bytes else "–", is_number=True))
        if ours:
            own = ours.get(timing.n_tokens)
            known = own is not None and own is not timing and timing.left_out is None and timing.median_seconds > 0
            row.append(_number(own.median_seconds / timing.median_seconds if own and known else None))
        if has_floor:
            row.append(_number(min((timing.ratio_to[name] for name in _FLOORS if name in timing.ratio_to),
                                   default=None)))  # fmt: skip
        rows.append(row)
    caption = f"Median of up to {max(timing.repeats for timing in timings)} repeats."
    if ours:
        caption += " (ours): what longspan takes by itself. Ours over it: below 1, ours is faster."
    if has_floor:
        caption += " Floor: the operations and bytes nobody can do without, at the rates measured in the same run."
    return Table(columns, rows, caption)


def _number(value: float | None) -> Cell:
    return Cell("–" if value is None else f"{value:.2f}", is_number=True)
