"""Attention beside its peers in one run: every backend of ours, transformers', SDPA, FlexAttention, the libraries."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch

from longspan.attention.backends import BACKENDS
from longspan.benchmark.attention_systems import BOTH, FLEX, attention_points, ours
from longspan.benchmark.correctness import disagreement, disagreement_of_flex
from longspan.benchmark.measure_points import Point, measure_points, probe_here
from longspan.benchmark.memory_probe import Probe, Probeable, probe_apart
from longspan.benchmark.settings import AttentionSetting, Dilation, backend_of, device_type, gpu_name
from longspan.records import BenchmarkRecord, made_now


def benchmark_attention(
    setting: AttentionSetting, on_step: Callable[[str], object] = lambda step: None
) -> BenchmarkRecord:
    """Measure `setting`, all systems in turns in this process.

    A system that does not agree with the oracle at a small size is not timed, and its rows say so.

    Raises:
        InputError: a setting makes no sense here.
    """
    setting.check()
    setting.check_device()
    on_step("comparing with the reference")
    points = _gated(attention_points(setting), setting)
    probe_of = None
    if setting.with_memory:
        on_gpu = device_type(setting.device) == "cuda"
        probe_of = partial(probe_here, device=setting.device) if on_gpu else partial(_probe_apart, setting)
    # One compilation for each length, rather than a slower one for all.
    with torch._dynamo.config.patch(recompile_limit=100):
        measured = measure_points(points, setting.limits(), probe_of, on_step)
    settings = {
        **setting.as_settings(),
        "matmul_gflops": {dtype: round(rate / 1e9, 1) for dtype, rate in measured.matmul_rate.items()},
        "copy_gbytes": round(measured.copy_rate / 1e9, 2),
        "select": {words: backend_of(request, setting.backend)[1] for words, request in setting.requests()},
    }
    made = made_now(seed=0, gpu=gpu_name(setting.device))
    return BenchmarkRecord(made=made, name="attention", settings=settings, timings=measured.timings)


def _gated(points: list[Point], setting: AttentionSetting) -> list[Point]:
    """The points, those of a system that is wrong at a small size with the reason."""
    wrong: dict[tuple[str, str, bool], str | None] = {}
    gated = []
    for point in points:
        key = (point.system, point.dtype, point.what == BOTH)
        if key not in wrong and point.against is None:
            wrong[key] = None
            backend, dilation = _backend_in(point.system, setting)
            if backend is not None:
                wrong[key] = disagreement(setting.pattern(dilation), backend, point.dtype, setting.device,
                                          setting.width, with_grad=key[2])  # fmt: skip
            elif point.system == FLEX:
                wrong[key] = disagreement_of_flex(setting.pattern(dilation), point.dtype, setting.device, setting.width)
        gated.append(replace(point, against=point.against or wrong.get(key)))
    return gated


def _backend_in(system: str, setting: AttentionSetting) -> tuple[str | None, Dilation]:
    """The backend a system's name stands for, None for a peer; and the dilation."""
    for dilation in setting.dilations:
        for backend in BACKENDS:
            if system == ours(backend, dilation, setting):
                return backend, dilation
    return None, setting.dilations[0]


def _probe_apart(setting: AttentionSetting, point: Point) -> Probe:
    return probe_apart(_probeable, (setting, point.key), 3 * setting.seconds + 90)


def _probeable(setting: AttentionSetting, key: tuple[str, str, int, str]) -> Probeable:
    return next(point for point in attention_points(setting) if point.key == key).probeable()
