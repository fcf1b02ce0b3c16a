"""The attention benchmark: our backends beside transformers' Longformer, SDPA, FlexAttention and libraries."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch

from longspan.attention.backends import BACKENDS
from longspan.benchmark.attention_systems import BOTH, FLEX, attention_points, ours
from longspan.benchmark.correctness import disagreement, disagreement_of_flex
from longspan.benchmark.measure_points import Point, measure_points, probe_here
from longspan.benchmark.memory_probe import Probe, Probeable, probe_apart
from longspan.benchmark.settings import AttentionSettings, Dilation, backend_of, device_type, gpu_name
from longspan.records import BenchmarkRecord, made_now


def benchmark_attention(
    settings: AttentionSettings, on_step: Callable[[str], object] = lambda step: None
) -> BenchmarkRecord:
    """The record of the attention benchmark; all systems are measured in turns in this process.

    A system that disagrees with the reference at a small size is not timed, and its rows give the reason.

    Args:
        settings: what to measure.
        on_step: called with a description of each step.

    Raises:
        InputError: a setting makes no sense on this machine.
    """
    settings.check()
    settings.check_device()
    on_step("comparing with the reference")
    points = _gated(attention_points(settings), settings)
    probe_of = None
    if settings.with_memory:
        on_gpu = device_type(settings.device) == "cuda"
        probe_of = partial(probe_here, device=settings.device) if on_gpu else partial(_probe_apart, settings)
    # One compilation for each length, which is faster than one for all lengths.
    with torch._dynamo.config.patch(recompile_limit=100):
        measured = measure_points(points, settings.limits(), probe_of, on_step)
    recorded = {
        **settings.as_dict(),
        "matmul_gflops": {dtype: round(rate / 1e9, 1) for dtype, rate in measured.matmul_rate.items()},
        "copy_gbytes": round(measured.copy_rate / 1e9, 2),
        "select": {words: backend_of(request, settings.backend)[1] for words, request in settings.requests()},
    }
    made = made_now(seed=0, gpu=gpu_name(settings.device))
    return BenchmarkRecord(made=made, name="attention", settings=recorded, timings=measured.timings)


def _gated(points: list[Point], settings: AttentionSettings) -> list[Point]:
    """The points, with the reason against each system that is wrong at a small size."""
    wrong: dict[tuple[str, str, bool], str | None] = {}
    gated = []
    for point in points:
        key = (point.system, point.dtype, point.what == BOTH)
        if key not in wrong and point.against is None:
            wrong[key] = None
            backend, dilation = _backend_in(point.system, settings)
            if backend is not None:
                wrong[key] = disagreement(settings.pattern(dilation), backend, point.dtype, settings.device,
                                          settings.width, with_grad=key[2])  # fmt: skip
            elif point.system == FLEX:
                wrong[key] = disagreement_of_flex(
                    settings.pattern(dilation), point.dtype, settings.device, settings.width
                )
        gated.append(replace(point, against=point.against or wrong.get(key)))
    return gated


def _backend_in(system: str, settings: AttentionSettings) -> tuple[str | None, Dilation]:
    """The backend (None for a peer) and the dilation that a system's name stands for."""
    for dilation in settings.dilations:
        for backend in BACKENDS:
            if system == ours(backend, dilation, settings):
                return backend, dilation
    return None, settings.dilations[0]


def _probe_apart(settings: AttentionSettings, point: Point) -> Probe:
    return probe_apart(_probeable, (settings, point.key), 3 * settings.seconds + 90)


def _probeable(settings: AttentionSettings, key: tuple[str, str, int, str]) -> Probeable:
    return next(point for point in attention_points(settings) if point.key == key).probeable()
