"""The kernels as operators of torch, which torch.compile keeps whole, without a graph break.

B batch rows  T tokens  H attention heads  D width per head  G global slots
"""

from typing import Any

import torch
from torch import Tensor

# The arguments of both operators beside the vectors: `Visibility`, the seed of the dropout, and numbers.
_SCHEMA = (
    "Tensor? kind_BT, Tensor? first_BT, Tensor? last_BT, Tensor? slot_BG, Tensor? first_slot_BT, Tensor? last_slot_BT,"
    " Tensor? seed, SymInt[] dilations, SymInt left, SymInt right, float scale, float dropout_p"
)
_N_SETTINGS = _SCHEMA.count(",") + 1


def _like(x_BHTD: Tensor) -> Tensor:
    """A new tensor like `x_BHTD`, in memory [B, T, H, D] so that models join heads without a copy."""
    B, H, T, D = x_BHTD.shape
    return torch.empty(B, T, H, D, dtype=x_BHTD.dtype, device=x_BHTD.device).transpose(1, 2)


@torch.library.custom_op(
    "longspan::window_attention",
    mutates_args=(),
    schema=f"(Tensor q_BHTD, Tensor k_BHTD, Tensor v_BHTD, {_SCHEMA}) -> (Tensor, Tensor)",
)
def window_attention(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, *settings: Any) -> tuple[Tensor, Tensor]:
    """The local rows: output [B, H, T, D] in q's dtype, and base-2 log-sum-exp [B, H, T] in float32."""
    from longspan.attention.triton.launch import TritonCall, forward

    call = TritonCall.of(q_BHTD, k_BHTD, v_BHTD, settings[:6], *settings[6:])
    out_BHTD = _like(q_BHTD)
    lse_BHT = torch.empty(q_BHTD.shape[:3], dtype=torch.float32, device=q_BHTD.device)
    forward(call, out_BHTD, lse_BHT)
    return out_BHTD, lse_BHT


@window_attention.register_fake
def _(q_BHTD: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
    return _like(q_BHTD), q_BHTD.new_empty(q_BHTD.shape[:3], dtype=torch.float32)


@torch.library.custom_op(
    "longspan::window_attention_backward",
    mutates_args=(),
    schema=(
        "(Tensor grad_BHTD, Tensor out_BHTD, Tensor lse_BHT, Tensor q_BHTD, Tensor k_BHTD, Tensor v_BHTD,"
        f" {_SCHEMA}) -> (Tensor, Tensor, Tensor)"
    ),
)
def window_attention_backward(
    grad_BHTD: Tensor,
    out_BHTD: Tensor,
    lse_BHT: Tensor,
    q_BHTD: Tensor,
    k_BHTD: Tensor,
    v_BHTD: Tensor,
    *settings: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of q, k and v, each [B, H, T, D]."""
    from longspan.attention.triton.launch import TritonCall, backward

    call = TritonCall.of(q_BHTD, k_BHTD, v_BHTD, settings[:6], *settings[6:])
    grads = (_like(q_BHTD), _like(k_BHTD), _like(v_BHTD))
    backward(call, grad_BHTD, out_BHTD, lse_BHT, *grads)
    return grads


@window_attention_backward.register_fake
def _(
    grad_BHTD: Tensor,
    out_BHTD: Tensor,
    lse_BHT: Tensor,
    q_BHTD: Tensor,
    k_BHTD: Tensor,
    v_BHTD: Tensor,
    *arguments: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    return _like(q_BHTD), _like(k_BHTD), _like(v_BHTD)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    out_BHTD, lse_BHT = output
    ctx.save_for_backward(out_BHTD, lse_BHT, *inputs[:10])
    ctx.options = inputs[10:]
    ctx.mark_non_differentiable(lse_BHT)
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad_BHTD: Tensor | None, _: None) -> tuple[Any, ...]:
    if grad_BHTD is None:
        return (None,) * (3 + _N_SETTINGS)
    grads = window_attention_backward(grad_BHTD, *ctx.saved_tensors, *ctx.options)
    return *grads, *[None] * _N_SETTINGS


window_attention.register_autograd(_backward, setup_context=_setup_context)
