"""Whole encoders, and steps of training them, beside their peers in one run; random weights, as time has no meaning."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from longspan.attention.block_softmax import cpu_computes_bf16
from longspan.benchmark.architectures import OURS, read_size
from longspan.benchmark.correctness import model_disagreement
from longspan.benchmark.measure_points import Point, measure_points
from longspan.benchmark.memory_probe import Probe, Probeable, probe, probe_apart
from longspan.benchmark.model_systems import model_points
from longspan.benchmark.settings import ModelSetting, backend_of, device_type, gpu_name
from longspan.records import BenchmarkRecord, made_now


def benchmark_models(setting: ModelSetting, on_step: Callable[[str], object] = lambda step: None) -> BenchmarkRecord:
    """Measure `setting`, all systems in turns in this process.

    Ours is not timed where a tiny model's output, loss or gradients, of what is measured, are not transformers'.

    Raises:
        InputError: a setting makes no sense here.
    """
    setting.check()
    setting.check_device()
    on_step("comparing with transformers")
    slow = {dtype: _slow_reason(dtype, setting.device) for dtype in setting.dtypes}
    wrong = {
        dtype: model_disagreement(setting, dtype)
        for dtype in setting.dtypes
        if setting.wants(OURS, is_chosen=True) and not slow[dtype]
    }
    points = []
    for point in model_points(setting):
        against = wrong.get(point.dtype) if point.system.startswith(OURS) else None
        points.append(replace(point, against=slow[point.dtype] or against))
    probe_of = None
    if setting.with_memory:
        on_gpu = device_type(setting.device) == "cuda"
        probe_of = partial(_probe_alone if on_gpu else _probe_apart, setting)
    measured = measure_points(points, setting.limits(), probe_of, on_step)
    settings = {
        **setting.as_settings(),
        "n_parameters": read_size(setting.size).n_parameters(),
        "matmul_gflops": {dtype: round(rate / 1e9, 1) for dtype, rate in measured.matmul_rate.items()},
        "copy_gbytes": round(measured.copy_rate / 1e9, 2),
        "select": {words: backend_of(request, setting.backend)[1] for words, request in setting.requests()},
    }
    made = made_now(seed=0, gpu=gpu_name(setting.device))
    return BenchmarkRecord(made=made, name=setting.task, settings=settings, timings=measured.timings)


def _slow_reason(dtype: str, device: str) -> str | None:
    """Why a precision is not measured: matrix products without instructions for it take minutes."""
    if dtype == "float32" or device_type(device) != "cpu":
        return None
    if dtype == "bfloat16" and cpu_computes_bf16():
        return None
    return f"this processor has no instructions for {dtype}"


def _probe_apart(setting: ModelSetting, point: Point) -> Probe:
    return probe_apart(_probeable, (setting, point.key), 3 * setting.seconds + 120)


def _probe_alone(setting: ModelSetting, point: Point) -> Probe:
    """In this process, with weights that no other model shares."""
    return probe(_probeable(setting, point.key), setting.device)


def _probeable(setting: ModelSetting, key: tuple[str, str, int, str]) -> Probeable:
    return next(point for point in model_points(setting) if point.key == key).probeable()
