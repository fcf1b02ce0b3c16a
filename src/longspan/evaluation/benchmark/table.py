"""A benchmark record as a Markdown table: milliseconds with their spread, peak memory, our time over each peer's."""

from longspan.records import BenchmarkRecord, Timing


def as_table(record: BenchmarkRecord) -> str:
    """One line a measurement; the ratios are those of the first system, its time / the other's: below 1 is faster."""
    first = record.timings[0].system if record.timings else ""
    lines = [
        "| what | tokens | system | median ms (20 % to 80 %) | peak MiB | time / other's |",
        "|---|---:|---|---:|---:|---|",
    ]
    for timing in record.timings:
        cells = [timing.what, f"{timing.n_tokens:,}", timing.system, *_measured(timing, timing.system == first)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _measured(timing: Timing, with_ratios: bool) -> list[str]:
    if timing.left_out is not None:
        return [f"left out: {timing.left_out}", "", ""]
    low, middle, high = (1e3 * s for s in (timing.q20_seconds, timing.median_seconds, timing.q80_seconds))
    memory = "" if timing.peak_memory_bytes is None else f"{timing.peak_memory_bytes / 2**20:.0f}"
    ratios = "; ".join(f"{_ratio(ratio)} {other}" for other, ratio in timing.ratio_to.items() if with_ratios)
    return [f"{middle:.1f} ({low:.1f} to {high:.1f})", memory, ratios]


def _ratio(ratio: float) -> str:
    return f"1/{1 / ratio:.1f}" if 0 < ratio < 1 else f"{ratio:.2f} x"
