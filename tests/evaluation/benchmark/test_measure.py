"""Spreads, turns, and the high-water mark of memory."""

import pytest
import torch

from longspan.evaluation.benchmark.measure import matmul_rate, peak_memory, spread, time_in_turns


def test_spread_is_median_and_fifths():
    assert spread([3.0]) == (3.0, 3.0, 3.0)
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) == (3.5, 2.0, 5.0)


def test_systems_take_turns_after_one_unmeasured_call_each():
    calls = []
    seconds = time_in_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=2)
    assert calls == ["a", "b"] * 3
    assert {name: len(taken) for name, taken in seconds.items()} == {"a": 2, "b": 2}


def test_peak_memory_sees_what_a_call_needs():
    n_bytes = peak_memory(lambda: torch.ones(2**24).sum(), "cpu")
    if n_bytes is None:
        pytest.skip("this system does not tell")
    assert 0.9 * 2**26 < n_bytes < 2 * 2**26


def test_matmul_rate_is_a_rate():
    assert matmul_rate(torch.float32, "cpu", n=64, repeats=1) > 0
