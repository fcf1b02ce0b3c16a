"""Measures many systems at many lengths in turns; what does not fit is left out with the reason."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from longspan.benchmark.markdown_table import FLOORS
from longspan.benchmark.memory_probe import Probe, Probeable, ProbeError, probe, short_error
from longspan.benchmark.timing import (
    Call,
    calls_at_a_time,
    copy_call,
    matmul_call,
    spread,
    time_call,
)
from longspan.memory import free_bytes
from longspan.records import Timing

ARITHMETIC, TRAFFIC = FLOORS
# The share of the free memory that a point may need: estimates are rough.
_SHARE_OF_MEMORY = 0.85
_GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Point:
    """One system at one length.

    Attributes:
        what: what is measured, as in the record.
        system: name of the system.
        n_tokens: tokens per row.
        dtype: torch's name of the dtype.
        make: allocates what a call needs, and returns the call.
        beside: makes a call that is timed next to each call and subtracted; None for none.
        whole: name under which the time without the subtraction is reported too.
        warm_up: makes a short call for the warm-up, in place of a whole one; None for a whole one.
        is_chosen: whether longspan would choose this system itself.
        against: why the point is not measured.
        n_bytes: estimated peak memory.
        power: exponent with which the time grows with the length.
        multiple_of: the system pads rows to a multiple of this number of tokens.
        counts_all: whether memory that `make` allocates counts.
        compiles: whether the first call compiles.
        operations: necessary floating-point operations; 0 if not counted.
        moved: bytes that must be read or written.
    """

    what: str
    system: str
    n_tokens: int
    dtype: str
    make: Callable[[], Call]
    beside: Callable[[], Call] | None = None
    whole: str | None = None
    warm_up: Callable[[], Call] | None = None
    is_chosen: bool = False
    against: str | None = None
    n_bytes: float = 0
    power: int = 1
    multiple_of: int = 1
    counts_all: bool = False
    compiles: bool = False
    operations: int = 0
    moved: int = 0

    @property
    def key(self) -> tuple[str, str, int, str]:
        """The key of the point."""
        return self.what, self.system, self.n_tokens, self.dtype

    @property
    def n_computed(self) -> int:
        """Tokens per row including the system's own padding."""
        return -(-self.n_tokens // self.multiple_of) * self.multiple_of

    @property
    def peer_key(self) -> tuple[str, int, str]:
        """The key that the point shares with its peers."""
        return self.what, self.n_tokens, self.dtype

    def probeable(self) -> Probeable:
        """The point for the measurement of its memory.

        A first call that is not counted loads and compiles what later calls share.
        """
        return Probeable(self.make, self.counts_all, self.compiles or not self.counts_all, self.warm_up)


class Limits(NamedTuple):
    """The limits of a run.

    Attributes:
        device: where everything runs.
        repeats: largest number of measured calls of each point.
        seconds: largest total time of these calls. One call is always measured, unless it alone would take longer.
        memory_bytes: largest peak memory of a point; None for the free memory.
    """

    device: str
    repeats: int
    seconds: float
    memory_bytes: int | None


@dataclass
class _Measurement:
    """What is known about a point during the run."""

    point: Point
    left_out: str | None = None
    call: Call | None = None
    beside: Call | None = None
    known: float | None = None  # seconds of a call, from before the rounds
    peak_bytes: int | None = None
    seconds: list[float] = field(default_factory=list)
    less: list[float] = field(default_factory=list)


class Measured(NamedTuple):
    """The timings of all points, the rate of matrix products per dtype (operations/s), and of copies (bytes/s)."""

    timings: list[Timing]
    matmul_rate: dict[str, float]
    copy_rate: float


def measure_points(
    points: Sequence[Point],
    limits: Limits,
    probe_of: Callable[[Point], Probe] | None,
    on_step: Callable[[str], object] = lambda step: None,
) -> Measured:
    """The measurements of `points`, which are ordered by length within a system.

    Every round times every point once, so that a slow minute of the machine affects all of them alike. The rates of
    matrix products and copies are timed in every round too.

    Args:
        points: what to measure.
        limits: the limits of the run.
        probe_of: measures the peak memory of a point, in a separate process; None to measure no memory.
        on_step: called with a description of each step.
    """
    runs = [_Measurement(point) for point in points]
    for run in runs:
        _prepare(run, runs, limits, probe_of, on_step)
    dtypes = list(dict.fromkeys(point.dtype for point in points))
    ceilings = {dtype: matmul_call(getattr(torch, dtype), limits.device) for dtype in dtypes}
    ceilings["copy"] = copy_call(limits.device)
    taken: dict[str, list[float]] = {name: [] for name in ceilings}
    for name in ceilings:
        ceilings[name][0]()
    for turn in range(limits.repeats):
        for name, (call, _) in ceilings.items():
            taken[name].append(time_call(call, limits.device))
        for run in runs:
            _take_turn(run, runs, limits, turn, on_step)
    rates = {name: amount / spread(taken[name]).median for name, (_, amount) in ceilings.items()}
    copy_rate = rates.pop("copy")
    return Measured([timing for run in runs for timing in _timings(run, runs, rates, copy_rate)], rates,
                    copy_rate)  # fmt: skip


def _prepare(
    run: _Measurement,
    runs: Sequence[_Measurement],
    limits: Limits,
    probe_of: Callable[[Point], Probe] | None,
    on_step: Callable[[str], object],
) -> None:
    """Decide whether a point can be measured, measure its memory, and warm it up."""
    point = run.point
    run.left_out = point.against or _too_large(run, runs, limits) or _too_slow(run, runs, limits)
    if run.left_out:
        return
    on_step(f"{point.what}, {point.system}, {point.n_tokens:,} tokens")
    try:
        if probe_of is not None:
            run.peak_bytes, run.known = probe_of(point)
            run.left_out = _too_slow(run, runs, limits)
            if run.left_out:
                return
        run.call = point.make()
        run.beside = None if point.beside is None else point.beside()
        if point.warm_up is not None:
            point.warm_up()()
            return
        if point.compiles:
            run.call()
        if run.beside is not None:
            run.beside()
        run.known = time_call(run.call, limits.device)
        run.left_out = _too_slow(run, runs, limits)
    except ProbeError as error:
        run.left_out = str(error)
    except (RuntimeError, ValueError, NotImplementedError, ImportError) as error:
        # The peer's own error is the reason; errors of compilers are RuntimeErrors.
        run.left_out = short_error(error)
    if run.left_out:
        run.call = run.beside = None


def _take_turn(
    run: _Measurement, runs: Sequence[_Measurement], limits: Limits, turn: int, on_step: Callable[[str], object]
) -> None:
    if run.call is None:
        return
    if turn == 0:
        run.left_out = _too_slow(run, runs, limits)
        if run.left_out:
            run.call = run.beside = None
            return
    elif sum(run.seconds) + sum(run.less) + run.seconds[-1] > limits.seconds:
        return
    on_step(f"round {turn + 1}: {run.point.what}, {run.point.system}, {run.point.n_tokens:,} tokens")
    n_calls = 1 if run.known is None else calls_at_a_time(run.known)
    run.seconds.append(time_call(run.call, limits.device, n_calls))
    if run.beside is not None:
        run.less.append(time_call(run.beside, limits.device, n_calls))


def _shorter(run: _Measurement, runs: Sequence[_Measurement]) -> list[_Measurement]:
    """The runs of the same system at smaller lengths, ascending."""
    mine = run.point
    return [
        other
        for other in runs
        if (other.point.what, other.point.system, other.point.dtype) == (mine.what, mine.system, mine.dtype)
        and other.point.n_tokens < mine.n_tokens
    ]


def _too_slow(run: _Measurement, runs: Sequence[_Measurement], limits: Limits) -> str | None:
    """Why a call would take too long, or None; the expected time is stored for the estimates of longer points."""
    point = run.point
    if run.known is None:
        seen = [(o.point.n_computed, min(o.seconds) if o.seconds else o.known) for o in _shorter(run, runs)]
        run.known = _extrapolated([(n, s) for n, s in seen if s], point.n_computed, point.power)
    if run.known is None or run.known <= limits.seconds:
        return None
    return f"takes about {run.known:.3g} s a call, {limits.seconds:.3g} s are allowed"


def _too_large(run: _Measurement, runs: Sequence[_Measurement], limits: Limits) -> str | None:
    point = run.point
    free = limits.memory_bytes
    if free is None:
        free = free_bytes(limits.device)
        free = None if free is None else int(_SHARE_OF_MEMORY * free)
    if free is None:
        return None
    # Measurements at smaller lengths are better than the estimate.
    seen = [(other.point.n_tokens, other.peak_bytes) for other in _shorter(run, runs) if other.peak_bytes]
    expected = point.n_bytes
    if len(seen) >= 2:
        expected = _extrapolated(seen, point.n_tokens, 1) or expected
    if expected <= free:
        return None
    return f"needs about {expected / _GIB:.0f} GiB, {free / _GIB:.0f} GiB can be had"


def _extrapolated(seen: Sequence[tuple[int, float]], n_tokens: int, power: float) -> float | None:
    """The cost at `n_tokens` from (length, cost) at shorter lengths, by their growth, or by `power` from one length."""
    if not seen:
        return None
    long, more = seen[-1]
    short, less = seen[-2] if len(seen) >= 2 else seen[-1]
    if short < long:
        power = max(1.0, min(2.0, math.log(more / less) / math.log(long / short)))
    return more * (n_tokens / long) ** power


def _timings(
    run: _Measurement, runs: Sequence[_Measurement], rates: dict[str, float], copy_rate: float
) -> list[Timing]:
    point = run.point
    row = {"what": point.what, "n_tokens": point.n_tokens, "dtype": point.dtype, "is_chosen": point.is_chosen}
    if run.left_out is not None or not run.seconds:
        reason = run.left_out or "not measured"
        return [
            Timing(**row, system=point.system, median_seconds=0, q20_seconds=0, q80_seconds=0, repeats=0,
                   left_out=reason)
        ]  # fmt: skip
    own = _net(run)
    found = []
    for system, seconds in [(point.system, own)] + ([(point.whole, run.seconds)] if point.whole else []):
        median, q20, q80 = spread(seconds)
        ratio_to = {}
        for other in runs:
            if other is run or other.point.peer_key != point.peer_key or not other.seconds:
                continue
            if point.is_chosen or other.point.is_chosen:
                ratio_to[other.point.system] = median / spread(_net(other)).median
                if other.point.whole:
                    ratio_to[other.point.whole] = median / spread(other.seconds).median
        if point.operations and system == point.system:
            ratio_to[ARITHMETIC] = median / (point.operations / rates[point.dtype])
            ratio_to[TRAFFIC] = median / (point.moved / copy_rate)
        found.append(
            Timing(
                **row,
                system=system,
                median_seconds=median,
                q20_seconds=q20,
                q80_seconds=q80,
                repeats=len(seconds),
                peak_memory_bytes=run.peak_bytes,
                ratio_to=ratio_to,
            )
        )
    return found


def _net(run: _Measurement) -> list[float]:
    """The seconds of each call without what is subtracted."""
    if not run.less:
        return run.seconds
    return [whole - less for whole, less in zip(run.seconds, run.less, strict=True)]


def probe_here(point: Point, device: str) -> Probe:
    """The memory of a point, measured in this process: the allocator of a GPU counts exactly."""
    return probe(point.probeable(), device)
