"""Percentiles, rates, and peak memory."""

from functools import partial

import pytest
import torch

from longspan.benchmark.memory_probe import (
    Probe,
    Probeable,
    ProbeError,
    peak_of,
    probe,
    probe_apart,
    short_error,
)
from longspan.benchmark.timing import calls_at_a_time, copy_call, matmul_call, spread, time_call
from longspan.memory import free_bytes


def test_spread_is_median_and_fifths():
    assert spread([3.0]) == (3.0, 3.0, 3.0)
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) == (3.5, 2.0, 5.0)


def test_short_calls_are_made_several_at_a_time():
    calls = []
    assert time_call(lambda: calls.append(1), "cpu", 3) >= 0
    assert len(calls) == 3
    assert calls_at_a_time(1.0) == 1 and calls_at_a_time(1e-3) == 5 and calls_at_a_time(0.0) == 100


def test_rates_count_their_operations():
    call, n_operations = matmul_call(torch.float32, "cpu")
    call()
    n = round((n_operations / 2) ** (1 / 3))
    assert 2 * n**3 == n_operations
    call, n_bytes = copy_call("cpu")
    call()
    assert n_bytes == 2**29


def test_peak_memory_of_a_call():
    n_bytes = peak_of(lambda: torch.ones(2**24).sum(), "cpu")
    if n_bytes is None:
        pytest.skip("this system does not tell")
    assert 0.9 * 2**26 < n_bytes < 2 * 2**26
    assert free_bytes("cpu") > 2**20


def test_separate_process_measures_or_gives_the_reason():
    # Only what can be imported gets there: the tests themselves cannot.
    ones = partial(partial, torch.ones, 2**24)
    found = probe_apart(Probeable, (ones, False, False), 120)
    assert isinstance(found, Probe) and found.seconds > 0
    assert found.peak_bytes is None or 0.9 * 2**26 < found.peak_bytes < 2 * 2**26
    with pytest.raises(ProbeError, match=r"^ValueError: invalid literal"):
        probe_apart(int, ("no number",), 120)
    with pytest.raises(ProbeError, match="took more than"):
        probe_apart(Probeable, (ones, False, False), 0)


def test_weights_of_the_system_count():
    def make():
        weights = torch.ones(2**24)
        return weights.sum

    n_bytes = [probe(Probeable(make, counts_all, call_first=True), "cpu").peak_bytes for counts_all in (True, False)]
    if None in n_bytes:
        pytest.skip("this system does not tell")
    assert n_bytes[0] > 0.9 * 2**26 > n_bytes[1]


def test_errors_are_one_line():
    assert short_error(RuntimeError()) == "RuntimeError"
    assert short_error(RuntimeError("a\nb")) == "RuntimeError: a"
