"""Attention over blocks of queries, each against the range of keys its window reaches; any device, memory linear in T.

Keys and values of a block are views. The banded bias is the same for all blocks but those at the ends, is built once
and kept. Global columns are a second product over their keys alone, merged by log-sum-exp; the window skips them.
Heads with gaps are regrouped: with dilation d, the positions of one residue modulo d attend among themselves without
gaps, so each residue class becomes one more batch row. The backward computes block by block too, from the output and
the log-sum-exp: autograd through slices would write T positions for each block. docs/experiments.md has what was tried.

B batch rows  T tokens  H attention heads  D width per head  G global slots
K queries of a block  R keys of its range  N tokens of a residue class
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from longspan.attention.global_rows import at_slots, place_global_rows
from longspan.attention.inputs import AttentionInputs
from longspan.attention.pattern import AttentionPattern
from longspan.attention.products import FLASH_CPU, MATMUL, Product, cpu_computes_bf16, dropped_factors, merge
from longspan.attention.slots import GlobalSlots

# Added to the score of a key that is not seen. Finite: of a row that sees no key in one part (its window, the global
# columns), that part then weighs exp(-1e30 - ...) = 0, where minus infinity would give NaN. Rows that see nothing at
# all get an average that is thrown away (padding).
_UNSEEN = -1e30


def attend_blocked(inputs: AttentionInputs) -> Tensor:
    """Attention over blocks of queries; output [B, H, T, D] of q's dtype, zero at padding."""
    slots = inputs.global_slots()
    dilations = inputs.pattern.dilations(inputs.q_BHTD.shape[1])
    if len(set(dilations)) == 1:
        out_BHTD = _attend_heads(inputs, slots, dilations[0], None)
    else:
        heads_of = {d: [head for head, its in enumerate(dilations) if its == d] for d in sorted(set(dilations))}
        parts = [_attend_heads(inputs, slots, d, heads) for d, heads in heads_of.items()]
        order = [head for heads in heads_of.values() for head in heads]
        back = sorted(range(len(order)), key=order.__getitem__)
        out_BHTD = torch.cat(parts, dim=1)
        if back != list(range(len(back))):
            out_BHTD = out_BHTD[:, back]
    if inputs.is_token_BT is not None:
        out_BHTD = out_BHTD.masked_fill(~inputs.is_token_BT[:, None, :, None], 0)
    return out_BHTD if slots is None else place_global_rows(out_BHTD, inputs, slots)


def _attend_heads(inputs: AttentionInputs, slots: GlobalSlots | None, dilation: int, heads: list[int] | None) -> Tensor:
    """The local rows of the heads that share one dilation (`heads`, or all)."""
    T = inputs.q_BHTD.shape[2]
    vectors = [inputs.q_BHTD, inputs.k_BHTD, inputs.v_BHTD]
    columns: list[Tensor | None] = [None, None]
    if slots is not None:
        columns = [at_slots(x, slots) for x in vectors[1:]]
    if heads is not None:
        pick = slice(heads[0], heads[-1] + 1) if heads[-1] - heads[0] + 1 == len(heads) else heads
        vectors = [x[:, pick] for x in vectors]
        columns = [None if x is None else x[:, pick] for x in columns]

    is_key_BT = inputs.is_token_BT
    if slots is not None:
        is_local_BT = ~slots.mask(T)
        is_key_BT = is_local_BT if is_key_BT is None else is_key_BT & is_local_BT
    if dilation > 1 and T % dilation and is_key_BT is None:
        is_key_BT = torch.ones(vectors[0].shape[0], T, dtype=torch.bool, device=vectors[0].device)

    out_BHTD = _Blocked.apply(
        *(_regroup(x, dilation) for x in vectors),
        *(None if x is None else x.repeat_interleave(dilation, dim=0) for x in columns),
        _Plan(
            pattern=inputs.pattern,
            n_tokens=-(-T // dilation),
            dtype=torch.promote_types(inputs.q_BHTD.dtype, torch.float32),
            dilation=dilation,
            scale=inputs.scale,
            is_key_BT=_regroup_mask(is_key_BT, dilation),
            document_BT=_regroup_mask(inputs.document_BT, dilation),
            slots=slots,
            document_of_slot_BG=None
            if slots is None or inputs.document_BT is None
            else inputs.document_BT.gather(1, slots.index_BG),
            dropout_p=inputs.dropout_p,
            seed=int(torch.randint(2**62, ())) if inputs.dropout_p else 0,
        ),
    )
    return _ungroup(out_BHTD, dilation, T)


def _regroup(x_BHTD: Tensor, dilation: int) -> Tensor:
    """Residue class r of row b becomes row b * dilation + r; the shorter classes get a position of zeros at the end."""
    if dilation == 1:
        return x_BHTD
    B, H, T, D = x_BHTD.shape
    x_BHTD = F.pad(x_BHTD, (0, 0, 0, -T % dilation))
    return x_BHTD.view(B, H, -1, dilation, D).permute(0, 3, 1, 2, 4).reshape(B * dilation, H, -1, D)


def _ungroup(x_BHND: Tensor, dilation: int, n_tokens: int) -> Tensor:
    if dilation == 1:
        return x_BHND
    B, H, N, D = x_BHND.shape
    x_BHNrD = x_BHND.view(B // dilation, dilation, H, N, D).permute(0, 2, 3, 1, 4)
    return x_BHNrD.reshape(B // dilation, H, N * dilation, D)[:, :, :n_tokens]


def _regroup_mask(x_BT: Tensor | None, dilation: int) -> Tensor | None:
    if x_BT is None or dilation == 1:
        return x_BT
    x_BT = F.pad(x_BT, (0, -x_BT.shape[1] % dilation))
    return x_BT.view(x_BT.shape[0], -1, dilation).mT.reshape(x_BT.shape[0] * dilation, -1)


@dataclass(frozen=True)
class _Plan:
    """What a call computes beside the vectors; rows and positions are those of residue classes."""

    pattern: AttentionPattern
    n_tokens: int
    dtype: torch.dtype  # of the softmax, and so of biases: float32, or float64
    dilation: int
    scale: float
    is_key_BT: Tensor | None  # keys of the window: tokens that are not global
    document_BT: Tensor | None
    slots: GlobalSlots | None  # of whole rows, not of residue classes
    document_of_slot_BG: Tensor | None
    dropout_p: float
    seed: int

    def blocks(self, block: int) -> Iterator[tuple[slice, slice]]:
        """Queries of each block, and the range of keys that the window of any of them reaches."""
        for start in range(0, self.n_tokens, block):
            stop = min(start + block, self.n_tokens)
            yield (
                slice(start, stop),
                slice(max(0, start - self.pattern.left), min(self.n_tokens, stop + self.pattern.right)),
            )

    def bias(self, queries: slice, keys: slice, device: torch.device) -> Tensor | None:
        """What to add to the scores of a block, broadcasting to [B, H, K, R]; None where all is seen."""
        shape = (queries.stop - queries.start, keys.stop - keys.start, queries.start - keys.start)
        bias = _band_bias(*shape, self.pattern.left, self.pattern.right, self.dtype, device)
        if self.is_key_BT is not None:
            of_keys = self.key_bias_BT[:, None, None, keys]
            bias = of_keys if bias is None else bias + of_keys
        if self.document_BT is not None:
            apart = self.document_BT[:, None, queries, None] != self.document_BT[:, None, None, keys]
            bias = torch.zeros((), dtype=self.dtype, device=device) if bias is None else bias
            bias = bias.masked_fill(apart, _UNSEEN)
        return bias

    @functools.cached_property
    def key_bias_BT(self) -> Tensor:
        """`is_key_BT` as a bias."""
        assert self.is_key_BT is not None
        return _as_bias(self.is_key_BT, self.dtype)

    def column_bias(self, queries: slice) -> Tensor | None:
        """What to add to the scores of the global columns, broadcasting to [B, H, K, G]; None where all are seen."""
        bias = self.column_bias_B1TG
        return bias if bias is None or bias.shape[2] == 1 else bias[:, :, queries]

    @functools.cached_property
    def column_bias_B1TG(self) -> Tensor | None:
        """The bias of the columns for all queries at once, or with one query where it is the same for each."""
        assert self.slots is not None
        index_BG, is_used_BG = (x.repeat_interleave(self.dilation, dim=0) for x in self.slots[:2])
        seen_BTG = is_used_BG[:, None]
        if self.pattern.causal:
            residue_B = torch.arange(self.dilation, device=index_BG.device).repeat(self.slots.index_BG.shape[0])
            step_T = torch.arange(self.n_tokens, device=index_BG.device)
            position_BT1 = (step_T * self.dilation + residue_B[:, None])[..., None]
            seen_BTG = seen_BTG & self.pattern.visible(position_BT1, index_BG[:, None], key_is_global=True)
        if self.document_BT is not None and self.document_of_slot_BG is not None:
            of_slot_BG = self.document_of_slot_BG.repeat_interleave(self.dilation, dim=0)
            seen_BTG = seen_BTG & (self.document_BT[:, :, None] == of_slot_BG[:, None])
        return _as_bias(seen_BTG, self.dtype)[:, None]

    def dropped(self, q_BHKD: Tensor, n_keys: int, draw: int) -> Tensor | None:
        """The factors of dropout for one product, the same whenever asked for the same `draw`."""
        if self.dropout_p == 0:
            return None
        generator = torch.Generator(q_BHKD.device).manual_seed(self.seed + draw)
        return dropped_factors((*q_BHKD.shape[:3], n_keys), self.dropout_p, generator)


def _as_bias(is_seen: Tensor, dtype: torch.dtype) -> Tensor:
    bias = torch.zeros(is_seen.shape, dtype=dtype, device=is_seen.device)
    return bias.masked_fill_(~is_seen, _UNSEEN)


def _band_bias(*arguments: Any) -> Tensor | None:
    """0 where a query of a block has a key of its range in its window, else minus infinity, [K, R]; None for all 0."""
    # What a compiler traces is not kept: it is no tensor to use again.
    make = _make_band_bias.__wrapped__ if torch.compiler.is_compiling() else _make_band_bias
    return make(*arguments)


@functools.lru_cache(maxsize=128)
def _make_band_bias(
    n_queries: int, n_keys: int, offset: int, left: int, right: int, dtype: torch.dtype, device: torch.device
) -> Tensor | None:
    # The first query reaches least far to the right, the last one least far to the left: if they see all, so do all.
    if offset + right >= n_keys - 1 and offset + n_queries - 1 - left <= 0:
        return None
    query_K1 = torch.arange(n_queries, device=device)[:, None] + offset
    is_near_KR = AttentionPattern(left, right).in_window(query_K1, torch.arange(n_keys, device=device))
    return torch.zeros(is_near_KR.shape, dtype=dtype, device=device).masked_fill_(~is_near_KR, -torch.inf)


class _Blocked(torch.autograd.Function):
    """Local rows: the window and the global columns, forward and backward block by block."""

    @staticmethod
    def forward(
        ctx: Any,
        q_BHTD: Tensor,
        k_BHTD: Tensor,
        v_BHTD: Tensor,
        k_BHGD: Tensor | None,
        v_BHGD: Tensor | None,
        plan: _Plan,
    ) -> Tensor:
        """Output [B, H, T, D] of q's dtype."""
        given = (q_BHTD, k_BHTD, v_BHTD, k_BHGD, v_BHGD)
        product, block, dtype = _how(q_BHTD, plan)
        q_BHTD, k_BHTD, v_BHTD = (_prepare(x, dtype) for x in given[:3])
        k_BHGD, v_BHGD = (None if x is None else _prepare(x, dtype) for x in given[3:])
        out_BHTD = torch.empty_like(q_BHTD)
        lse_BHT = torch.empty(q_BHTD.shape[:3], dtype=plan.dtype, device=q_BHTD.device)
        for draw, (queries, keys) in enumerate(plan.blocks(block)):
            q_BHKD, k_BHRD, v_BHRD = q_BHTD[:, :, queries], k_BHTD[:, :, keys], v_BHTD[:, :, keys]
            bias = plan.bias(queries, keys, lse_BHT.device)
            dropped = plan.dropped(q_BHKD, k_BHRD.shape[2], 2 * draw)
            out_BHKD, lse_BHK = product.forward(q_BHKD, k_BHRD, v_BHRD, bias, plan.scale, dropped)
            if k_BHGD is not None:
                bias = plan.column_bias(queries)
                dropped = plan.dropped(q_BHKD, k_BHGD.shape[2], 2 * draw + 1)
                part = product.forward(q_BHKD, k_BHGD, v_BHGD, bias, plan.scale, dropped)
                out_BHKD, lse_BHK = merge(out_BHKD, lse_BHK, *part)
            out_BHTD[:, :, queries] = out_BHKD
            lse_BHT[:, :, queries] = lse_BHK
        out_BHTD = out_BHTD.to(given[0].dtype)
        ctx.save_for_backward(*given, out_BHTD, lse_BHT)
        ctx.plan = plan
        return out_BHTD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BHTD: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Gradients of q, k, v and of the global columns' k, v."""
        *given, out_BHTD, lse_BHT = ctx.saved_tensors
        plan: _Plan = ctx.plan
        product, block, dtype = _how(given[0], plan)
        grad_BHTD, out_BHTD, q_BHTD, k_BHTD, v_BHTD = (_prepare(x, dtype) for x in (grad_BHTD, out_BHTD, *given[:3]))
        k_BHGD, v_BHGD = (None if x is None else _prepare(x, dtype) for x in given[3:])
        # Sums over blocks: in float32 at least.
        grad_q, grad_k, grad_v = torch.empty_like(q_BHTD), _zeros(k_BHTD, lse_BHT), _zeros(v_BHTD, lse_BHT)
        grads = [grad_q, grad_k, grad_v]
        if k_BHGD is not None and v_BHGD is not None:
            grads += [_zeros(k_BHGD, lse_BHT), _zeros(v_BHGD, lse_BHT)]
        for draw, (queries, keys) in enumerate(plan.blocks(block)):
            row = (grad_BHTD[:, :, queries], q_BHTD[:, :, queries])
            whole = (out_BHTD[:, :, queries], lse_BHT[:, :, queries])
            bias = plan.bias(queries, keys, lse_BHT.device)
            dropped = plan.dropped(row[1], keys.stop - keys.start, 2 * draw)
            k_BHRD, v_BHRD = k_BHTD[:, :, keys], v_BHTD[:, :, keys]
            of_q, of_k, of_v = product.backward(*row, k_BHRD, v_BHRD, *whole, bias, plan.scale, dropped)
            grad_k[:, :, keys] += of_k
            grad_v[:, :, keys] += of_v
            if k_BHGD is not None:
                bias = plan.column_bias(queries)
                dropped = plan.dropped(row[1], k_BHGD.shape[2], 2 * draw + 1)
                part = product.backward(*row, k_BHGD, v_BHGD, *whole, bias, plan.scale, dropped)
                of_q = of_q + part[0]
                grads[3] += part[1]
                grads[4] += part[2]
            grad_q[:, :, queries] = of_q
        of_given = [x.to(given[0].dtype) for x in grads]
        return *of_given, *[None] * (6 - len(of_given))


def _zeros(x: Tensor, like: Tensor) -> Tensor:
    return torch.zeros_like(x, dtype=like.dtype)


def _how(q_BHTD: Tensor, plan: _Plan) -> tuple[Product, int, torch.dtype]:
    """Which product computes the blocks, how many queries a block has, and in which dtype (docs/experiments.md)."""
    dtype = q_BHTD.dtype
    window = plan.pattern.left + 1 + plan.pattern.right
    if q_BHTD.device.type != "cpu":
        return MATMUL, 256, dtype
    if dtype == torch.bfloat16 and cpu_computes_bf16():
        return MATMUL, 128, dtype
    if dtype in (torch.bfloat16, torch.float16):
        # Without instructions for it, a CPU's product in half precision is many times slower than one in float32.
        dtype = torch.float32
    return MATMUL if plan.dropout_p else FLASH_CPU, 64 if window <= 1024 else 128, dtype


def _prepare(x: Tensor, dtype: torch.dtype) -> Tensor:
    """`x` in `dtype` with its last axis contiguous, as the kernels take it."""
    x = x.to(dtype)
    return x if x.stride(-1) == 1 else x.contiguous()
