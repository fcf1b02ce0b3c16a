"""The window of `blocked`: blocks of queries against the range of keys that their windows reach, forward and backward.

On a CPU the forward is torch's flash kernel on a batch of blocks: the key ranges of neighbouring blocks are overlapping
views, and all blocks share one banded bias. On other devices, with dropout, and in bfloat16 on a CPU with instructions
for it, the forward is matrix products over blocks of queries. The backward is matrix products too, except for sequences
that the window covers. docs/experiments.md lists the alternatives that were measured.

n sequences or blocks  H attention heads  N = n*H of them  L tokens of a sequence  D width per head
K queries of a block  R keys of its range
"""

import functools
import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from longspan.attention.block_softmax import UNSEEN, dropped_factors, flash_backward, flash_forward
from longspan.attention.blocked.layout import BlockedPlan, HeadGroup, SequenceGroup
from longspan.attention.pattern import AttentionPattern
from longspan.attention.tensor_cache import ByteLimitedCache

LOG2_E = math.log2(math.e)
# The biases of a window of 512 take about 1 MiB together, those of a window of 4,096 about 55 MiB. Those of wider
# windows are made for every call, which takes little time beside the blocks.
_BIASES = ByteLimitedCache(2**26)


class Vectors(NamedTuple):
    """The tensors of a call for heads of one dilation, in the dtype of the products.

    The forward writes `out_BHTD` and `lse_BHT1`, the backward writes the gradients.
    """

    q_BHTD: Tensor
    k_BHTD: Tensor
    v_BHTD: Tensor
    out_BHTD: Tensor
    lse_BHT1: Tensor
    grad_BHTD: Tensor | None = None
    grad_q_BHTD: Tensor | None = None
    grad_k_BHTD: Tensor | None = None
    grad_v_BHTD: Tensor | None = None

    def select(self, heads: HeadGroup) -> "Vectors":
        """The views of some heads."""
        q, k, v, out, lse = (heads.select(x) for x in self[:5])
        gradients = (None if x is None else heads.select(x) for x in self[5:])
        return Vectors(q, k, v, out, lse, *gradients)


class Scratch:
    """Memory that is reused from block to block, so that it stays in the cache and nothing is allocated."""

    def __init__(self) -> None:
        self._of_purpose: dict[str, Tensor] = {}

    def bmm(self, purpose: str, left: Tensor, right: Tensor, factor: float = 1.0, plus: Tensor | None = None) -> Tensor:
        """`factor` x `left` @ `right` (+ `plus`), valid until the next call with the same `purpose`."""
        shape = (left.shape[0], left.shape[1], right.shape[2])
        n = shape[0] * shape[1] * shape[2]
        memory = self._of_purpose.get(purpose)
        if memory is None or memory.numel() < n:
            memory = self._of_purpose[purpose] = left.new_empty(n)
        out = memory[:n].view(shape)
        if plus is None:
            return torch.baddbmm(out, left, right, beta=0, alpha=factor, out=out)
        return torch.baddbmm(plus, left, right, alpha=factor, out=out)


class BlockBatch(NamedTuple):
    """The blocks of one kernel call: queries, their keys, and the index of the first query among its keys."""

    queries: SequenceGroup
    keys: SequenceGroup
    offset: int


def forward_by_flash(x: Vectors, group: SequenceGroup, plan: BlockedPlan) -> None:
    """Write output and log-sum-exp over the window, by torch's flash kernel for the CPU."""
    key_bias_BHTD = None if plan.is_key_BT is None else _as_bias(plan.is_key_BT, x.q_BHTD.dtype)[:, None, :, None]
    for batch in _block_batches(group, plan, x.q_BHTD.dtype):
        q_nHKD, k_nHRD, v_nHRD = batch.queries.view(x.q_BHTD), batch.keys.view(x.k_BHTD), batch.keys.view(x.v_BHTD)
        shape = (batch.queries.length, batch.keys.length, batch.offset)
        bias = _band_bias(*shape, plan.pattern.left, plan.pattern.right, x.q_BHTD.dtype, x.q_BHTD.device)
        if key_bias_BHTD is not None:
            of_keys = batch.keys.view(key_bias_BHTD).mT
            bias = of_keys if bias is None else of_keys + bias
        out_nHKD, lse_nHK = flash_forward(q_nHKD, k_nHRD, v_nHRD, bias, plan.scale)
        batch.queries.view(x.out_BHTD).copy_(out_nHKD)
        batch.queries.view(x.lse_BHT1)[..., 0].copy_(lse_nHK)


def backward_by_flash(x: Vectors, group: SequenceGroup, plan: BlockedPlan) -> None:
    """Write the gradients of sequences that the window covers, by torch's flash kernel for the CPU."""
    assert x.grad_BHTD is not None
    assert x.grad_q_BHTD is not None and x.grad_k_BHTD is not None and x.grad_v_BHTD is not None
    bias = None
    if plan.is_key_BT is not None:
        bias = group.view(_as_bias(plan.is_key_BT, x.q_BHTD.dtype)[:, None, :, None]).mT
    q, k, v, out, lse, grad = (group.view(t) for t in (*x[:5], x.grad_BHTD))
    grads = flash_backward(grad, q, k, v, out.to(q.dtype), lse[..., 0], bias, plan.scale)
    for place, value in zip((x.grad_q_BHTD, x.grad_k_BHTD, x.grad_v_BHTD), grads, strict=True):
        group.view(place).copy_(value)


def _block_batches(group: SequenceGroup, plan: BlockedPlan, dtype: torch.dtype) -> Iterator[BlockBatch]:
    """Blocks of queries. Blocks whose windows lie inside the sequence have one shape; many of them go into one call."""
    left, right = plan.pattern.left, plan.pattern.right
    length = group.length
    if plan.window_covers(group):
        yield BlockBatch(group, group, 0)
        return
    # Blocks of 32 compute the fewest hidden pairs. Blocks of 192 are faster per pair, which pays for wide windows, and
    # for all windows in bfloat16.
    is_bf16 = dtype == torch.bfloat16
    block = 32 if left + 1 + right <= 1536 and not is_bf16 else 192
    n_alike = max(0, (length - left - right) // block)
    edge = 192 if is_bf16 else 64 if n_alike else 128
    stop = left + n_alike * block if n_alike else 0
    edges = [*range(0, left, edge), *range(stop, length, edge)] if n_alike else [*range(0, length, edge)]
    for first in edges:
        after = min(first + edge, left if n_alike and first < left else length)
        key_first, key_after = max(0, first - left), min(length, after + right)
        yield BlockBatch(
            group.slice_tokens(first, after - first),
            group.slice_tokens(key_first, key_after - key_first),
            first - key_first,
        )
    n_keys = left + block + right
    if n_alike >= group.n:
        at_once = max(1, 1024 // block)
        for i in range(group.n):
            one = group.slice_sequences(i, 1)
            for first in range(0, n_alike, at_once):
                n = min(at_once, n_alike - first)
                queries = one.blocks(left + first * block, n, block, block)
                yield BlockBatch(queries, one.blocks(first * block, n, n_keys, block), left)
    else:
        for first in range(0, n_alike * block, block):
            yield BlockBatch(group.slice_tokens(left + first, block), group.slice_tokens(first, n_keys), left)


def _as_bias(is_key: Tensor, dtype: torch.dtype) -> Tensor:
    """0 at keys, `UNSEEN` elsewhere, as a bias on scores."""
    bias = torch.zeros(is_key.shape, dtype=dtype, device=is_key.device)
    return bias.masked_fill_(~is_key, UNSEEN)


def _band_bias(
    n_queries: int, n_keys: int, offset: int, left: int, right: int, dtype: torch.dtype, device: torch.device
) -> Tensor | None:
    """0 where a query of a block sees a key of its range, else minus infinity, [K, R]; None if all are 0."""
    # The first query reaches least far to the right, the last one least far to the left: if both see all, all do.
    if offset + right >= n_keys - 1 and offset + n_queries - 1 - left <= 0:
        return None

    def make() -> Tensor:
        query_K1 = torch.arange(n_queries, device=device)[:, None] + offset
        is_near_KR = AttentionPattern(left, right).in_window(query_K1, torch.arange(n_keys, device=device))
        return torch.zeros(is_near_KR.shape, dtype=dtype, device=device).masked_fill_(~is_near_KR, -torch.inf)

    return _BIASES.get((n_queries, n_keys, offset, left, right, dtype, device), make)


def forward_by_products(x: Vectors, group: SequenceGroup, plan: BlockedPlan, generator: torch.Generator | None) -> None:
    """Write output and log-sum-exp over the window, by matrix products."""
    for part, heads in parts(group, x.q_BHTD, plan):
        q_NLD, k_NLD, v_NLD = (flat(part, t, heads) for t in x[:3])
        out_nHLD, lse_nHL1 = part.view(x.out_BHTD[:, heads]), part.view(x.lse_BHT1[:, heads])
        is_hidden_n1L = hidden_keys(part, plan)
        scratch = Scratch()
        for queries, keys in blocks(part, plan, q_NLD.device):
            score_NKR = scores(q_NLD[:, queries], k_NLD[:, keys], plan.scale, None, scratch)
            hide(score_NKR, queries, keys, plan.pattern, is_hidden_n1L, -torch.inf, UNSEEN)
            out_NKD, lse_NK1 = weigh(score_NKR, v_NLD[:, keys], plan, generator)
            shape = out_nHLD[:, :, queries].shape
            out_nHLD[:, :, queries] = out_NKD.view(shape)
            lse_nHL1[:, :, queries] = lse_NK1.view(*shape[:3], 1)


def backward_by_products(
    x: Vectors, group: SequenceGroup, plan: BlockedPlan, generator: torch.Generator | None
) -> None:
    """Add the gradients by matrix products, from the merged output and log-sum-exp of window and global columns."""
    assert x.grad_BHTD is not None
    assert x.grad_q_BHTD is not None and x.grad_k_BHTD is not None and x.grad_v_BHTD is not None
    for part, heads in parts(group, x.q_BHTD, plan):
        q_NLD, k_NLD, v_NLD, grad_NLD = (flat(part, t, heads) for t in (*x[:3], x.grad_BHTD))
        minus_lse_NL1, minus_delta_NL1 = negated_lse_and_delta(part, x, heads)
        grad_q, grad_k, grad_v = (part.view(t[:, heads]) for t in (x.grad_q_BHTD, x.grad_k_BHTD, x.grad_v_BHTD))
        is_hidden_n1L = hidden_keys(part, plan)
        scratch = Scratch()
        for queries, keys in blocks(part, plan, q_NLD.device):
            row = (q_NLD[:, queries], grad_NLD[:, queries], minus_lse_NL1[:, queries], minus_delta_NL1[:, queries])
            score_NKR = scores(row[0], k_NLD[:, keys], plan.scale, row[2], scratch)
            prob_NKR = torch.exp2(score_NKR, out=score_NKR)
            hide(prob_NKR, queries, keys, plan.pattern, is_hidden_n1L, 0.0, 0.0)
            add_gradients(
                prob_NKR,
                *(row[0], k_NLD[:, keys], v_NLD[:, keys], row[1], row[3]),
                (grad_q[:, :, queries], grad_k[:, :, keys], grad_v[:, :, keys]),
                plan,
                generator,
                scratch,
            )


def scores(q_NKD: Tensor, k_NRD: Tensor, scale: float, minus_lse_NK1: Tensor | None, scratch: Scratch) -> Tensor:
    """Scores times log2(e), minus the log-sum-exp where one is given, in float32 or float64.

    Powers of 2 are faster than powers of e. Products of half precision (on a GPU, or on a CPU with instructions for
    bfloat16) are summed in float32 and rounded to half precision once: float32 products would take several times as
    long.
    """
    if q_NKD.dtype.itemsize < 4:
        score_NKR = scratch.bmm("scores", q_NKD, k_NRD.mT, scale).to(torch.float32).mul_(LOG2_E)
        return score_NKR if minus_lse_NK1 is None else score_NKR.add_(minus_lse_NK1)
    return scratch.bmm("scores", q_NKD, k_NRD.mT, scale * LOG2_E, minus_lse_NK1)


def weigh(
    score_NKR: Tensor, v_NRD: Tensor, plan: BlockedPlan, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Softmax of base-2 scores (overwritten) times values, [N, K, D], and its natural log-sum-exp, [N, K, 1]."""
    largest_NK1 = score_NKR.amax(dim=-1, keepdim=True)
    prob_NKR = torch.exp2(score_NKR.sub_(largest_NK1), out=score_NKR)
    sum_NK1 = prob_NKR.sum(dim=-1, keepdim=True)
    if generator is not None:
        prob_NKR.mul_(dropped_factors(tuple(prob_NKR.shape), plan.dropout_p, generator))
    out_NKD = torch.bmm(prob_NKR.to(v_NRD.dtype), v_NRD).to(prob_NKR.dtype).div_(sum_NK1)
    return out_NKD, largest_NK1.add_(sum_NK1.log2()).mul_(1 / LOG2_E)


def negated_lse_and_delta(part: SequenceGroup, x: Vectors, heads: slice) -> tuple[Tensor, Tensor]:
    """The negated base-2 log-sum-exp of each query, and its negated delta, both [N, L, 1].

    Delta is the sum over all keys of probability times its gradient, computed as output times its gradient (Dao et al.
    2022, appendix B.2).
    """
    assert x.grad_BHTD is not None
    lse_nHL1 = part.view(x.lse_BHT1[:, heads])
    out_nHLD, grad_nHLD = part.view(x.out_BHTD[:, heads]), part.view(x.grad_BHTD[:, heads])
    delta_nHL1 = (out_nHLD * grad_nHLD).sum(dim=-1, keepdim=True)
    return (lse_nHL1 * -LOG2_E).flatten(0, 1), delta_nHL1.neg_().flatten(0, 1)


def add_gradients(
    prob_NKR: Tensor,
    q_NKD: Tensor,
    k_NRD: Tensor,
    v_NRD: Tensor,
    grad_NKD: Tensor,
    minus_delta_NK1: Tensor,
    places: tuple[Tensor, Tensor, Tensor],
    plan: BlockedPlan,
    generator: torch.Generator | None,
    scratch: Scratch,
) -> None:
    """Add one block's gradients of q, k and v to `places` [n, H, ...]; `prob_NKR` is overwritten."""
    if generator is None and v_NRD.dtype == prob_NKR.dtype:
        dropped = None
        grad_prob_NKR = scratch.bmm("gradients", grad_NKD, v_NRD.mT, 1.0, minus_delta_NK1)
    else:
        grad_prob_NKR = scratch.bmm("gradients", grad_NKD, v_NRD.mT).to(prob_NKR.dtype)
        if generator is not None:
            dropped = dropped_factors(tuple(prob_NKR.shape), plan.dropout_p, generator)
            grad_prob_NKR.mul_(dropped)
        else:
            dropped = None
        grad_prob_NKR.add_(minus_delta_NK1)
    grad_score_NKR = grad_prob_NKR.mul_(prob_NKR).to(v_NRD.dtype)
    kept_NKR = (prob_NKR if dropped is None else prob_NKR.mul_(dropped)).to(v_NRD.dtype)
    grad_q, grad_k, grad_v = places
    grad_q += scratch.bmm("queries", grad_score_NKR, k_NRD, plan.scale).view(grad_q.shape)
    grad_k += scratch.bmm("keys", grad_score_NKR.mT, q_NKD, plan.scale).view(grad_k.shape)
    grad_v += scratch.bmm("keys", kept_NKR.mT, grad_NKD).view(grad_v.shape)


def flat(part: SequenceGroup, x_BHTD: Tensor, heads: slice) -> Tensor:
    """The vectors of `part` as [N, L, D]: a view for one sequence, a copy for several."""
    return part.view(x_BHTD[:, heads]).flatten(0, 1)


def parts(group: SequenceGroup, x_BHTD: Tensor, plan: BlockedPlan) -> Iterator[tuple[SequenceGroup, slice]]:
    """Split sequences and heads into parts whose scores for one block fit into the cache, or fill a GPU."""
    n_heads = x_BHTD.shape[1]
    block = min(_block_length(x_BHTD.device), group.length)
    n_scores = block * min(group.length, plan.pattern.left + block + plan.pattern.right)
    limit = 2**19 * torch.get_num_threads() if x_BHTD.device.type == "cpu" else 2**26
    n_pairs = max(1, limit // n_scores)
    if n_pairs >= n_heads:
        at_once = n_pairs // n_heads
        for first in range(0, group.n, at_once):
            yield group.slice_sequences(first, at_once), slice(0, n_heads)
        return
    n_parts = -(-n_heads // n_pairs)
    at_once = -(-n_heads // n_parts)
    for i in range(group.n):
        for first in range(0, n_heads, at_once):
            yield group.slice_sequences(i, 1), slice(first, min(first + at_once, n_heads))


def _block_length(device: torch.device) -> int:
    """Queries of a block."""
    return 64 if device.type == "cpu" else 256


def blocks(part: SequenceGroup, plan: BlockedPlan, device: torch.device) -> Iterator[tuple[slice, slice]]:
    """The queries of each block, and the range of keys that their windows reach."""
    block = _block_length(device)
    for first in range(0, part.length, block):
        after = min(first + block, part.length)
        keys = slice(max(0, first - plan.pattern.left), min(part.length, after + plan.pattern.right))
        yield slice(first, after), keys


def hidden_keys(part: SequenceGroup, plan: BlockedPlan) -> Tensor | None:
    """True at padding, bool [n, 1, L]; None if there is none."""
    return None if plan.is_key_BT is None else ~part.view(plan.is_key_BT[:, None, :, None])[..., 0]


def hide(
    x_NKR: Tensor,
    queries: slice,
    keys: slice,
    pattern: AttentionPattern,
    is_hidden_n1L: Tensor | None,
    outside: float,
    hidden: float,
) -> None:
    """Write `outside` at keys outside the window and `hidden` at padding, in place."""
    if is_hidden_n1L is not None:
        is_hidden_n11R = is_hidden_n1L[:, :, None, keys]
        n_rows = is_hidden_n11R.shape[0]
        x_NKR.view(n_rows, -1, *x_NKR.shape[1:]).masked_fill_(is_hidden_n11R, hidden)
    n_queries, n_keys, offset = queries.stop - queries.start, keys.stop - keys.start, queries.start - keys.start
    for columns, is_outside in _corners(n_queries, n_keys, offset, pattern.left, pattern.right, x_NKR.device):
        x_NKR[:, :, columns].masked_fill_(is_outside, outside)


@functools.lru_cache(maxsize=128)
def _corners(
    n_queries: int, n_keys: int, offset: int, left: int, right: int, device: torch.device
) -> tuple[tuple[slice, Tensor], ...]:
    """The two ends of a block's key range that some queries do not reach: columns, and a mask of what is outside."""
    query_K1 = torch.arange(n_queries, device=device)[:, None] + offset
    key_R = torch.arange(n_keys, device=device)
    corners = []
    n_before, first_after = min(n_keys, offset + n_queries - 1 - left), offset + right + 1
    if n_before > 0:
        corners.append((slice(0, n_before), key_R[:n_before] < query_K1 - left))
    if first_after < n_keys:
        corners.append((slice(first_after, n_keys), key_R[first_after:] > query_K1 + right))
    return tuple(corners)
