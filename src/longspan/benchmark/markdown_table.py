"""A benchmark record as a Markdown table: time and spread, peak memory, ratio to ours and to the floor."""

from collections.abc import Iterable

from longspan.records import BenchmarkRecord, Timing

FLOORS = ("useful operations at the matmul rate", "bytes at the copy bandwidth")


def as_table(record: BenchmarkRecord) -> str:
    """The table, one line per measurement, with ours in bold; `ours / it` below 1 means that ours is faster."""
    lines = [
        "| what | tokens | system | median ms (20 % to 80 %) | peak MiB | ours / it | time / floor |",
        "|---|---:|---|---:|---:|---:|---:|",
    ]
    for timing in record.timings:
        what = timing.what if len({t.dtype for t in record.timings}) == 1 else f"{timing.what}, {timing.dtype}"
        name = f"**{timing.system}**" if timing.is_chosen else timing.system
        cells = [what, f"{timing.n_tokens:,}", name, *_measured(timing, record.timings)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _measured(timing: Timing, timings: Iterable[Timing]) -> list[str]:
    if timing.left_out is not None:
        return [f"left out: {timing.left_out}", "", "", ""]
    low, middle, high = (1e3 * s for s in (timing.q20_seconds, timing.median_seconds, timing.q80_seconds))
    memory = "" if timing.peak_memory_bytes is None else f"{timing.peak_memory_bytes / 2**20:.0f}"
    ours = next((t for t in timings if t.is_chosen and _cell(t) == _cell(timing) and t.left_out is None), None)
    ratio = "" if ours is None or ours is timing else _ratio(ours.median_seconds / timing.median_seconds)
    # The higher floor is the binding one.
    floors = [timing.ratio_to[name] for name in FLOORS if name in timing.ratio_to]
    return [f"{middle:.1f} ({low:.1f} to {high:.1f})", memory, ratio, f"{min(floors):.2f}" if floors else ""]


def _cell(timing: Timing) -> tuple[str, int, str]:
    return timing.what, timing.n_tokens, timing.dtype


def _ratio(ratio: float) -> str:
    return f"1/{1 / ratio:.1f}" if 0 < ratio < 1 else f"{ratio:.2f}"
