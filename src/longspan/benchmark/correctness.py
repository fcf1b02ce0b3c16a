"""The check before anything is timed: a system must give the right results at a small size.

A backend must have the output and gradients of the reference. A model must have the output or loss of transformers'
Longformer, and its gradients if a backward is timed.
"""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from longspan.attention import AttentionPattern, attend
from longspan.attention.backends import BACKENDS
from longspan.attention.inputs import BackendRequest
from longspan.benchmark.architectures import LONGFORMER, OURS
from longspan.benchmark.flex_peer import block_mask
from longspan.benchmark.memory_probe import short_error
from longspan.benchmark.model_systems import inputs_of, models_of
from longspan.benchmark.settings import ENCODER, STEP, ModelSettings

# Relative to 1 + the largest value.
_ALLOWED = {"float32": 1e-5, "bfloat16": 3e-2, "float16": 5e-3}
# For a model, whose layers add up. Outputs and losses are near 1; gradients relative to the largest of their weight.
_ALLOWED_OF_MODEL = {"float32": 1e-4, "bfloat16": 1e-1, "float16": 1e-1}


def disagreement(
    pattern: AttentionPattern, backend: str, dtype: str, device: str, width: int, *, with_grad: bool = True
) -> str | None:
    """How far `backend` is from the reference on small cases, or None if it is right."""
    for small, n_tokens in _cases(pattern):
        call = _attend_with(small, backend)
        request = _request(small, n_tokens, dtype, device, width, with_grad)
        if BACKENDS[backend].reason_against(request) is None:
            wrong = _compare(call, small, n_tokens, dtype, device, width, with_grad)
            if wrong:
                return wrong
    return None


def disagreement_of_flex(pattern: AttentionPattern, dtype: str, device: str, width: int) -> str | None:
    """`disagreement` of FlexAttention with our list of blocks, not compiled."""
    from torch.nn.attention.flex_attention import flex_attention

    for small, n_tokens in _cases(pattern):
        mask = block_mask(small, _n_heads(small), n_tokens, device)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="flex_attention called without torch.compile")
            wrong = _compare(
                lambda q, k, v, mask=mask: flex_attention(q, k, v, block_mask=mask),  # pyright: ignore
                small, n_tokens, dtype, device, width, with_grad=False,
            )  # fmt: skip
        if wrong:
            return wrong
    return None


def _attend_with(pattern: AttentionPattern, backend: str) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    return lambda q, k, v: attend(q, k, v, pattern, backend=backend)


def _cases(pattern: AttentionPattern) -> list[tuple[AttentionPattern, int]]:
    """A tiny window over an odd number of tokens, and a window closer to what is timed."""
    tiny = replace(pattern, left=min(pattern.left, 9), right=min(pattern.right, 9), n_global=min(pattern.n_global, 3))
    larger = replace(pattern, left=min(pattern.left, 130), right=min(pattern.right, 130))
    return [(tiny, 111), (larger, 700)]


def _n_heads(pattern: AttentionPattern) -> int:
    return len(pattern.dilation) if isinstance(pattern.dilation, tuple) else 2


def _request(
    pattern: AttentionPattern, n_tokens: int, dtype: str, device: str, width: int, needs_grad: bool
) -> BackendRequest:
    return BackendRequest(
        n_rows=2, n_heads=_n_heads(pattern), n_tokens=n_tokens, width=width, device=torch.device(device).type,
        dtype=getattr(torch, dtype), needs_grad=needs_grad, pattern=pattern,
    )  # fmt: skip


def _compare(
    call: Callable[[Tensor, Tensor, Tensor], Tensor],
    pattern: AttentionPattern,
    n_tokens: int,
    dtype: str,
    device: str,
    width: int,
    with_grad: bool,
) -> str | None:
    draw = torch.Generator().manual_seed(0)
    shape = (2, _n_heads(pattern), n_tokens, width)
    vectors = [torch.randn(shape, generator=draw).to(getattr(torch, dtype)).to(device) for _ in range(4)]
    try:
        found = _outputs(call, vectors, with_grad)
    except Exception as error:
        return f"fails at a small size: {short_error(error)}"
    true = _outputs(_attend_with(pattern, "reference"), [x.double() for x in vectors], with_grad)
    error = max(float((a.double() - b).abs().max() / (1 + b.abs().max())) for a, b in zip(found, true, strict=True))
    allowed = _ALLOWED[dtype]
    # Written so that NaN is refused.
    return None if error <= allowed else f"disagrees with the reference by {error:.1e} (allowed {allowed:.0e})"


def _outputs(call: Callable[[Tensor, Tensor, Tensor], Tensor], vectors: list[Tensor], with_grad: bool) -> list[Tensor]:
    """The output, and with `with_grad` the gradients of q, k and v."""
    leaves = [x.clone().requires_grad_(with_grad) for x in vectors[:3]]
    with torch.set_grad_enabled(with_grad):
        out = call(leaves[0], leaves[1], leaves[2])
        return [out.detach(), *(torch.autograd.grad(out, leaves, vectors[3]) if with_grad else ())]


def model_disagreement(settings: ModelSettings, dtype: str) -> str | None:
    """How far a tiny model of ours is from transformers' Longformer, or None if it is right."""
    tiny = replace(settings, size="tiny", window=min(settings.window, 16), batch=2, dropout=0.0)
    models = models_of(tiny, n_positions=70)
    what = tiny.whats()[-1]
    inputs = inputs_of(tiny, (70, 33), with_labels=what == STEP)
    try:
        # Training keeps its weights in float32 and computes under autocast; an encoder's weights are cast.
        mine = _results(models.get(OURS, "float32" if what == STEP else dtype), inputs, what, dtype)
    except Exception as error:
        return f"fails at a small size: {short_error(error)}"
    theirs = _results(models.get(LONGFORMER, "float32"), inputs, what, "float32")
    if mine.keys() != theirs.keys():
        return f"has other gradients than transformers: {', '.join(sorted(mine.keys() ^ theirs.keys()))}"
    allowed = _ALLOWED_OF_MODEL[dtype]
    # The gradient of a key's bias is zero except for rounding, which is compared with the largest gradient.
    largest = max((float(x.abs().max()) for name, x in theirs.items() if name.startswith("the gradient")), default=0.0)
    for name, true in theirs.items():
        size = max(float(true.abs().max()), 1e-2 * largest) if name.startswith("the gradient") else 1.0
        error = float((mine[name].float() - true).abs().max()) / size
        if not error <= allowed:
            return f"disagrees with transformers by {error:.1e} (allowed {allowed:.0e}) in {name}"
    return None


def _results(model: Any, inputs: dict[str, Tensor], what: str, dtype: str) -> dict[str, Tensor]:
    """The output at tokens or the loss, and the gradients if they are timed."""
    device = inputs["input_ids"].device.type
    autocast = torch.autocast(device, dtype=getattr(torch, dtype), enabled=what == STEP and dtype != "float32")
    with torch.set_grad_enabled(what != ENCODER), autocast:
        output = model(**inputs)
    if what == STEP:
        found = {"the loss": output.loss.detach()}
        output.loss.backward()
    else:
        hidden_BTC = output.last_hidden_state * inputs["attention_mask"][:, :, None]
        found = {"the output": hidden_BTC.detach()}
        if what != ENCODER:
            # Random weights: after a norm the gradient of a plain sum is zero.
            weight_BTC = torch.randn(hidden_BTC.shape, generator=torch.Generator().manual_seed(0))
            hidden_BTC.backward(weight_BTC.to(hidden_BTC))
    gradients = {f"the gradient of {name}": x.grad for name, x in model.named_parameters() if x.grad is not None}
    return found | gradients
