"""The benchmark of attention runs, gates on correctness, and says what it left out."""

import pytest

from longspan.errors import InputError
from longspan.evaluation.benchmark import attention
from longspan.evaluation.benchmark.attention import FULL, LONGFORMER, OURS, AttentionSetting, benchmark_attention
from longspan.evaluation.benchmark.table import as_table
from longspan.records import read_record, write_record

TINY = AttentionSetting(lengths=(20, 40), window=8, heads=2, width=4, repeats=2)


def test_every_system_is_measured_and_the_record_comes_back(tmp_path):
    record = benchmark_attention(TINY)
    assert [t.system for t in record.timings] == [OURS, LONGFORMER, FULL] * 4
    assert all(t.repeats == 2 and t.q20_seconds <= t.median_seconds <= t.q80_seconds for t in record.timings)
    assert set(record.timings[0].ratio_to) == {LONGFORMER, FULL, attention.FLOOR}
    assert read_record(write_record(record, tmp_path / "record.json")) == record
    assert as_table(record).count("\n") == 1 + len(record.timings)


def test_global_tokens_are_measured_on_both_sides():
    record = benchmark_attention(AttentionSetting(lengths=(16,), window=4, heads=2, width=4, repeats=1, n_global=2))
    assert all(timing.left_out is None for timing in record.timings)


def test_what_is_wrong_or_cannot_run_is_not_timed(monkeypatch):
    monkeypatch.setattr(attention, "disagreement", lambda setting, backend: "disagrees with the reference by 1")
    setting = AttentionSetting(lengths=(16,), window=4, heads=2, width=4, repeats=1, dilation=2, backward=False)
    record = benchmark_attention(setting)
    assert {t.system: t.left_out for t in record.timings} == {
        OURS: "disagrees with the reference by 1",
        LONGFORMER: "has no dilation",
        FULL: None,
    }
    assert "left out: has no dilation" in as_table(record)


def test_what_would_take_too_long_is_left_out():
    record = benchmark_attention(AttentionSetting(lengths=(8, 4096), window=4, heads=2, width=4, repeats=1,
                                                  backward=False, limit_seconds=1e-9))  # fmt: skip
    assert all("would take about" in t.left_out for t in record.timings[3:])


def test_the_gate_is_green_for_every_backend():
    for backend in ("blocked", "reference"):
        assert attention.disagreement(AttentionSetting(width=8, dilation=2, n_global=5), backend) is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"window": 3}, "must be even"),
        ({"lengths": ()}, "no length to measure"),
        ({"lengths": (0,)}, "lengths must be at least 1"),
        ({"repeats": 0}, "repeats must be at least 1"),
        ({"dtype": "int8"}, "dtype must be"),
        ({"backend": "fast"}, "no attention backend is called"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changed, message):
    with pytest.raises(InputError, match=message):
        benchmark_attention(AttentionSetting(**changed))
