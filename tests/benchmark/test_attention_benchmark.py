"""The attention benchmark runs, rejects wrong systems, and gives the reason for what it leaves out."""

import dataclasses

import pytest

from longspan.benchmark import attention_benchmark, attention_systems
from longspan.benchmark.attention_benchmark import benchmark_attention
from longspan.benchmark.attention_systems import (
    BOTH,
    FLASH,
    FLEX,
    FORWARD,
    FULL,
    LONGFORMER,
    NATTEN,
    WHOLE_LONGFORMER,
    attention_points,
)
from longspan.benchmark.markdown_table import as_table
from longspan.benchmark.measure_points import ARITHMETIC, TRAFFIC
from longspan.benchmark.settings import AttentionSettings
from longspan.errors import InputError
from longspan.records import read_record, write_record

# FlexAttention is left out: it compiles for half a minute.
QUICK = ("longspan blocked", "longspan reference", "transformers", "SDPA")
TINY = AttentionSettings(
    lengths=(20, 40), window=8, heads=2, width=4, repeats=2, systems=QUICK, with_memory=False, backend="blocked"
)


def test_every_system_is_measured_and_recorded(tmp_path):
    record = benchmark_attention(TINY)
    systems = ["longspan blocked", "longspan reference", LONGFORMER, WHOLE_LONGFORMER, FULL]
    assert [t.system for t in record.timings] == systems * 4
    assert all(t.repeats == 2 and t.q20_seconds <= t.median_seconds <= t.q80_seconds for t in record.timings)
    chosen = record.timings[0]
    assert chosen.is_chosen and not record.timings[1].is_chosen
    assert set(chosen.ratio_to) == {*systems[1:], ARITHMETIC, TRAFFIC}
    assert set(record.timings[4].ratio_to) == {"longspan blocked"}
    assert read_record(write_record(record, tmp_path / "record.json")) == record
    assert as_table(record).count("\n") == 1 + len(record.timings)
    assert record.settings["matmul_gflops"]["float32"] > 0 and record.settings["copy_gbytes"] > 0
    assert any("chosen" in reason for reasons in record.settings["select"].values() for reason in reasons.values())


def test_memory_is_measured_in_a_separate_process():
    settings = dataclasses.replace(
        TINY, lengths=(2048,), width=64, backward=False, repeats=1, systems=("longspan blocked",), with_memory=True
    )
    peak = benchmark_attention(settings).timings[0].peak_memory_bytes
    if peak is None:
        pytest.skip("this system does not tell")
    out = 2 * 2048 * 64 * 4
    assert out / 2 < peak < 32 * out


def test_dilations_and_global_tokens_are_measured():
    settings = dataclasses.replace(TINY, dilations=(1, 2, (1, 3)), n_global=2, lengths=(16,), repeats=1)
    record = benchmark_attention(settings)
    assert all(timing.left_out is None for timing in record.timings)
    names = [timing.system for timing in record.timings]
    assert "longspan blocked, dilation 2" in names and "longspan blocked, dilation 1 3 by head" in names
    assert sum(timing.is_chosen for timing in record.timings) == 2


def test_wrong_or_unable_systems_are_not_timed(monkeypatch):
    monkeypatch.setattr(attention_benchmark, "disagreement", lambda *_, **__: "disagrees with the reference by 1")
    settings = dataclasses.replace(TINY, lengths=(16,), repeats=1, dilations=(2,), backward=False)
    record = benchmark_attention(settings)
    assert {t.system: t.left_out for t in record.timings} == {
        "longspan blocked": "disagrees with the reference by 1",
        "longspan reference": "disagrees with the reference by 1",
        LONGFORMER: "has no dilation",
        FULL: None,
    }
    assert "left out: has no dilation" in as_table(record)


def test_too_slow_or_too_large_is_left_out():
    slow = benchmark_attention(dataclasses.replace(TINY, lengths=(8, 4096), repeats=1, seconds=1e-9, backward=False))
    assert all("s a call" in t.left_out for t in slow.timings)
    large = benchmark_attention(dataclasses.replace(TINY, repeats=1, memory_gib=1e-9, backward=False))
    assert all("GiB can be had" in t.left_out for t in large.timings)


def test_peers_report_unsupported_settings(monkeypatch):
    monkeypatch.setattr(attention_systems, "find_spec", lambda name: name)
    points = attention_points(dataclasses.replace(TINY, systems=(FLEX, FLASH, NATTEN)))
    against = {(point.what, point.system): point.against for point in points}
    assert against[BOTH, FLEX] == "has no backward on the CPU"
    assert against[FORWARD, FLEX] is None
    assert against[FORWARD, FLASH] == against[FORWARD, NATTEN] == "is for GPUs"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"window": 3}, "must be even"),
        ({"lengths": ()}, "lengths must be"),
        ({"lengths": (0,)}, "lengths must be"),
        ({"repeats": 0}, "repeats must be above 0"),
        ({"heads": 0}, "heads must be at least 1"),
        ({"dilations": ()}, "no dilation to measure"),
        ({"dilations": ((1, 2, 3),)}, "dilations for 3 heads"),
        ({"dtypes": ("int8",)}, "dtype must be"),
        ({"device": "tpu9"}, "torch knows no device"),
        ({"device": "mps"}, "cannot be timed"),
        ({"backend": "fast"}, "no attention backend is called"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changed, message):
    with pytest.raises(InputError, match=message):
        benchmark_attention(dataclasses.replace(TINY, **changed))
