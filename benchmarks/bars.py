"""The bars of speed, memory and answers, each met or missed by the newest record of its run.

Example:
  python benchmarks/bars.py          # every bar
  python benchmarks/bars.py cpu      # those of the CPU

`tables.py` writes the same tables into README.md and docs/benchmarks.md.
"""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from longspan.records import BenchmarkRecord, Timing, read_record

sys.path.insert(0, str(Path(__file__).parent))
from answer_bars import ANSWER_BARS
from bar import Bar, NotMeasuredError
from runs import newest
from table_text import table

FORWARD, BOTH = "attention forward", "attention forward + backward"
ENCODER, STEP = "encoder forward", "masked LM step"
LONGFORMER, FULL, FLEX = "transformers Longformer", "SDPA full attention", "FlexAttention"
FULL_MODEL = "XLM-R, SDPA full attention"
FLOOR = "useful operations at the matmul rate"
_GROWTH = 16  # 65,536 tokens over 4,096
_ALMOST_NOTHING = 0.05


def _cells(record: BenchmarkRecord, what: str, n_tokens: int, dtype: str) -> list[Timing]:
    return [t for t in record.timings if (t.what, t.n_tokens, t.dtype) == (what, n_tokens, dtype)]


def _pick(timings: Iterable[Timing], system: str | None) -> Timing:
    """The measurement of a system; None for the system that longspan chose."""
    found = [t for t in timings if (t.is_chosen if system is None else t.system == system)]
    if not found:
        raise NotMeasuredError(f"{system or 'ours'} is not in the record")
    if found[0].left_out is not None:
        raise NotMeasuredError(f"{found[0].system}: {found[0].left_out}")
    return found[0]


def over(
    what: str, n_tokens: int, system: str | None, *, dtype: str = "float32", their_dtype: str | None = None
) -> Callable[[BenchmarkRecord], float]:
    """The ratio of our time to that of a system."""

    def measure(record: BenchmarkRecord) -> float:
        ours = _pick(_cells(record, what, n_tokens, dtype), None)
        theirs = _pick(_cells(record, what, n_tokens, their_dtype or dtype), system)
        return ours.median_seconds / theirs.median_seconds

    return measure


def memory_over(what: str, n_tokens: int, system: str) -> Callable[[BenchmarkRecord], float]:
    """The ratio of our peak memory to that of a system."""

    def measure(record: BenchmarkRecord) -> float:
        cells = _cells(record, what, n_tokens, "float32")
        ours, theirs = _pick(cells, None).peak_memory_bytes, _pick(cells, system).peak_memory_bytes
        if not ours or not theirs:
            raise NotMeasuredError("memory was not measured")
        return ours / theirs

    return measure


def gigabytes(what: str, n_tokens: int) -> Callable[[BenchmarkRecord], float]:
    """Our peak memory including weights and optimizer, in 10^9 bytes."""

    def measure(record: BenchmarkRecord) -> float:
        ours = _pick(_cells(record, what, n_tokens, "float32"), None).peak_memory_bytes
        if not ours:
            raise NotMeasuredError("memory was not measured")
        return ours / 1e9

    return measure


def over_floor(what: str, n_tokens: int, dtype: str) -> Callable[[BenchmarkRecord], float]:
    """The ratio of our time to that of the useful operations at the rate of matrix products in this dtype."""

    def measure(record: BenchmarkRecord) -> float:
        rates = record.settings["matmul_gflops"]
        if rates[dtype] < rates.get("float32", 0):
            raise NotMeasuredError(f"this processor has no instructions for {dtype}")
        return _pick(_cells(record, what, n_tokens, dtype), None).ratio_to[FLOOR]

    return measure


def beats_from(what: str, system: str) -> Callable[[BenchmarkRecord], float]:
    """The smallest measured length from which on ours is faster at every measured length."""

    def measure(record: BenchmarkRecord) -> float:
        first, n_compared = None, 0
        for n_tokens in sorted({t.n_tokens for t in record.timings}, reverse=True):
            try:
                ratio = over(what, n_tokens, system)(record)
            except NotMeasuredError:
                continue  # the peer took too long there
            n_compared += 1
            if ratio >= 1:
                break
            first = n_tokens
        if not n_compared:
            raise NotMeasuredError(f"not beside {system}")
        if first is None:
            raise NotMeasuredError(f"{system} is faster at the greatest measured length")
        return first

    return measure


def growth(what: str, *, memory: bool = False) -> Callable[[BenchmarkRecord], float]:
    """The ratio of our time or memory at 65,536 tokens to that at 4,096."""

    def measure(record: BenchmarkRecord) -> float:
        short, long = (_pick(_cells(record, what, n, "float32"), None) for n in (4096, 4096 * _GROWTH))
        if not memory:
            return long.median_seconds / short.median_seconds
        if not short.peak_memory_bytes or not long.peak_memory_bytes:
            raise NotMeasuredError("the system does not tell memory")
        return long.peak_memory_bytes / short.peak_memory_bytes

    return measure


def dilated(what: str, dilation: int) -> Callable[[BenchmarkRecord], float]:
    """The ratio of our time with a dilation to that without."""

    def measure(record: BenchmarkRecord) -> float:
        cells = _cells(record, what, 4096, "float32")
        base = _pick(cells, None)
        return _pick(cells, f"{base.system}, dilation {dilation}").median_seconds / base.median_seconds

    return measure


def padded(record: BenchmarkRecord) -> float:
    """The ratio of our time on a padded batch to that on the same tokens as full rows."""
    cells = [t for t in record.timings if t.what == ENCODER]
    ours = _pick(cells, None)
    return ours.median_seconds / _pick(cells, f"{ours.system}, the same tokens as full rows").median_seconds


def best_over(what: str, n_tokens: int, system: str) -> Callable[[BenchmarkRecord], float]:
    """The ratio of the time of a system to that of our best backend."""

    def measure(record: BenchmarkRecord) -> float:
        cells = _cells(record, what, n_tokens, "bfloat16")
        theirs = _pick(cells, system).median_seconds
        ours = [t.median_seconds for t in cells if t.system.startswith("longspan") and t.left_out is None]
        if not ours:
            raise NotMeasuredError("none of our backends")
        return theirs / min(ours)

    return measure


def memory_above(what: str, n_tokens: int) -> Callable[[BenchmarkRecord], float]:
    """Peak memory beyond output, log-sum-exp and (with a backward) gradients, as a share of these."""

    def measure(record: BenchmarkRecord) -> float:
        ours = _pick(_cells(record, what, n_tokens, "bfloat16"), None)
        s = record.settings
        tensor = s["batch"] * s["heads"] * n_tokens * s["width"] * 2
        needed = tensor * (4 if what == BOTH else 1) + s["batch"] * s["heads"] * n_tokens * 4
        if ours.peak_memory_bytes is None:
            raise NotMeasuredError("memory was not measured")
        return max(0.0, ours.peak_memory_bytes - needed) / needed

    return measure


CPU_BARS = [
    Bar("attention forward at 4,096, float32: ours / transformers' Longformer, projections subtracted",
        "attention-lengths-cpu", 1 / 7, over(FORWARD, 4096, LONGFORMER)),
    Bar("attention forward + backward at 4,096, float32: ours / transformers' Longformer, projections subtracted",
        "attention-lengths-cpu", 1 / 6, over(BOTH, 4096, LONGFORMER)),
    Bar("attention forward at 8,192: ours / SDPA full attention", "attention-lengths-cpu", 1 / 6,
        over(FORWARD, 8192, FULL)),
    Bar("length from which ours beats SDPA full attention, forward", "attention-lengths-cpu", 1024,
        beats_from(FORWARD, FULL), is_ratio=False),
    Bar("length from which ours beats SDPA full attention, forward + backward", "attention-lengths-cpu", 1024,
        beats_from(BOTH, FULL), is_ratio=False),
    Bar("attention forward at 4,096, float32: time / (useful operations / measured matmul rate)",
        "attention-lengths-cpu", 1.9, over_floor(FORWARD, 4096, "float32")),
    Bar("attention forward at 4,096, bf16: time / (useful operations / measured bf16 rate)", "attention-bf16-cpu", 2.6,
        over_floor(FORWARD, 4096, "bfloat16")),
    Bar("encoder of XLM-R base size at 4,096, float32: ours / transformers' Longformer", "encoder-4096-cpu", 1 / 2.2,
        over(ENCODER, 4096, LONGFORMER)),
    Bar("encoder of XLM-R base size at 4,096, float32: ours / XLM-R with SDPA", "encoder-4096-cpu", 1 / 1.4,
        over(ENCODER, 4096, FULL_MODEL)),
    Bar("encoder of XLM-R base size at 4,096: ours in bf16 / transformers' Longformer in float32", "encoder-4096-cpu",
        1 / 4, over(ENCODER, 4096, LONGFORMER, dtype="bfloat16", their_dtype="float32")),
    Bar("encoder, 8 rows of 40 tokens: ours / plain XLM-R", "encoder-short-cpu", 1.1, over(ENCODER, 40, FULL_MODEL)),
    Bar("encoder, one row of 40 tokens: ours / plain XLM-R", "encoder-one-short-cpu", 1.1,
        over(ENCODER, 40, FULL_MODEL)),
    Bar("encoder, rows of 4,096 + 7 x 512 tokens padded to 4,096: time / time of the same tokens as full rows",
        "encoder-padded-cpu", 1.15, padded),
    Bar("attention forward, 65,536 against 4,096 tokens (16 x): time", "attention-scaling-cpu", 17.6, growth(FORWARD)),
    Bar("attention forward, 65,536 against 4,096 tokens: peak memory", "attention-scaling-cpu", 17.6,
        growth(FORWARD, memory=True)),
    Bar("attention forward + backward, 65,536 against 4,096 tokens: time", "attention-scaling-cpu", 17.6,
        growth(BOTH)),
    Bar("attention forward + backward, 65,536 against 4,096 tokens: peak memory", "attention-scaling-cpu", 17.6,
        growth(BOTH, memory=True)),
    *(
        Bar(f"{what} at 4,096: dilation {dilation} / no dilation", "attention-dilation-cpu", 1.25,
            dilated(what, dilation))
        for what in (FORWARD, BOTH) for dilation in (2, 4)
    ),
    *(
        bar
        for system, time, memory in ((LONGFORMER, 1 / 4, 0.45), (FULL_MODEL, 1 / 3, 0.35))
        for bar in (
            Bar(f"masked LM step of XLM-R base size at 2,048, float32: time, ours / {system}",
                "training-step-cpu", time, over(STEP, 2048, system)),
            Bar(f"masked LM step of XLM-R base size at 2,048, float32: peak memory, ours / {system}",
                "training-step-cpu", memory, memory_over(STEP, 2048, system)),
        )
    ),
    Bar("training step at 4,096, XLM-R base size, float32, AdamW, gradient checkpointing: peak memory in GB",
        "training-step-4096-cpu", 8, gigabytes(STEP, 4096), is_ratio=False),
]  # fmt: skip

GPU_BARS = [
    *(
        Bar(f"{what}, bf16, 65,536 tokens in rows of {n:,}: FlexAttention compiled / our best backend",
            f"attention-{n}-gpu", 1.2, best_over(what, n, FLEX), at_least=True)
        for n in (4096, 16384) for what in (FORWARD, BOTH)
    ),
    *(
        Bar(f"{BOTH}, bf16, 65,536 tokens in rows of {n:,}: SDPA full (flash) / our best backend",
            f"attention-{n}-gpu", bar, best_over(BOTH, n, FULL), at_least=True)
        for n, bar in ((4096, 3), (16384, 10), (65536, 40))
    ),
    *(
        Bar(f"{what} in rows of 16,384: memory above output, log-sum-exp and gradients, as a share of these",
            "attention-16384-gpu", _ALMOST_NOTHING, memory_above(what, 16384))
        for what in (FORWARD, BOTH)
    ),
]  # fmt: skip

BARS = {"cpu": CPU_BARS, "gpu": GPU_BARS, "answers": ANSWER_BARS}


def as_table(name: str) -> str:
    """Bars as a Markdown table, with the machine and the versions of their records."""
    rows = [bar.row() for bar in BARS[name]]
    text = table(["what", "bar", "measured", "", "record"], rows, words=(0, 3, 4))
    made = {}
    for bar in BARS[name]:
        path = newest(bar.run)
        if path is not None:
            record = read_record(path)
            machine = record.made.machine
            device = machine.gpu or f"{machine.processor}, {machine.cores} cores"
            threads = getattr(record, "settings", {}).get("threads")
            told = device if threads is None else f"{device}, {threads} threads"
            made[f"{told}, torch {machine.versions['torch']}, transformers {machine.versions['transformers']}"] = None
    return text + (f"\n{'; '.join(made)}.\n" if made else "")


if __name__ == "__main__":
    for chosen in sys.argv[1:] or BARS:
        print(as_table(chosen))
