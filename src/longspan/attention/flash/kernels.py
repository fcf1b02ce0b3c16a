"""The flash kernels that torch ships, as one value with a forward and a backward.

They are reached under the names that `torch.nn.attention.varlen` calls too, the same in torch 2.11 and 2.13, and
overridden by `torch.nn.attention.activate_flash_attention_impl`; varlen itself offers no backward to call.

N tokens of all rows  H attention heads  D width per head  M another number of tokens
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from longspan.attention.flash.layout import Cuts


class Kernel(NamedTuple):
    """One call of the library. Tests have another that runs on the CPU.

    `forward(q_NHD, k_MHD, v_MHD, cuts, window, scale)` gives the output [N, H, D] and the log-sum-exp [H, N], float32.
    `backward(grad_NHD, q_NHD, k_MHD, v_MHD, out_NHD, lse_HN, cuts, window, scale)` gives the gradients of q, k, v.
    `window` is steps to the left and to the right, -1 for all.
    """

    forward: Callable[..., tuple[Tensor, Tensor]]
    backward: Callable[..., tuple[Tensor, Tensor, Tensor]]


def _library_forward(
    q: Tensor, k: Tensor, v: Tensor, cuts: Cuts, window: tuple[int, int], scale: float
) -> tuple[Tensor, Tensor]:
    out, lse, *_ = torch.ops.aten._flash_attention_forward(
        q,
        k,
        v,
        *cuts,
        0.0,  # dropout
        False,  # causal: the window says so
        False,  # no debug mask
        scale=scale,
        window_size_left=window[0],
        window_size_right=window[1],
    )
    return out, lse


def _library_backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    cuts: Cuts,
    window: tuple[int, int],
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    # The state of random numbers, which only dropout reads.
    state = torch.zeros(2, dtype=torch.uint64, device=q.device)
    return torch.ops.aten._flash_attention_backward(
        grad,
        q,
        k,
        v,
        out,
        lse.contiguous(),
        *cuts,
        0.0,
        False,
        state,
        q.new_empty(0),
        scale=scale,
        window_size_left=window[0],
        window_size_right=window[1],
    )


LIBRARY = Kernel(_library_forward, _library_backward)
