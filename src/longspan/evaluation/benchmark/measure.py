"""Timing several systems in turns, memory at its peak, and the rate that matrix products reach on this machine."""

import contextlib
import ctypes
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch


class Spread(NamedTuple):
    """Median and 20th / 80th percentile, in seconds."""

    median: float
    q20: float
    q80: float


def spread(seconds: list[float]) -> Spread:
    """The spread of at least one measurement."""
    if len(seconds) == 1:
        return Spread(seconds[0], seconds[0], seconds[0])
    fifths = statistics.quantiles(seconds, n=5, method="inclusive")
    return Spread(statistics.median(seconds), fifths[0], fifths[3])


def time_once(function: Callable[[], object]) -> float:
    """Seconds one call takes, on whatever device it works."""
    _wait()
    start = time.perf_counter()
    function()
    _wait()
    return time.perf_counter() - start


def time_in_turns(systems: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of `repeats` calls of each, in turns, so that a slow minute of the machine falls on all alike.

    One call of each goes before, unmeasured.
    """
    seconds: dict[str, list[float]] = {name: [] for name in systems}
    for repeat in range(repeats + 1):
        for name, function in systems.items():
            taken = time_once(function)
            if repeat:
                seconds[name].append(taken)
    return seconds


def peak_memory(function: Callable[[], object], device: str) -> int | None:
    """Bytes that a call needs at its peak beyond what is there before; None where the system does not tell.

    On the CPU this is the resident memory of the process (Linux keeps its high-water mark and lets us reset it).
    """
    if device != "cpu":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        before = _status_bytes("VmRSS")
        function()
        return max(0, _status_bytes("VmHWM") - before)
    except (OSError, KeyError):
        return None


def matmul_rate(dtype: torch.dtype, device: str, n: int = 2048, repeats: int = 5) -> float:
    """Floating-point operations a second of an [n, n] x [n, n] product: the ceiling that floors are counted from."""
    a = torch.randn(n, n, device=device).to(dtype)
    seconds = time_in_turns({"matmul": lambda: a @ a}, repeats)["matmul"]
    return 2 * n**3 / statistics.median(seconds)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _status_bytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    values = dict(line.split(":", 1) for line in lines)
    return int(values[field].split()[0]) * 1024
