"""softmax(q k^T + bias) v of one block, with its log-sum-exp, forward and backward.

A backward is given the output and the log-sum-exp of the whole row, of which the block's keys may be a part: the
gradients are then those of one softmax over all parts. Two ways: torch's flash kernel for the CPU, and plain matrix
products. q is [B, H, K, D], k and v are [B, H, R, D], a bias broadcasts to [B, H, K, R], the log-sum-exp is [B, H, K].

B batch rows  H attention heads  K queries of the block  R keys of its range  D width per head
"""

import torch
from torch import Tensor

# Added to the score of a key that is not seen, or stands for it. Finite: of a row that sees no key in one part (its
# window, the global columns), that part then weighs exp(-1e30 - ...) = 0, where minus infinity would give NaN. Rows
# that see nothing at all (padding, or a global token in its window) get an average that is thrown away, and NaN would
# reach gradients.
UNSEEN = -1e30


def cpu_computes_bf16() -> bool:
    """Whether the processor has instructions for bfloat16; one without emulates it, many times slower than float32."""
    # torch asks the processor under private names; where it has none, float32 is never wrong.
    asks = [getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")]
    return any(ask is not None and ask() for ask in asks)


def flash_forward(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float) -> tuple[Tensor, Tensor]:
    """Output and log-sum-exp by torch's flash kernel for the CPU; any strides but for the last axis."""
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, attn_mask=bias, scale=scale)


def flash_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, bias: Tensor | None, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of q, k, v by the same kernel."""
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
        grad, q, k, v, out, lse, 0.0, False, attn_mask=bias, scale=scale
    )


def matmul_forward(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """The same by matrix products, which run anywhere, for vectors of half precision too; the bias is in float32."""
    prob, lse = _probabilities(q, k, bias, scale, None)
    return prob.to(v.dtype) @ v, lse


def matmul_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, bias: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of q, k, v by matrix products."""
    prob, _ = _probabilities(q, k, bias, scale, lse)
    grad_prob = (grad @ v.mT).to(prob.dtype)
    # The sum over all keys, those of other parts too, of probability x its gradient.
    delta = (grad.to(prob.dtype) * out).sum(dim=-1, keepdim=True)
    grad_score = grad_prob.sub_(delta).mul_(prob).to(q.dtype)
    grad_v = prob.to(v.dtype).mT @ grad
    return (grad_score @ k).mul_(scale), grad_score.mT @ (q * scale), grad_v


def _probabilities(q: Tensor, k: Tensor, bias: Tensor, scale: float, lse: Tensor | None) -> tuple[Tensor, Tensor]:
    """Probabilities in float32 (or float64), and the log-sum-exp: the given one, or that of these scores alone."""
    # Not in half precision, which would round scores before the softmax.
    dtype = torch.promote_types(q.dtype, torch.float32)
    score = (q.to(dtype) * scale) @ k.to(dtype).mT
    score = score.add_(bias)
    if lse is None:
        lse = score.logsumexp(dim=-1)
    return score.sub_(lse[..., None]).exp_(), lse


def merge(out_1: Tensor, lse_1: Tensor, out_2: Tensor, lse_2: Tensor) -> tuple[Tensor, Tensor]:
    """One softmax over two sets of keys, from the output and log-sum-exp over each."""
    lse = torch.logaddexp(lse_1, lse_2)
    out = (out_1 * (lse_1 - lse).exp_()[..., None]).addcmul_(out_2, (lse_2 - lse).exp_()[..., None])
    return out, lse


def dropped_factors(shape: tuple[int, ...], dropout_p: float, generator: torch.Generator) -> Tensor:
    """0 with probability `dropout_p` (to within 2^-16), else what keeps the expectation at exactly 1; float32.

    Sixteen random bits decide one probability, so that a 64-bit draw serves four: drawing is what dropout costs.
    """
    n_dropped = min(round(dropout_p * 2**16), 2**16 - 1)
    n = torch.Size(shape).numel()
    bits = torch.empty((n + 3) // 4, dtype=torch.int64, device=generator.device).random_(
        -(2**63), None, generator=generator
    )
    is_kept = bits.view(torch.int16)[:n].view(shape) >= n_dropped - 2**15
    return is_kept.to(torch.float32).mul_(2**16 / (2**16 - n_dropped))
