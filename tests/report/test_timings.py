"""Benchmark records drawn: ours first, peers beside, what was left out in words."""

import pytest

from longspan.errors import InputError
from longspan.records import BenchmarkRecord, Timing
from longspan.report.blocks import Figures, Table
from longspan.report.timings import benchmark_section, save_benchmark_picture


def timing(system, n_tokens, seconds, **more):
    row = {"median_seconds": seconds, "q20_seconds": seconds, "q80_seconds": seconds, "repeats": 3} | more
    return Timing(what="forward", system=system, n_tokens=n_tokens, dtype="float32", **row)


@pytest.fixture
def record(benchmark_record):
    timings = []
    for n in (512, 1024):
        floor = {"useful operations at the matmul rate": 2.0, "bytes at the copy bandwidth": 9.0}
        timings.append(timing("longspan reference", n, n / 10))
        timings.append(timing("peer", n, n / 50, peak_memory_bytes=n * 100))
        timings.append(timing("longspan blocked", n, n / 100, is_chosen=True, ratio_to=floor, peak_memory_bytes=n))
    timings.append(timing("peer", 2048, 0, left_out="needs about 40 GiB, 8 GiB can be had"))
    return BenchmarkRecord(made=benchmark_record().made, name="attention", timings=timings)


def test_ours_is_marked_and_compared_with(record):
    blocks = benchmark_section([record]).blocks
    figures = [block for block in blocks if isinstance(block, Figures)]
    assert [len(figure.plots) for figure in figures] == [2, 1]
    (table,) = (block for block in blocks if isinstance(block, Table))
    assert table.columns[-2:] == ["Ours over it", "Time over floor"]
    rows = [[cell.text for cell in row] for row in table.rows]
    assert rows[1][0] == "peer" and rows[1][-2:] == ["0.50", "–"]
    assert rows[2][0] == "longspan blocked (ours)" and rows[2][-2:] == ["–", "2.00"]
    assert "left out: needs about 40 GiB" in rows[-1][2]


def test_one_length_has_bars_only(record):
    alone = record.model_copy(update={"timings": [t for t in record.timings if t.n_tokens == 512]})
    figures = [block for block in benchmark_section([alone]).blocks if isinstance(block, Figures)]
    assert [len(figure.plots) for figure in figures] == [1]


def test_nothing_but_left_out_is_a_table(record):
    nothing = record.model_copy(update={"timings": record.timings[-1:]})
    blocks = benchmark_section([nothing]).blocks
    assert not any(isinstance(block, Figures) for block in blocks)
    with pytest.raises(InputError, match="no measurement of 'forward'"):
        save_benchmark_picture(nothing, "forward", "float32", "x.png")


@pytest.mark.parametrize("ratios", [False, True])
def test_pictures_are_the_same_each_time(record, tmp_path, ratios):
    for name, start in (("a.png", b"\x89PNG"), ("a.svg", b"<?xml")):
        path = save_benchmark_picture(record, "forward", "float32", tmp_path / name, ratios=ratios)
        first = path.read_bytes()
        assert first.startswith(start)
        save_benchmark_picture(record, "forward", "float32", path, ratios=ratios)
        assert path.read_bytes() == first
