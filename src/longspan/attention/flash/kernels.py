"""The flash kernels that torch ships, as a pair of functions: forward and backward.

They are called by the operator names that `torch.nn.attention.varlen` uses, which are the same in torch 2.11 and 2.13
and which `torch.nn.attention.activate_flash_attention_impl` overrides. `varlen` itself has no backward to call.

N tokens of all rows  H attention heads  D width per head  M another number of tokens
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from longspan.attention.flash.layout import SequenceOffsets


class FlashFunctions(NamedTuple):
    """The forward and the backward of flash attention on sequences of any lengths; tests use another pair on the CPU.

    Attributes:
        forward: `(q_NHD, k_MHD, v_MHD, offsets, window, scale)` -> output [N, H, D], log-sum-exp [H, N] in float32.
        backward: `(grad_NHD, q_NHD, k_MHD, v_MHD, out_NHD, lse_HN, offsets, window, scale)` -> gradients of q, k, v.

    `window` is the number of visible steps to the left and to the right, -1 for all.
    """

    forward: Callable[..., tuple[Tensor, Tensor]]
    backward: Callable[..., tuple[Tensor, Tensor, Tensor]]


def _torch_forward(
    q: Tensor, k: Tensor, v: Tensor, offsets: SequenceOffsets, window: tuple[int, int], scale: float
) -> tuple[Tensor, Tensor]:
    out, lse, *_ = torch.ops.aten._flash_attention_forward(
        q,
        k,
        v,
        *offsets,
        0.0,  # dropout
        False,  # causal: expressed by the window
        False,  # no debug mask
        scale=scale,
        window_size_left=window[0],
        window_size_right=window[1],
    )
    return out, lse


def _torch_backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    offsets: SequenceOffsets,
    window: tuple[int, int],
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    # The state of the random numbers, which only dropout reads.
    state = torch.zeros(2, dtype=torch.uint64, device=q.device)
    return torch.ops.aten._flash_attention_backward(
        grad,
        q,
        k,
        v,
        out,
        lse.contiguous(),
        *offsets,
        0.0,
        False,
        state,
        q.new_empty(0),
        scale=scale,
        window_size_left=window[0],
        window_size_right=window[1],
    )


TORCH_FUNCTIONS = FlashFunctions(_torch_forward, _torch_backward)
