"""The time of a call on the CPU or a GPU, and the rates of matrix products and copies of this machine."""

import math
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch

Call = Callable[[], object]

# Shorter measurements say more about the clock, and on a GPU about Python, than about the call.
_SHORTEST_SECONDS = 5e-3
_LONG_SECONDS = 0.5


class Spread(NamedTuple):
    """Median and 20th / 80th percentile, in seconds."""

    median: float
    q20: float
    q80: float


def spread(seconds: list[float]) -> Spread:
    """Median and percentiles of at least one measurement."""
    if len(seconds) == 1:
        return Spread(seconds[0], seconds[0], seconds[0])
    fifths = statistics.quantiles(seconds, n=5, method="inclusive")
    return Spread(statistics.median(seconds), fifths[0], fifths[3])


def time_call(call: Call, device: str, n_calls: int = 1) -> float:
    """The seconds of one call, as the mean of `n_calls` in a row; on a GPU between two of its events."""
    if torch.device(device).type == "cuda":
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize()
        start.record()
        for _ in range(n_calls):
            call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3 / n_calls
    begin = time.perf_counter()
    for _ in range(n_calls):
        call()
    return (time.perf_counter() - begin) / n_calls


def calls_at_a_time(seconds: float) -> int:
    """The number of calls, each taking `seconds`, for a measurement that is long enough."""
    return max(1, min(100, math.ceil(_SHORTEST_SECONDS / max(seconds, 1e-9))))


def matmul_call(dtype: torch.dtype, device: str) -> tuple[Call, int]:
    """An [n, n] x [n, n] product and its number of floating-point operations: the peak rate of a dtype."""
    sizes = (256, 1024, 2048) if torch.device(device).type == "cpu" else (8192,)
    for n in sizes:
        a, b, out = (torch.randn(n, n, device=device).to(dtype) for _ in range(3))
        call = partial(torch.mm, a, b, out=out)
        call()
        # A large product takes minutes if the CPU has no instructions for the dtype.
        if n == sizes[-1] or time_call(call, device) > _LONG_SECONDS / 64:
            return call, 2 * n**3
    raise AssertionError("the last size is always taken")


def copy_call(device: str) -> tuple[Call, int]:
    """A copy between two tensors too large for any cache, and the bytes it reads and writes."""
    n_bytes = 2**28 if torch.device(device).type == "cpu" else 2**30
    source, target = (torch.zeros(n_bytes // 4, device=device) for _ in range(2))
    return lambda: target.copy_(source), 2 * n_bytes
