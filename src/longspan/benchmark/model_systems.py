"""The systems of the model benchmarks: ours and its peers on one batch.

B batch rows  T tokens
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from longspan.benchmark.architectures import (
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
from longspan.benchmark.measure_points import Point
from longspan.benchmark.settings import ENCODER, ENCODER_BOTH, OPTIMIZERS, STEP, ModelSettings, device_type
from longspan.benchmark.timing import Call

AS_FULL_ROWS = "the same tokens as full rows"
_SHARE_MASKED = 0.15


def model_points(settings: ModelSettings) -> list[Point]:
    """The points to measure, in order of length; nothing is allocated before a point is made."""
    size = read_size(settings.size)
    models = models_of(settings)
    points = []
    for what in settings.whats():
        for dtype in settings.dtypes:
            for rows in settings.batches():
                for system in SYSTEMS:
                    if not settings.wants(system, is_chosen=system == OURS):
                        continue
                    layouts = [(system, [rows])]
                    if settings.padded:
                        full = [(length,) * rows.count(length) for length in sorted(set(rows))]
                        layouts.append((f"{system}, {AS_FULL_ROWS}", full))
                    for name, batches in layouts:
                        points.append(_point(settings, size, models, what, dtype, system, name, batches))
    return points


def models_of(settings: ModelSettings, n_positions: int = 0) -> Models:
    """The models for settings, for their longest row or `n_positions` tokens."""
    return Models(
        read_size(settings.size),
        n_positions=n_positions or max(max(rows) for rows in settings.batches()),
        window=settings.window,
        dropout=settings.dropout,
        backend=settings.backend,
        device=settings.device,
        for_masked_lm=settings.task == "training-step",
    )


def _point(
    settings: ModelSettings,
    size: Size,
    models: Models,
    what: str,
    dtype: str,
    system: str,
    name: str,
    batches: list[tuple[int, ...]],
) -> Point:
    call = partial(_call, settings, models, what, dtype, system)
    on_gpu = device_type(settings.device) == "cuda"
    longest = max(max(rows) for rows in batches)
    short = [(min(64, longest),)]
    return Point(
        what=what,
        system=name,
        # Rows of several lengths are reported by the sum of their tokens.
        n_tokens=sum(map(sum, batches)) if settings.padded else longest,
        dtype=dtype,
        make=partial(call, batches),
        # On the CPU a short call warms up as much as a whole one, which takes long.
        warm_up=None if on_gpu else partial(call, short),
        is_chosen=name == OURS,
        n_bytes=max(_estimate(settings, size, system, what, dtype, rows) for rows in batches),
        multiple_of=settings.window if system == LONGFORMER else 1,
        counts_all=True,
        compiles=on_gpu,
    )


def _call(
    settings: ModelSettings, models: Models, what: str, dtype: str, system: str, batches: list[tuple[int, ...]]
) -> Call:
    """A call that processes every batch once."""
    is_training = what == STEP
    # Training keeps its weights in float32 and computes under autocast; an encoder's weights are cast.
    model = models.get(system, "float32" if is_training else dtype)
    inputs = [inputs_of(settings, rows, with_labels=is_training) for rows in batches]
    if system in (FULL, MODERNBERT):
        inputs = [{name: x for name, x in batch.items() if name != "global_attention_mask"} for batch in inputs]
    if is_training:
        if settings.gradient_checkpointing:
            # Older versions of transformers have the second name only.
            getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()
        make = OPTIMIZERS[settings.optimizer]
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


def inputs_of(settings: ModelSettings, rows: tuple[int, ...], *, with_labels: bool = False) -> dict[str, Tensor]:
    """The inputs of a model: token ids [B, T], masks if needed, and with `with_labels` labels of masked words."""
    vocabulary = read_size(settings.size).vocab_size
    draw = torch.Generator().manual_seed(0)
    shape = (len(rows), max(rows))
    ids_BT = torch.randint(FIRST_WORD, vocabulary, shape, generator=draw)
    is_token_BT = torch.arange(max(rows)) < torch.tensor(rows)[:, None]
    inputs = {"input_ids": ids_BT.masked_fill(~is_token_BT, PAD)}
    if not is_token_BT.all():
        inputs["attention_mask"] = is_token_BT.long()
    if settings.n_global:
        inputs["global_attention_mask"] = (torch.arange(max(rows)) < settings.n_global).long().expand(
            shape
        ) * is_token_BT
    if with_labels:
        is_asked_BT = (torch.rand(shape, generator=draw) < _SHARE_MASKED) & is_token_BT
        is_asked_BT[:, 0] = True
        inputs["labels"] = ids_BT.masked_fill(~is_asked_BT, -100)
    return {name: x.to(settings.device) for name, x in inputs.items()}


def _estimate(settings: ModelSettings, size: Size, system: str, what: str, dtype: str, rows: tuple[int, ...]) -> float:
    """Estimated peak memory in bytes: weights, activations, scores if the system stores them, logits."""
    n_tokens, n_rows, n_layers = max(rows), len(rows), size.num_hidden_layers
    item = getattr(torch, dtype).itemsize
    trains = what != ENCODER
    kept = 1 if not trains or settings.gradient_checkpointing else n_layers
    weights = size.n_parameters() * 4.0 * (1 + trains + 2 * (trains and settings.optimizer == "adamw"))
    per_token = (10 * size.hidden_size + 3 * size.intermediate_size) * item * (kept if trains else 1)
    scores = 0.0
    if system == LONGFORMER:
        heads = size.num_attention_heads
        scores = n_rows * (
            n_tokens**2 * 4.0 + heads * n_tokens * 1.5 * settings.window * 4 * (2 * kept if trains else 4)
        )
    elif system == MODERNBERT:
        scores = n_rows * n_tokens**2 * 4.0
    elif system == FULL and what == STEP and settings.dropout and device_type(settings.device) == "cpu":
        # With dropout SDPA on the CPU stores every score.
        scores = n_rows * size.num_attention_heads * n_tokens**2 * 4.0 * 2 * kept
    logits = n_rows * n_tokens * size.vocab_size * 4.0 * 3 if what == STEP else 0.0
    return weights + n_rows * n_tokens * per_token + scores + logits
