"""Whole encoders, and steps of training them, beside their peers in one run; random weights, as time has no meaning.

B batch rows  T tokens
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from longspan.attention.products import cpu_computes_bf16
from longspan.attention.selection import Request
from longspan.errors import InputError
from longspan.evaluation.benchmark.architectures import (
    FIRST_WORD,
    FULL,
    LONGFORMER,
    MODERNBERT,
    OURS,
    PAD,
    SYSTEMS,
    Models,
    Size,
    masked_lm_step,
    read_size,
)
from longspan.evaluation.benchmark.attention import gpu_name
from longspan.evaluation.benchmark.measure import Call
from longspan.evaluation.benchmark.memory import Probe, Probeable, in_short, probe, probe_apart
from longspan.evaluation.benchmark.rounds import Point, measure_points
from longspan.evaluation.benchmark.setting import Setting, backend_of, device_type
from longspan.records import BenchmarkRecord, made_now

ENCODER, ENCODER_BOTH, STEP = "encoder forward", "encoder forward + backward", "masked LM step"
AS_FULL_ROWS = "the same tokens as full rows"
_SHARE_MASKED = 0.15
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer] | None] = {
    "none": None,
    "sgd": torch.optim.SGD,
    "adamw": torch.optim.AdamW,
}


@dataclass(frozen=True, kw_only=True)
class ModelSetting(Setting):
    """What is measured.

    Attributes:
        task: "encoder" or "training-step".
        size: a name of `SIZES`, or a config.json.
        padded: rows of these lengths in one batch, padded, beside the same tokens as full rows; in place of `lengths`.
        backward: of an encoder, forward and backward together as well.
        dropout: of hidden states and attention, in training.
        gradient_checkpointing: compute activations again in the backward.
        optimizer: a name of `OPTIMIZERS`, for training.
    """

    task: Literal["encoder", "training-step"] = "encoder"
    size: str = "base"
    padded: tuple[int, ...] = ()
    backward: bool = False
    dropout: float = 0.1
    gradient_checkpointing: bool = False
    optimizer: str = "none"

    def whats(self) -> tuple[str, ...]:
        """What is measured, as in the record."""
        if self.task == "training-step":
            return (STEP,)
        return (ENCODER, ENCODER_BOTH) if self.backward else (ENCODER,)

    def batches(self) -> list[tuple[int, ...]]:
        """Lengths of the rows of each batch."""
        return [self.padded] if self.padded else [(n_tokens,) * self.batch for n_tokens in sorted(self.lengths)]

    def requests(self) -> Iterator[tuple[str, Request]]:
        """What each attention layer asks of `select`, and what it is in words."""
        size = read_size(self.size)
        needs_grad = self.task == "training-step" or self.backward
        for rows in self.batches():
            for dtype in self.dtypes:
                request = Request(
                    n_rows=len(rows),
                    n_heads=size.num_attention_heads,
                    n_tokens=max(rows),
                    width=size.hidden_size // size.num_attention_heads,
                    device=device_type(self.device),
                    dtype=getattr(torch, dtype),
                    needs_grad=needs_grad,
                    pattern=self.pattern(),
                    has_padding=len(set(rows)) > 1,
                    has_dynamic_global=self.n_global > 0,
                    dropout_p=self.dropout if self.task == "training-step" else 0.0,
                )
                words = (
                    f"{self.task} of size {self.size}, {len(rows)} rows of up to {max(rows)} tokens, window "
                    f"{self.window}, {dtype} on {self.device}, {'with' if needs_grad else 'without'} gradients"
                )
                yield words, request

    def check(self) -> None:
        """Refuse what makes no sense.

        Raises:
            InputError: names the option.
        """
        super().check()
        read_size(self.size)
        if self.padded and min(self.padded) < 1:
            raise InputError(f"padded must hold lengths from 1, not {list(self.padded)}")
        if self.optimizer not in OPTIMIZERS:
            raise InputError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, not {self.optimizer!r}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout is a probability from 0 to below 1, not {self.dropout}")
        for name in self.systems:
            if name != "chosen" and not any(system.startswith(name) for system in SYSTEMS):
                raise InputError(f"no system's name begins with {name!r}; there are {', '.join(SYSTEMS)}")
        for _, request in self.requests():
            backend_of(request, self.backend)


def benchmark_models(setting: ModelSetting, on_step: Callable[[str], object] = lambda step: None) -> BenchmarkRecord:
    """Measure `setting`, all systems in turns in this process.

    Ours is not timed where a tiny model's output is not transformers'.

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


def model_points(setting: ModelSetting) -> list[Point]:
    """Everything to measure, in order of length; nothing is allocated before it is made."""
    size = read_size(setting.size)
    models = _models(setting, size)
    points = []
    for what in setting.whats():
        for dtype in setting.dtypes:
            for rows in setting.batches():
                for system in SYSTEMS:
                    if not setting.wants(system, is_chosen=system == OURS):
                        continue
                    layouts = [(system, [rows])]
                    if setting.padded:
                        full = [(length,) * rows.count(length) for length in sorted(set(rows))]
                        layouts.append((f"{system}, {AS_FULL_ROWS}", full))
                    for name, batches in layouts:
                        points.append(_point(setting, size, models, what, dtype, system, name, batches))
    return points


def _slow_reason(dtype: str, device: str) -> str | None:
    """Why a precision is not measured: matrix products without instructions for it take minutes."""
    if dtype == "float32" or device_type(device) != "cpu":
        return None
    if dtype == "bfloat16" and cpu_computes_bf16():
        return None
    return f"this processor has no instructions for {dtype}"


def model_disagreement(setting: ModelSetting, dtype: str) -> str | None:
    """Why ours must not be timed: how far a tiny model is from transformers'; None where it is right."""
    tiny = replace(setting, size="tiny", window=min(setting.window, 16), batch=2, dropout=0.0, task="encoder")
    models = _models(tiny, read_size("tiny"), n_positions=70)
    inputs = _inputs(tiny, (70, 33))
    try:
        with torch.no_grad():
            mine = models.get(OURS, dtype)(**inputs).last_hidden_state
    except Exception as error:
        return f"fails at a small size: {in_short(error)}"
    with torch.no_grad():
        theirs = models.get(LONGFORMER, "float32")(**inputs).last_hidden_state
    is_token_BT1 = inputs["attention_mask"].bool()[:, :, None]
    error = float(((mine.float() - theirs) * is_token_BT1).abs().max())
    allowed = 1e-4 if dtype == "float32" else 1e-1
    return None if error <= allowed else f"disagrees with transformers by {error:.1e} (allowed {allowed:.0e})"


def _models(setting: ModelSetting, size: Size, n_positions: int = 0) -> Models:
    return Models(
        size,
        n_positions=n_positions or max(max(rows) for rows in setting.batches()),
        window=setting.window,
        dropout=setting.dropout,
        backend=setting.backend,
        device=setting.device,
        for_masked_lm=setting.task == "training-step",
    )


def _point(
    setting: ModelSetting,
    size: Size,
    models: Models,
    what: str,
    dtype: str,
    system: str,
    name: str,
    batches: list[tuple[int, ...]],
) -> Point:
    call = partial(_call, setting, models, what, dtype, system)
    on_gpu = device_type(setting.device) == "cuda"
    longest = max(max(rows) for rows in batches)
    short = [(min(64, longest),)]
    return Point(
        what=what,
        system=name,
        # Rows of several lengths are told by all their tokens.
        n_tokens=sum(map(sum, batches)) if setting.padded else longest,
        dtype=dtype,
        make=partial(call, batches),
        # A whole call takes long on the CPU, and there is nothing to warm up that a short one does not.
        warm_up=None if on_gpu else partial(call, short),
        is_chosen=name == OURS,
        n_bytes=max(_estimate(setting, size, system, what, dtype, rows) for rows in batches),
        multiple_of=setting.window if system == LONGFORMER else 1,
        counts_all=True,
        compiles=on_gpu,
    )


def _call(
    setting: ModelSetting, models: Models, what: str, dtype: str, system: str, batches: list[tuple[int, ...]]
) -> Call:
    """One pass over every batch in turn."""
    is_training = what == STEP
    # Training keeps its weights in float32 and computes under autocast; an encoder's weights are cast.
    model = models.get(system, "float32" if is_training else dtype)
    inputs = [_inputs(setting, rows, with_labels=is_training) for rows in batches]
    if system in (FULL, MODERNBERT):
        inputs = [{name: x for name, x in batch.items() if name != "global_attention_mask"} for batch in inputs]
    if is_training:
        if setting.gradient_checkpointing:
            # The second name is that of older transformers.
            getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()
        make = OPTIMIZERS[setting.optimizer]
        optimizer = None if make is None else make(model.parameters(), lr=1e-6)
        autocast = None if dtype == "float32" else getattr(torch, dtype)
        return _in_turn([masked_lm_step(model, batch, optimizer, autocast) for batch in inputs])
    return _in_turn([_encode(model, batch, backward=what == ENCODER_BOTH) for batch in inputs])


def _encode(model: Any, inputs: dict[str, Tensor], *, backward: bool) -> Call:
    def run() -> None:
        with torch.set_grad_enabled(backward):
            hidden_BTC = model(**inputs).last_hidden_state
            if backward:
                hidden_BTC.backward(torch.ones_like(hidden_BTC))
                model.zero_grad(set_to_none=True)

    return run


def _in_turn(calls: list[Call]) -> Call:
    if len(calls) == 1:
        return calls[0]

    def run() -> None:
        for call in calls:
            call()

    return run


def _inputs(setting: ModelSetting, rows: tuple[int, ...], *, with_labels: bool = False) -> dict[str, Tensor]:
    """Token ids [B, T], a mask where rows differ, the global tokens where there are some, labels of masked words."""
    vocabulary = read_size(setting.size).vocab_size
    draw = torch.Generator().manual_seed(0)
    shape = (len(rows), max(rows))
    ids_BT = torch.randint(FIRST_WORD, vocabulary, shape, generator=draw)
    is_token_BT = torch.arange(max(rows)) < torch.tensor(rows)[:, None]
    inputs = {"input_ids": ids_BT.masked_fill(~is_token_BT, PAD)}
    if not is_token_BT.all():
        inputs["attention_mask"] = is_token_BT.long()
    if setting.n_global:
        inputs["global_attention_mask"] = (torch.arange(max(rows)) < setting.n_global).long().expand(
            shape
        ) * is_token_BT
    if with_labels:
        is_asked_BT = (torch.rand(shape, generator=draw) < _SHARE_MASKED) & is_token_BT
        is_asked_BT[:, 0] = True
        inputs["labels"] = ids_BT.masked_fill(~is_asked_BT, -100)
    return {name: x.to(setting.device) for name, x in inputs.items()}


def _estimate(setting: ModelSetting, size: Size, system: str, what: str, dtype: str, rows: tuple[int, ...]) -> float:
    """Bytes at the peak, roughly: weights, activations, scores where a system holds them, logits."""
    n_tokens, n_rows, n_layers = max(rows), len(rows), size.num_hidden_layers
    item = getattr(torch, dtype).itemsize
    trains = what != ENCODER
    kept = 1 if not trains or setting.gradient_checkpointing else n_layers
    weights = size.n_parameters() * 4.0 * (1 + trains + 2 * (trains and setting.optimizer == "adamw"))
    per_token = (10 * size.hidden_size + 3 * size.intermediate_size) * item * (kept if trains else 1)
    scores = 0.0
    if system == LONGFORMER:
        heads = size.num_attention_heads
        scores = n_rows * (
            n_tokens**2 * 4.0 + heads * n_tokens * 1.5 * setting.window * 4 * (2 * kept if trains else 4)
        )
    elif system == MODERNBERT:
        scores = n_rows * n_tokens**2 * 4.0
    elif system == FULL and what == STEP and setting.dropout and device_type(setting.device) == "cpu":
        # With dropout SDPA on the CPU holds every score.
        scores = n_rows * size.num_attention_heads * n_tokens**2 * 4.0 * 2 * kept
    logits = n_rows * n_tokens * size.vocab_size * 4.0 * 3 if what == STEP else 0.0
    return weights + n_rows * n_tokens * per_token + scores + logits


def _probe_apart(setting: ModelSetting, point: Point) -> Probe:
    return probe_apart(_probeable, (setting, point.key), 3 * setting.seconds + 120)


def _probe_alone(setting: ModelSetting, point: Point) -> Probe:
    """In this process, with weights that no other model shares."""
    return probe(_probeable(setting, point.key), setting.device)


def _probeable(setting: ModelSetting, key: tuple[str, str, int, str]) -> Probeable:
    return next(point for point in model_points(setting) if point.key == key).probeable()


def parse_padded(text: str) -> tuple[int, ...]:
    """Lengths of rows from "4096,512x7".

    Raises:
        InputError: it cannot be read.
    """
    rows: list[int] = []
    for part in text.split(","):
        length, _, times = part.strip().partition("x")
        if not length.isdigit() or (times and not times.isdigit()) or not math.prod(map(int, (length, times or "1"))):
            raise InputError(f"--padded takes lengths such as 4096,512x7, not {text!r}")
        rows += [int(length)] * int(times or 1)
    return tuple(rows)
