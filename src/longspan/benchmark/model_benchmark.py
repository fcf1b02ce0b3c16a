"""The benchmarks of encoders and of training steps beside their peers, with random weights."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from longspan.attention.block_softmax import cpu_computes_bf16
from longspan.benchmark.architectures import OURS, read_size
from longspan.benchmark.correctness import model_disagreement
from longspan.benchmark.measure_points import Point, measure_points
from longspan.benchmark.memory_probe import Probe, Probeable, probe, probe_apart
from longspan.benchmark.model_systems import model_points
from longspan.benchmark.settings import ModelSettings, backend_of, device_type, gpu_name
from longspan.records import BenchmarkRecord, made_now


def benchmark_models(settings: ModelSettings, on_step: Callable[[str], object] = lambda step: None) -> BenchmarkRecord:
    """The record of a model benchmark; all systems are measured in turns in this process.

    Ours is not timed if a tiny model disagrees with transformers in the output, the loss or the gradients.

    Args:
        settings: what to measure.
        on_step: called with a description of each step.

    Raises:
        InputError: a setting makes no sense on this machine.
    """
    settings.check()
    settings.check_device()
    on_step("comparing with transformers")
    slow = {dtype: _slow_reason(dtype, settings.device) for dtype in settings.dtypes}
    wrong = {
        dtype: model_disagreement(settings, dtype)
        for dtype in settings.dtypes
        if settings.wants(OURS, is_chosen=True) and not slow[dtype]
    }
    points = []
    for point in model_points(settings):
        against = wrong.get(point.dtype) if point.system.startswith(OURS) else None
        points.append(replace(point, against=slow[point.dtype] or against))
    probe_of = None
    if settings.with_memory:
        on_gpu = device_type(settings.device) == "cuda"
        probe_of = partial(_probe_alone if on_gpu else _probe_apart, settings)
    measured = measure_points(points, settings.limits(), probe_of, on_step)
    recorded = {
        **settings.as_dict(),
        "n_parameters": read_size(settings.size).n_parameters(),
        "matmul_gflops": {dtype: round(rate / 1e9, 1) for dtype, rate in measured.matmul_rate.items()},
        "copy_gbytes": round(measured.copy_rate / 1e9, 2),
        "select": {words: backend_of(request, settings.backend)[1] for words, request in settings.requests()},
    }
    made = made_now(seed=0, gpu=gpu_name(settings.device))
    return BenchmarkRecord(made=made, name=settings.task, settings=recorded, timings=measured.timings)


def _slow_reason(dtype: str, device: str) -> str | None:
    """Why a dtype is not measured, or None: without instructions for it matrix products take minutes."""
    if dtype == "float32" or device_type(device) != "cpu":
        return None
    if dtype == "bfloat16" and cpu_computes_bf16():
        return None
    return f"this processor has no instructions for {dtype}"


def _probe_apart(settings: ModelSettings, point: Point) -> Probe:
    return probe_apart(_probeable, (settings, point.key), 3 * settings.seconds + 120)


def _probe_alone(settings: ModelSettings, point: Point) -> Probe:
    """The memory of a point in this process, with weights that no other model shares."""
    return probe(_probeable(settings, point.key), settings.device)


def _probeable(settings: ModelSettings, key: tuple[str, str, int, str]) -> Probeable:
    return next(point for point in model_points(settings) if point.key == key).probeable()
