"""softmax(q k^T + bias) v of one block of queries and keys, with its log-sum-exp, forward and backward.

There are two implementations: torch's flash kernel for the CPU, and matrix products. The keys of a block may be a part
of what its queries see. `merge_into` then joins the parts. Each backward gets the output and the log-sum-exp over all
parts, so that the gradients are those of one softmax (as in ring attention, Liu et al. 2023).

Shapes: q [B, H, K, D], k and v [B, H, R, D], bias broadcasting to [B, H, K, R], log-sum-exp [B, H, K].

B batch rows  H attention heads  K queries of the block  R keys of its range  D width per head
"""

import torch
from torch import Tensor

# The score of a hidden key, or a bias added to it. It is finite because minus infinity would give NaN: a row may see no
# key in one part (its window, or the global columns), and the merge then gives that part the weight exp(-1e30) = 0. A
# row that sees nothing at all (padding, or a global token in its window) gets an average that is discarded later; a NaN
# there would reach the gradients.
UNSEEN = -1e30


def cpu_computes_bf16() -> bool:
    """Whether the CPU has instructions for bfloat16; without them bfloat16 is many times slower than float32."""
    return _cpu_has("_is_avx512_bf16_supported") or cpu_has_amx()


def cpu_has_amx() -> bool:
    """Whether the CPU has Intel's matrix unit (AMX), with which torch's flash kernel is fast in bfloat16."""
    return _cpu_has("_is_amx_tile_supported")


def _cpu_has(name: str) -> bool:
    # These functions of torch are private; if they are missing, float32 is the safe choice.
    is_supported = getattr(torch.cpu, name, None)
    return is_supported is not None and is_supported()


def flash_forward(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float) -> tuple[Tensor, Tensor]:
    """Output and log-sum-exp by torch's flash kernel for the CPU; only the last axis must be contiguous."""
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, attn_mask=bias, scale=scale)


def flash_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, bias: Tensor | None, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of q, k and v by torch's flash kernel for the CPU."""
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
        grad, q, k, v, out, lse, 0.0, False, attn_mask=bias, scale=scale
    )


def matmul_forward(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Output and log-sum-exp by matrix products, on any device and in any dtype; the bias is float32 or float64."""
    prob, lse = _probabilities(q, k, bias, scale, None)
    return prob.to(v.dtype) @ v, lse


def matmul_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, bias: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of q, k and v by matrix products."""
    prob, _ = _probabilities(q, k, bias, scale, lse)
    grad_prob = (grad @ v.mT).to(prob.dtype)
    # Sum of probability x gradient over all keys, those of the other parts included.
    delta = (grad.to(prob.dtype) * out).sum(dim=-1, keepdim=True)
    grad_score = grad_prob.sub_(delta).mul_(prob).to(q.dtype)
    grad_v = prob.to(v.dtype).mT @ grad
    return (grad_score @ k).mul_(scale), grad_score.mT @ (q * scale), grad_v


def _probabilities(q: Tensor, k: Tensor, bias: Tensor, scale: float, lse: Tensor | None) -> tuple[Tensor, Tensor]:
    """Probabilities in float32 or float64, and the log-sum-exp; that of these scores alone if none is given."""
    # Half precision would round the scores before the softmax.
    dtype = torch.promote_types(q.dtype, torch.float32)
    score = (q.to(dtype) * scale) @ k.to(dtype).mT
    score = score.add_(bias)
    if lse is None:
        lse = score.logsumexp(dim=-1)
    return score.sub_(lse[..., None]).exp_(), lse


def merge_into(out: Tensor, lse: Tensor, part_out: Tensor, part_lse: Tensor) -> None:
    """Merge the softmax over more keys into `out` and `lse`, in place: they then stand for all keys together.

    Args:
        out: output over some keys, [..., D].
        lse: its log-sum-exp, [..., 1].
        part_out: output over other keys, like `out`.
        part_lse: its log-sum-exp, like `lse`.
    """
    # exp(part_lse) / (exp(lse) + exp(part_lse)), the share of the other keys.
    out.lerp_(part_out, torch.sigmoid(part_lse - lse).to(out.dtype))
    lse.copy_(torch.logaddexp(lse, part_lse))


def dropped_factors(shape: tuple[int, ...], dropout_p: float, generator: torch.Generator) -> Tensor:
    """Random dropout factors of `shape`, float32: 0 with probability `dropout_p`, else the inverse of the kept share.

    The probability is rounded to a multiple of 2^-16, and the expectation is exactly 1. Each factor takes 16 random
    bits, so that one 64-bit draw serves four of them: drawing is the cost of dropout.
    """
    n_dropped = min(round(dropout_p * 2**16), 2**16 - 1)
    n = torch.Size(shape).numel()
    bits = torch.empty((n + 3) // 4, dtype=torch.int64, device=generator.device).random_(
        -(2**63), None, generator=generator
    )
    is_kept = bits.view(torch.int16)[:n].view(shape) >= n_dropped - 2**15
    return is_kept.to(torch.float32).mul_(2**16 / (2**16 - n_dropped))
