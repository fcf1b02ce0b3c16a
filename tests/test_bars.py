"""The bars are read from records as they are made, and say why where there is no figure."""

import pytest

from longspan.records import BenchmarkRecord, Machine, Provenance, Timing, write_record

MADE = Provenance(
    command="longspan bench",
    date="2026-01-02T03:04:05+00:00",
    machine=Machine(
        processor="a processor", cores=2, memory_gib=8.0, system="Linux", versions={"torch": "2", "transformers": "5"}
    ),
)


@pytest.fixture
def bars(monkeypatch, tmp_path):
    from pathlib import Path

    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    import bars
    import runs

    monkeypatch.setattr(runs, "RESULTS", tmp_path)
    return bars


def timing(system, n_tokens, seconds, *, what="attention forward", dtype="float32", **more):
    spread = {"median_seconds": seconds, "q20_seconds": seconds, "q80_seconds": seconds}
    row = {"what": what, "system": system, "n_tokens": n_tokens, "dtype": dtype, "repeats": 1, **spread, **more}
    return Timing(**row)


def record(*timings, **settings):
    return BenchmarkRecord(made=MADE, name="attention", settings=settings, timings=list(timings))


def test_bars_are_met_missed_or_not_measured(bars, tmp_path):
    timings = [
        timing("longspan blocked", 4096, 1.0, is_chosen=True, ratio_to={bars.FLOOR: 1.8}),
        timing(bars.LONGFORMER, 4096, 8.0),
        timing("longspan blocked", 8192, 2.0, is_chosen=True),
        timing(bars.FULL, 8192, 4.0),
    ]
    path = tmp_path / "2026-01-02-attention-lengths-cpu.json"
    write_record(record(*timings, matmul_gflops={"float32": 100.0}), path)
    rows = {row[0]: row[1:] for row in (bar.row() for bar in bars.CPU_BARS)}
    first, second, third = list(rows.values())[:3]
    assert first == ["<= 1/7", "1/8", "met", path.stem]
    assert second[1] == "not measured: ours is not in the record"
    assert third == ["<= 1/6", "1/2", "**missed**", path.stem]
    assert list(rows.values())[5][1:3] == ["1.8", "met"]
    assert list(rows.values())[-1][1] == "not measured yet"
    assert bars.as_table("cpu").endswith("\na processor, 2 cores, torch 2, transformers 5.\n")


def test_left_out_is_told_with_the_reason(bars):
    left = timing("longspan blocked", 4096, 0, is_chosen=True, left_out="disagrees")
    with pytest.raises(bars.NotMeasuredError, match="longspan blocked: disagrees"):
        bars.over("attention forward", 4096, bars.FULL)(record(left))
    with pytest.raises(bars.NotMeasuredError, match="no instructions for bfloat16"):
        measure = bars.over_floor("attention forward", 4096, "bfloat16")
        measure(record(matmul_gflops={"float32": 100.0, "bfloat16": 1.0}))


def test_the_length_from_which_ours_is_faster(bars):
    timings = [
        timing(system, n, seconds, is_chosen=system == "longspan blocked")
        for n, ours, theirs in ((512, 1, 3), (1024, 3, 2), (2048, 3, 4), (4096, 5, 9))
        for system, seconds in (("longspan blocked", ours), (bars.FULL, theirs))
    ]
    measure = bars.beats_from("attention forward", bars.FULL)
    assert measure(record(*timings)) == 2048
    with pytest.raises(bars.NotMeasuredError, match="not beside"):
        measure(record())
    with pytest.raises(bars.NotMeasuredError, match="faster at the greatest"):
        measure(record(*timings[2:4]))


def test_growth_dilation_and_padding(bars):
    timings = [
        timing("longspan blocked", 4096, 1.0, is_chosen=True, peak_memory_bytes=10),
        timing("longspan blocked", 65536, 17.0, is_chosen=True, peak_memory_bytes=150),
        timing("longspan blocked, dilation 2", 4096, 1.5),
        timing("longspan", 7680, 3.0, what="encoder forward", is_chosen=True),
        timing("longspan, the same tokens as full rows", 7680, 2.0, what="encoder forward"),
    ]
    made = record(*timings)
    assert bars.growth("attention forward")(made) == 17
    assert bars.growth("attention forward", memory=True)(made) == 15
    assert bars.dilated("attention forward", 2)(made) == 1.5
    assert bars.padded(made) == 1.5


def test_bars_of_a_gpu(bars):
    timings = [
        timing(system, 16384, seconds, dtype="bfloat16", is_chosen=is_chosen, peak_memory_bytes=3 * 16384 * 10)
        for system, seconds, is_chosen in (
            ("longspan flash", 2, True),
            ("longspan triton", 1, False),
            (bars.FLEX, 3, False),
        )
    ]
    made = record(*timings, batch=1, heads=1, width=8)
    assert bars.best_over("attention forward", 16384, bars.FLEX)(made) == 3
    assert bars.memory_above("attention forward", 16384)(made) == 0.5


def test_every_bar_has_a_run(bars):
    import runs

    assert {bar.run for bar in bars.CPU_BARS} <= set(runs.CPU)
    assert {bar.run for bar in bars.GPU_BARS} <= set(runs.GPU)


def test_every_run_is_one_that_bench_takes(bars):
    import argparse
    import shlex

    import runs

    from longspan.cli import bench

    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    for text in (*runs.CPU.values(), *runs.GPU.values()):
        bench._settings(parser.parse_args(shlex.split(text))).check()
