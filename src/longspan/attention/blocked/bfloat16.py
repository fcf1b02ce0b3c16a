"""The window in bfloat16 on a CPU with instructions for it: matrix products whose results stay in bfloat16.

The products sum in float32 and round once. Converting each block of scores to float32 and back would take longer than
the products. What bfloat16 is too coarse for is therefore done outside of the blocks:

- The forward sums probabilities by `N_SUMS` columns beside the values. Each sums every `N_SUMS`-th key, so that the
  rounding errors of the partial sums average out.
- The backward normalises the gradients of a query instead of its probabilities: exp(score) is rounded more finely than
  exp(score - log-sum-exp). Only for queries whose exponentials might overflow, scores are shifted first.
- Delta, which is subtracted from the gradients of the probabilities, is the sum of two bfloat16 numbers beside the
  gradients; the values have ones there. So the difference is rounded, not its parts.

n sequences  H attention heads  N = n*H of them  L tokens of a sequence  D width per head
K queries of a block  R keys of its range
"""

import torch
from torch import Tensor

from longspan.attention.block_softmax import UNSEEN
from longspan.attention.blocked.layout import BlockedPlan, SequenceGroup
from longspan.attention.blocked.window import (
    LOG2_E,
    Scratch,
    Vectors,
    blocks,
    flat,
    hidden_keys,
    hide,
    negated_lse_and_delta,
    parts,
)

N_SUMS = 16
# The largest base-2 log-sum-exp, up or down, for which 2^score is computed without a shift; bfloat16 ends at 2^128.
MODERATE = 60.0


def computes_in_bfloat16(q_BHTD: Tensor, plan: BlockedPlan) -> bool:
    """Whether this file computes the window: bfloat16 on a CPU, without dropout."""
    return q_BHTD.dtype == torch.bfloat16 and q_BHTD.device.type == "cpu" and not plan.dropout_p


def forward_in_bfloat16(x: Vectors, group: SequenceGroup, plan: BlockedPlan) -> None:
    """Write output and log-sum-exp over the window."""
    D = x.q_BHTD.shape[3]
    for part, heads in parts(group, x.q_BHTD, plan):
        q_NLD, k_NLD = (flat(part, t, heads) for t in x[:2])
        v_NLE = _with_columns(flat(part, x.v_BHTD, heads), _every_nth(part.length))
        out_nHLD, lse_nHL1 = part.view(x.out_BHTD[:, heads]), part.view(x.lse_BHT1[:, heads])
        is_hidden_n1L = hidden_keys(part, plan)
        scratch = Scratch()
        for queries, keys in blocks(part, plan, q_NLD.device):
            q_NKD, k_NRD, v_NRE = (t.contiguous() for t in (q_NLD[:, queries], k_NLD[:, keys], v_NLE[:, keys]))
            score_NKR = scratch.bmm("scores", q_NKD, k_NRD.mT, plan.scale * LOG2_E)
            hide(score_NKR, queries, keys, plan.pattern, is_hidden_n1L, -torch.inf, UNSEEN)
            largest_NK1 = score_NKR.amax(dim=-1, keepdim=True)
            prob_NKR = torch.exp2(score_NKR.sub_(largest_NK1), out=score_NKR)
            weighed_NKE = scratch.bmm("output", prob_NKR, v_NRE)
            sum_NK1 = weighed_NKE[..., D:].sum(dim=-1, keepdim=True, dtype=torch.float32)
            out_nHKD, lse_nHK1 = out_nHLD[:, :, queries], lse_nHL1[:, :, queries]
            out_nHKD.copy_(weighed_NKE[..., :D].view(out_nHKD.shape)).div_(sum_NK1.view(lse_nHK1.shape))
            lse_nHK1.copy_(sum_NK1.log2_().add_(largest_NK1).mul_(1 / LOG2_E).view(lse_nHK1.shape))


def backward_in_bfloat16(x: Vectors, group: SequenceGroup, plan: BlockedPlan) -> None:
    """Add the gradients, from the merged output and log-sum-exp of window and global columns."""
    assert x.grad_BHTD is not None
    assert x.grad_q_BHTD is not None and x.grad_k_BHTD is not None and x.grad_v_BHTD is not None
    D = x.q_BHTD.shape[3]
    ones = torch.ones(2, dtype=torch.bfloat16)
    for part, heads in parts(group, x.q_BHTD, plan):
        minus_lse_NL1, minus_delta_NL1 = negated_lse_and_delta(part, x, heads)
        shift_NL1 = _shift(minus_lse_NL1)
        is_shifted = bool(shift_NL1.any())
        largest_NL1 = (-minus_lse_NL1 - shift_NL1).to(torch.bfloat16)
        factor_NL1 = torch.exp2((minus_lse_NL1 + shift_NL1).clamp_(max=100.0))
        q_NLD, k_NLD, grad_NLD = (flat(part, t, heads) for t in (x.q_BHTD, x.k_BHTD, x.grad_BHTD))
        grad_NLE = _with_columns((grad_NLD * factor_NL1).to(torch.bfloat16), _two_numbers(minus_delta_NL1 * factor_NL1))
        v_NLE = _with_columns(flat(part, x.v_BHTD, heads), ones)
        grad_q, grad_k, grad_v = (part.view(t[:, heads]) for t in (x.grad_q_BHTD, x.grad_k_BHTD, x.grad_v_BHTD))
        is_hidden_n1L = hidden_keys(part, plan)
        scratch = Scratch()
        for queries, keys in blocks(part, plan, q_NLD.device):
            q_NKD, grad_NKE = q_NLD[:, queries].contiguous(), grad_NLE[:, queries].contiguous()
            k_NRD, v_NRE = k_NLD[:, keys].contiguous(), v_NLE[:, keys].contiguous()
            score_NKR = scratch.bmm("scores", q_NKD, k_NRD.mT, plan.scale * LOG2_E)
            if is_shifted:
                torch.minimum(score_NKR.sub_(shift_NL1[:, queries]), largest_NL1[:, queries], out=score_NKR)
            exp_NKR = torch.exp2(score_NKR, out=score_NKR)
            hide(exp_NKR, queries, keys, plan.pattern, is_hidden_n1L, 0.0, 0.0)
            grad_score_NKR = scratch.bmm("gradients", grad_NKE, v_NRE.mT).mul_(exp_NKR)
            of_queries, of_keys, of_values = grad_q[:, :, queries], grad_k[:, :, keys], grad_v[:, :, keys]
            of_queries += scratch.bmm("queries", grad_score_NKR, k_NRD, plan.scale).view(of_queries.shape)
            of_keys += scratch.bmm("keys", grad_score_NKR.mT, q_NKD, plan.scale).view(of_keys.shape)
            of_values += scratch.bmm("keys", exp_NKR.mT, grad_NKE)[..., :D].view(of_values.shape)


def _shift(minus_lse_NL1: Tensor) -> Tensor:
    """What is subtracted from the scores of each query: zero, or its log-sum-exp, rounded up, if that is far from zero.

    It is rounded up, by at most 2^-8 of it, so that shifted scores stay below zero. Padding (1e30) and queries that see
    no key (-1e30) are not shifted: their factor, or their gradient, is zero.
    """
    size_NL1 = minus_lse_NL1.abs()
    above_NL1 = (size_NL1 * 2**-9 - minus_lse_NL1).to(torch.bfloat16)
    return above_NL1.where((size_NL1 > MODERATE) & (size_NL1 < 1e29), 0.0)


def _with_columns(x_NLD: Tensor, columns: Tensor) -> Tensor:
    """`x_NLD` with further columns, broadcasting to [N, L, number of columns]; contiguous."""
    return torch.cat((x_NLD, columns.expand(*x_NLD.shape[:2], -1)), dim=-1)


def _two_numbers(x_NL1: Tensor) -> Tensor:
    """Float32 numbers as sums of two bfloat16 numbers, [N, L, 2]: about 16 bits of each."""
    high_NL1 = x_NL1.to(torch.bfloat16)
    return torch.cat((high_NL1, (x_NL1 - high_NL1).to(torch.bfloat16)), dim=-1)


def _every_nth(length: int) -> Tensor:
    """One where the column is the token's position modulo `N_SUMS`, bfloat16 [L, N_SUMS]."""
    return torch.eye(N_SUMS, dtype=torch.bfloat16).repeat(-(-length // N_SUMS), 1)[:length]
