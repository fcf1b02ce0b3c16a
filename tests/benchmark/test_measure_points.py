"""Turns, limits, and left-out points, with fake points."""

from longspan.benchmark.measure_points import ARITHMETIC, Limits, Point, measure_points
from longspan.benchmark.memory_probe import Probe, ProbeError


def point(system, n_tokens=8, *, seconds=1.0, calls=None, **more):
    def make():
        return lambda: None if calls is None else calls.append(f"{system} {n_tokens}")

    return Point(what="work", system=system, n_tokens=n_tokens, dtype="float32", make=make, **more)


def limits(**changed):
    return Limits(**{"device": "cpu", "repeats": 2, "seconds": 10.0, "memory_bytes": None} | changed)


def test_systems_and_lengths_take_turns(monkeypatch):
    from longspan.benchmark import measure_points as points_file

    monkeypatch.setattr(points_file, "calls_at_a_time", lambda seconds: 1)
    calls = []
    points = [point("a", calls=calls), point("b", calls=calls), point("a", 16, calls=calls)]
    timings = measure_points(points, limits(), None).timings
    assert calls == ["a 8"] + ["b 8"] + ["a 16"] + ["a 8", "b 8", "a 16"] * 2
    assert [t.repeats for t in timings] == [2, 2, 2]


def test_reasons_and_errors_leave_a_system_out():
    def broken():
        raise NotImplementedError("no kernel for this\nat all")

    def probe(which):
        if which.system == "killed":
            raise ProbeError("its process ended with code -9")
        return Probe(5, 0.0)

    points = [point("fine"), point("cannot", against="has no wheels"), point("killed")]
    points.append(Point(what="work", system="broken", n_tokens=8, dtype="float32", make=broken))
    timings = measure_points(points, limits(), probe).timings
    assert [t.left_out for t in timings] == [
        None,
        "has no wheels",
        "its process ended with code -9",
        "NotImplementedError: no kernel for this",
    ]
    assert timings[0].peak_memory_bytes == 5


def test_longer_rows_are_estimated_from_shorter_ones():
    seen = {8: Probe(2**30, 1.0), 16: Probe(2**31, 4.0), 32: Probe(2**32, 20.0)}
    points = [point("square", n, power=2) for n in (8, 16, 32, 64)]
    reasons = [
        t.left_out for t in measure_points(points, limits(memory_bytes=2**33), lambda p: seen[p.n_tokens]).timings
    ]
    assert reasons[:2] == [None, None]
    # 64 tokens are judged by 32, without being tried.
    assert reasons[2:] == [f"takes about {s} s a call, 10 s are allowed" for s in (20, 80)]
    points = [point("large", n) for n in (8, 16, 4096)]
    timings = measure_points(points, limits(memory_bytes=2**33), lambda p: Probe(seen[p.n_tokens][0], 0.0)).timings
    reasons = [timing.left_out for timing in timings]
    assert reasons == [None, None, "needs about 512 GiB, 8 GiB can be had"]


def test_ratios_to_the_chosen_system_and_floor():
    points = [point("ours", is_chosen=True, operations=10**6, moved=10), point("theirs"), point("third")]
    ours, theirs, third = measure_points(points, limits(), None).timings
    assert ours.ratio_to[ARITHMETIC] > 0
    assert set(ours.ratio_to) >= {"theirs", "third"}
    assert set(theirs.ratio_to) == set(third.ratio_to) == {"ours"}


def test_time_beside_is_subtracted_and_reported():
    import time

    slow = Point(
        what="work",
        system="less",
        whole="whole",
        n_tokens=8,
        dtype="float32",
        make=lambda: lambda: time.sleep(0.03),
        beside=lambda: lambda: time.sleep(0.02),
    )
    less, whole = measure_points([slow], limits(), None).timings
    assert less.system == "less" and whole.system == "whole"
    assert less.median_seconds < whole.median_seconds
