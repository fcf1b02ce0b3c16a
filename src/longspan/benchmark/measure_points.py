"""Many systems at many lengths, measured in turns; what does not fit is left out, and says why."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from longspan.benchmark.markdown_table import FLOORS
from longspan.benchmark.memory_probe import Probe, Probeable, ProbeError, in_short, probe
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
# Of the memory that is free: the rest is the system's, and an estimate is an estimate.
_SHARE_OF_MEMORY = 0.85
_GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Point:
    """One system at one length.

    Attributes:
        what: what is measured, as in the record.
        system: its name.
        n_tokens: tokens a row.
        dtype: torch's name of it.
        make: allocates what a call needs, and gives the call.
        beside: the same of what is to be subtracted, timed next to each call; None for nothing.
        whole: name of the system without the subtraction, to be told as well.
        warm_up: gives a short call to be made in place of a whole one before anything is measured; None for a whole.
        is_chosen: the system is what `longspan` would take by itself.
        against: why it is not measured.
        n_bytes: memory at the peak, estimated.
        power: how its time grows with length.
        multiple_of: it pads rows to a multiple of so many tokens.
        counts_all: what `make` allocates counts as its memory.
        compiles: its first call compiles.
        operations: floating-point operations that cannot be done without; 0 where nobody counted.
        moved: bytes that have to be read or written.
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
        """What tells it from the others."""
        return self.what, self.system, self.n_tokens, self.dtype

    @property
    def n_computed(self) -> int:
        """Tokens a row that it computes, its own padding included."""
        return -(-self.n_tokens // self.multiple_of) * self.multiple_of

    @property
    def cell(self) -> tuple[str, int, str]:
        """What its peers share with it."""
        return self.what, self.n_tokens, self.dtype

    def probeable(self) -> Probeable:
        """For measuring its memory.

        What a first call loads and compiles stays, and is not what a call needs.
        """
        return Probeable(self.make, self.counts_all, self.compiles or not self.counts_all, self.warm_up)


class Limits(NamedTuple):
    """What may be spent.

    Attributes:
        device: where everything runs.
        repeats: measured calls of each point, at most.
        seconds: for each point; one call is measured in any case, unless it would take longer by itself.
        memory_bytes: at the peak of a point; what is free where None.
    """

    device: str
    repeats: int
    seconds: float
    memory_bytes: int | None


@dataclass
class _State:
    """What is known of a point while it is measured."""

    point: Point
    left_out: str | None = None
    call: Call | None = None
    beside: Call | None = None
    known: float | None = None  # seconds of a call, from before the rounds
    peak_bytes: int | None = None
    seconds: list[float] = field(default_factory=list)
    less: list[float] = field(default_factory=list)


class Measured(NamedTuple):
    """What came out: one timing a point, and the ceilings by dtype (operations a second) and of copies (bytes)."""

    timings: list[Timing]
    matmul_rate: dict[str, float]
    copy_rate: float


def measure_points(
    points: Sequence[Point],
    limits: Limits,
    probe_of: Callable[[Point], Probe] | None,
    on_step: Callable[[str], object] = lambda step: None,
) -> Measured:
    """Measure `points`, which stand in order of length within a system.

    Every round times every point once, so that a slow minute of the machine falls on all alike; the ceilings are
    timed in every round as well.

    Args:
        points: what to measure.
        limits: what may be spent.
        probe_of: peak memory of a point, in a process of its own; None to measure no memory.
        on_step: told what is being done.
    """
    states = [_State(point) for point in points]
    for state in states:
        _prepare(state, states, limits, probe_of, on_step)
    dtypes = list(dict.fromkeys(point.dtype for point in points))
    ceilings = {dtype: matmul_call(getattr(torch, dtype), limits.device) for dtype in dtypes}
    ceilings["copy"] = copy_call(limits.device)
    taken: dict[str, list[float]] = {name: [] for name in ceilings}
    for name in ceilings:
        ceilings[name][0]()
    for turn in range(limits.repeats):
        for name, (call, _) in ceilings.items():
            taken[name].append(time_call(call, limits.device))
        for state in states:
            _take_turn(state, states, limits, turn, on_step)
    rates = {name: amount / spread(taken[name]).median for name, (_, amount) in ceilings.items()}
    copy_rate = rates.pop("copy")
    return Measured([timing for state in states for timing in _timings(state, states, rates, copy_rate)], rates,
                    copy_rate)  # fmt: skip


def _prepare(
    state: _State,
    states: Sequence[_State],
    limits: Limits,
    probe_of: Callable[[Point], Probe] | None,
    on_step: Callable[[str], object],
) -> None:
    """Decide whether a point can be measured at all, measure its memory, and warm it up."""
    point = state.point
    state.left_out = point.against or _too_large(state, states, limits) or _too_slow(state, states, limits)
    if state.left_out:
        return
    on_step(f"{point.what}, {point.system}, {point.n_tokens:,} tokens")
    try:
        if probe_of is not None:
            state.peak_bytes, state.known = probe_of(point)
            state.left_out = _too_slow(state, states, limits)
            if state.left_out:
                return
        state.call = point.make()
        state.beside = None if point.beside is None else point.beside()
        if point.warm_up is not None:
            point.warm_up()()
            return
        if point.compiles:
            state.call()
        if state.beside is not None:
            state.beside()
        state.known = time_call(state.call, limits.device)
        state.left_out = _too_slow(state, states, limits)
    except ProbeError as error:
        state.left_out = str(error)
    except (RuntimeError, ValueError, NotImplementedError, ImportError) as error:
        # A peer that cannot do something says so in its own words; compilers' errors are RuntimeErrors.
        state.left_out = in_short(error)
    if state.left_out:
        state.call = state.beside = None


def _take_turn(
    state: _State, states: Sequence[_State], limits: Limits, turn: int, on_step: Callable[[str], object]
) -> None:
    if state.call is None:
        return
    if turn == 0:
        state.left_out = _too_slow(state, states, limits)
        if state.left_out:
            state.call = state.beside = None
            return
    elif sum(state.seconds) + sum(state.less) + state.seconds[-1] > limits.seconds:
        return
    on_step(f"round {turn + 1}: {state.point.what}, {state.point.system}, {state.point.n_tokens:,} tokens")
    n_calls = 1 if state.known is None else calls_at_a_time(state.known)
    state.seconds.append(time_call(state.call, limits.device, n_calls))
    if state.beside is not None:
        state.less.append(time_call(state.beside, limits.device, n_calls))


def _shorter(state: _State, states: Sequence[_State]) -> list[_State]:
    """The same system at smaller lengths, ascending."""
    mine = state.point
    return [
        other
        for other in states
        if (other.point.what, other.point.system, other.point.dtype) == (mine.what, mine.system, mine.dtype)
        and other.point.n_tokens < mine.n_tokens
    ]


def _too_slow(state: _State, states: Sequence[_State], limits: Limits) -> str | None:
    """Why a call would take too long; what it is expected to take is kept, for longer ones to be judged by."""
    point = state.point
    if state.known is None:
        seen = [(o.point.n_computed, min(o.seconds) if o.seconds else o.known) for o in _shorter(state, states)]
        state.known = _extrapolated([(n, s) for n, s in seen if s], point.n_computed, point.power)
    if state.known is None or state.known <= limits.seconds:
        return None
    return f"takes about {state.known:.3g} s a call, {limits.seconds:.3g} s are allowed"


def _too_large(state: _State, states: Sequence[_State], limits: Limits) -> str | None:
    point = state.point
    free = limits.memory_bytes
    if free is None:
        free = free_bytes(limits.device)
        free = None if free is None else int(_SHARE_OF_MEMORY * free)
    if free is None:
        return None
    # What was seen at smaller lengths tells more than an estimate.
    seen = [(other.point.n_tokens, other.peak_bytes) for other in _shorter(state, states) if other.peak_bytes]
    expected = point.n_bytes
    if len(seen) >= 2:
        expected = _extrapolated(seen, point.n_tokens, 1) or expected
    if expected <= free:
        return None
    return f"needs about {expected / _GIB:.0f} GiB, {free / _GIB:.0f} GiB can be had"


def _extrapolated(seen: Sequence[tuple[int, float]], n_tokens: int, power: float) -> float | None:
    """Cost at `n_tokens` from (length, cost) at shorter ones, growing as between the last two; by `power` from one."""
    if not seen:
        return None
    long, more = seen[-1]
    short, less = seen[-2] if len(seen) >= 2 else seen[-1]
    if short < long:
        power = max(1.0, min(2.0, math.log(more / less) / math.log(long / short)))
    return more * (n_tokens / long) ** power


def _timings(state: _State, states: Sequence[_State], rates: dict[str, float], copy_rate: float) -> list[Timing]:
    point = state.point
    row = {"what": point.what, "n_tokens": point.n_tokens, "dtype": point.dtype, "is_chosen": point.is_chosen}
    if state.left_out is not None or not state.seconds:
        reason = state.left_out or "not measured"
        return [
            Timing(**row, system=point.system, median_seconds=0, q20_seconds=0, q80_seconds=0, repeats=0,
                   left_out=reason)
        ]  # fmt: skip
    own = _net(state)
    found = []
    for system, seconds in [(point.system, own)] + ([(point.whole, state.seconds)] if point.whole else []):
        median, q20, q80 = spread(seconds)
        ratio_to = {}
        for other in states:
            if other is state or other.point.cell != point.cell or not other.seconds:
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
                peak_memory_bytes=state.peak_bytes,
                ratio_to=ratio_to,
            )
        )
    return found


def _net(state: _State) -> list[float]:
    """Seconds less what is timed beside, call by call."""
    if not state.less:
        return state.seconds
    return [whole - less for whole, less in zip(state.seconds, state.less, strict=True)]


def probe_here(point: Point, device: str) -> Probe:
    """A point's memory in this process: on a GPU the allocator counts exactly."""
    return probe(point.probeable(), device)
