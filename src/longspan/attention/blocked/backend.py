"""Attention over blocks of queries, each against the range of keys its window reaches; memory is linear in T.

`layout` plans which tokens attend among themselves, `window` computes the window, `global_columns` the global columns.
The backward works block by block too, from the output and the log-sum-exp, because autograd through slices would write
T positions for each block. For torch.compile all of it is one operator. docs/experiments.md lists what was tried.

B batch rows  T tokens  H attention heads  D width per head  G global slots
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from longspan.attention.block_softmax import cpu_computes_bf16, cpu_has_amx
from longspan.attention.blocked.bfloat16 import (
    backward_in_bfloat16,
    computes_in_bfloat16,
    forward_in_bfloat16,
)
from longspan.attention.blocked.global_columns import backward_columns, columns_of, forward_columns
from longspan.attention.blocked.layout import BlockedPlan, make_plan
from longspan.attention.blocked.window import (
    Vectors,
    backward_by_flash,
    backward_by_products,
    forward_by_flash,
    forward_by_products,
)
from longspan.attention.documents import Documents
from longspan.attention.global_rows import place_global_rows
from longspan.attention.inputs import AttentionInputs
from longspan.attention.pattern import AttentionPattern
from longspan.attention.slots import GlobalSlots


def attend_blocked(inputs: AttentionInputs) -> Tensor:
    """Attention over blocks of queries; output [B, H, T, D] of q's dtype, zero at padding."""
    slots = inputs.global_slots()
    out_BHTD = _as_operator(inputs, slots) if torch.compiler.is_compiling() else _eagerly(inputs, slots)
    return out_BHTD if slots is None else place_global_rows(out_BHTD, inputs, slots)


def _eagerly(inputs: AttentionInputs, slots: GlobalSlots | None) -> Tensor:
    q_BHTD = inputs.q_BHTD
    if _is_full_attention(inputs, slots):
        return F.scaled_dot_product_attention(q_BHTD, inputs.k_BHTD, inputs.v_BHTD, scale=inputs.scale)
    plan = make_plan(
        (q_BHTD.shape[0], q_BHTD.shape[1], q_BHTD.shape[2]),
        q_BHTD.device,
        inputs.pattern,
        is_token_BT=inputs.is_token_BT,
        documents=inputs.documents,
        slots=slots,
        scale=inputs.scale,
        dropout_p=inputs.dropout_p,
        seed=int(torch.randint(2**62, ())) if inputs.dropout_p else 0,
    )
    return _Blocked.apply(q_BHTD, inputs.k_BHTD, inputs.v_BHTD, plan)


def _is_full_attention(inputs: AttentionInputs, slots: GlobalSlots | None) -> bool:
    """Whether every query sees every key of its row: torch's own attention is then at least as fast."""
    q_BHTD, pattern = inputs.q_BHTD, inputs.pattern
    masks = (slots, inputs.is_token_BT, inputs.document_BT)
    return (
        min(pattern.left, pattern.right) >= q_BHTD.shape[2] - 1
        and all(mask is None for mask in masks)
        and not inputs.dropout_p
        and set(pattern.dilations(q_BHTD.shape[1])) == {1}
        and product_dtype(q_BHTD) == q_BHTD.dtype
    )


class _Blocked(torch.autograd.Function):
    """The local rows, over the window and the global columns, with gradients."""

    @staticmethod
    def forward(ctx: Any, q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, plan: BlockedPlan) -> Tensor:
        """Output [B, H, T, D] of q's dtype."""
        out_BHTD, lse_BHT = forward(q_BHTD, k_BHTD, v_BHTD, plan)
        ctx.save_for_backward(q_BHTD, k_BHTD, v_BHTD, out_BHTD, lse_BHT)
        ctx.plan = plan
        return out_BHTD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BHTD: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Gradients of q, k and v."""
        q_BHTD, k_BHTD, v_BHTD, out_BHTD, lse_BHT = ctx.saved_tensors
        return *backward(grad_BHTD, q_BHTD, k_BHTD, v_BHTD, out_BHTD, lse_BHT, ctx.plan), None


def product_dtype(q_BHTD: Tensor) -> torch.dtype:
    """The dtype of the products: float32 for half precision that the CPU has no instructions for."""
    if q_BHTD.dtype.itemsize >= 4 or q_BHTD.device.type != "cpu":
        return q_BHTD.dtype
    return torch.bfloat16 if q_BHTD.dtype == torch.bfloat16 and cpu_computes_bf16() else torch.float32


def _by_flash(q_BHTD: Tensor, plan: BlockedPlan) -> bool:
    """Whether to use torch's flash kernel for the CPU, where it is the faster one (docs/experiments.md)."""
    if q_BHTD.device.type != "cpu" or plan.dropout_p:
        return False
    return q_BHTD.dtype.itemsize >= 4 or (q_BHTD.dtype == torch.bfloat16 and cpu_has_amx())


def forward(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, plan: BlockedPlan) -> tuple[Tensor, Tensor]:
    """Output [B, H, T, D] of q's dtype, zero at padding, and the log-sum-exp [B, H, T]."""
    dtype = product_dtype(q_BHTD)
    given = [_prepare(x, dtype) for x in (q_BHTD, k_BHTD, v_BHTD)]
    out_BHTD, lse_BHT1 = _forward(given[0], given[1], given[2], plan)
    if q_BHTD.device.type == "cpu" and not bool(out_BHTD.sum().isfinite()):
        # A block's range holds keys that some of its queries do not see. A key that is not finite would spoil those
        # queries too, so that such keys are replaced and the queries that see them are set to NaN.
        k_clean, v_clean, is_bad_BHT1 = _without_bad_keys(given[1], given[2])
        out_BHTD, lse_BHT1 = _forward(given[0], k_clean, v_clean, plan)
        # Which queries see such a key: attention with equal weights over an indicator.
        zeros = torch.zeros_like(is_bad_BHT1, dtype=dtype)
        saw_BHT1, _ = _forward(zeros, zeros, is_bad_BHT1.to(dtype), replace(plan, dropout_p=0.0))
        for x in (out_BHTD, lse_BHT1):
            x.masked_fill_(saw_BHT1 > 0, torch.nan)
    return out_BHTD.to(q_BHTD.dtype), lse_BHT1[..., 0]


def _forward(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, plan: BlockedPlan) -> tuple[Tensor, Tensor]:
    if plan.is_key_BT is not None:
        is_padding_B1T1 = ~plan.is_key_BT[:, None, :, None]
        k_BHTD, v_BHTD = k_BHTD.masked_fill(is_padding_B1T1, 0), v_BHTD.masked_fill(is_padding_B1T1, 0)
    dtype = torch.promote_types(q_BHTD.dtype, torch.float32)
    out_BHTD = _new(q_BHTD, dtype, is_all_written=plan.covers)
    lse_BHT1 = torch.zeros(*q_BHTD.shape[:3], 1, dtype=dtype, device=q_BHTD.device)
    vectors = Vectors(q_BHTD, k_BHTD, v_BHTD, out_BHTD, lse_BHT1)
    by_flash, in_bfloat16 = _by_flash(q_BHTD, plan), computes_in_bfloat16(q_BHTD, plan)
    generator = _generator(q_BHTD, plan)
    for heads in plan.heads:
        x = vectors.select(heads)
        for group in plan.groups:
            for part in group.residue_classes(heads.dilation):
                if by_flash:
                    forward_by_flash(x, part, plan)
                elif in_bfloat16:
                    forward_in_bfloat16(x, part, plan)
                else:
                    forward_by_products(x, part, plan, generator)
            columns = columns_of(group, heads.dilation, plan)
            if columns is not None:
                forward_columns(x, columns, by_flash, generator)
    if plan.is_key_BT is not None:
        out_BHTD.masked_fill_(~plan.is_key_BT[:, None, :, None], 0)
    return out_BHTD, lse_BHT1


def backward(
    grad_BHTD: Tensor,
    q_BHTD: Tensor,
    k_BHTD: Tensor,
    v_BHTD: Tensor,
    out_BHTD: Tensor,
    lse_BHT: Tensor,
    plan: BlockedPlan,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of q, k and v, of their dtype."""
    dtype, sum_dtype = product_dtype(q_BHTD), lse_BHT.dtype
    given = [_prepare(x, dtype) for x in (q_BHTD, k_BHTD, v_BHTD)]
    grad, out, lse = _prepare(grad_BHTD, dtype), _prepare(out_BHTD, sum_dtype), lse_BHT[..., None]
    if plan.is_key_BT is not None:
        is_padding_B1T1 = ~plan.is_key_BT[:, None, :, None]
        given = [x.masked_fill(is_padding_B1T1, 0) for x in given]
        grad, out = grad.masked_fill(is_padding_B1T1, 0), out.masked_fill(is_padding_B1T1, 0)
        # A query at padding sees nothing: exp(score - 1e30) = 0.
        lse = lse.masked_fill(is_padding_B1T1, 1e30)
    is_bad = None
    if q_BHTD.device.type == "cpu" and not bool(lse.sum().isfinite()):
        # Queries that saw a key that is not finite get NaN as their own gradient, and spoil no other gradient.
        is_bad = ~lse.isfinite()
        k_clean, v_clean, _ = _without_bad_keys(given[1], given[2])
        given = [given[0].masked_fill(is_bad, 0), k_clean, v_clean]
        grad, out, lse = grad.masked_fill(is_bad, 0), out.masked_fill(is_bad, 0), lse.masked_fill(is_bad, 1e30)
    grads = [_new(x, sum_dtype, is_all_written=False) for x in given]  # blocks add to them
    vectors = Vectors(given[0], given[1], given[2], out, lse, grad, grads[0], grads[1], grads[2])
    by_flash, in_bfloat16 = _by_flash(given[0], plan), computes_in_bfloat16(given[0], plan)
    generator = _generator(q_BHTD, plan)
    for heads in plan.heads:
        x = vectors.select(heads)
        for group in plan.groups:
            for part in group.residue_classes(heads.dilation):
                if by_flash and plan.window_covers(part):
                    backward_by_flash(x, part, plan)
                elif in_bfloat16:
                    backward_in_bfloat16(x, part, plan)
                else:
                    backward_by_products(x, part, plan, generator)
            columns = columns_of(group, heads.dilation, plan)
            if columns is not None:
                backward_columns(x, columns, generator)
    if is_bad is not None:
        grads[0].masked_fill_(is_bad, torch.nan)
    grad_q, grad_k, grad_v = (x.to(q_BHTD.dtype) for x in grads)
    return grad_q, grad_k, grad_v


def _prepare(x: Tensor, dtype: torch.dtype) -> Tensor:
    """`x` in `dtype` with a contiguous last axis, which the kernels need."""
    x = x.to(dtype)
    return x if x.stride(-1) == 1 else x.contiguous()


def _new(like_BHTD: Tensor, dtype: torch.dtype, *, is_all_written: bool) -> Tensor:
    """A new tensor [B, H, T, D], in memory [B, T, H, D] as the next layer reads it; zeros unless all is written."""
    B, H, T, D = like_BHTD.shape
    x_BTHD = torch.empty(B, T, H, D, dtype=dtype, device=like_BHTD.device)
    return (x_BTHD if is_all_written else x_BTHD.zero_()).transpose(1, 2)


def _without_bad_keys(k_BHTD: Tensor, v_BHTD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Keys and values with zeros where either is not finite, and a mask of these places, [B, H, T, 1]."""
    is_bad_BHT1 = ~(k_BHTD.isfinite().all(dim=-1, keepdim=True) & v_BHTD.isfinite().all(dim=-1, keepdim=True))
    return k_BHTD.masked_fill(is_bad_BHT1, 0), v_BHTD.masked_fill(is_bad_BHT1, 0), is_bad_BHT1


def _generator(q_BHTD: Tensor, plan: BlockedPlan) -> torch.Generator | None:
    """The random generator of the dropout; the backward draws the same numbers in the same order as the forward."""
    return torch.Generator(q_BHTD.device).manual_seed(plan.seed) if plan.dropout_p else None


class _Settings(NamedTuple):
    """Arguments of the operators beside the vectors; the first five are tensors, saved for the backward."""

    is_token_BT: Tensor | None
    document_BT: Tensor | None
    index_BG: Tensor | None
    is_used_BG: Tensor | None
    seed: Tensor | None
    left: int
    right: int
    dilations: Sequence[int]
    causal: bool
    scale: float
    dropout_p: float

    def plan(self, q_BHTD: Tensor) -> BlockedPlan:
        """The plan that these arguments describe."""
        slots = None
        if self.index_BG is not None and self.is_used_BG is not None:
            slots = GlobalSlots(self.index_BG, self.is_used_BG)
        documents = None
        if self.document_BT is not None:
            documents = Documents.find(self.document_BT, self.is_token_BT)
        return make_plan(
            (q_BHTD.shape[0], q_BHTD.shape[1], q_BHTD.shape[2]),
            q_BHTD.device,
            AttentionPattern(self.left, self.right, tuple(self.dilations), self.causal),
            is_token_BT=self.is_token_BT,
            documents=documents,
            slots=slots,
            scale=self.scale,
            dropout_p=self.dropout_p,
            seed=0 if self.seed is None else int(self.seed),
        )


# The fields of `_Settings` in torch's schema language.
_SCHEMA = (
    "Tensor? is_token_BT, Tensor? document_BT, Tensor? index_BG, Tensor? is_used_BG, Tensor? seed,"
    " SymInt left, SymInt right, SymInt[] dilations, bool causal, float scale, float dropout_p"
)


def _as_operator(inputs: AttentionInputs, slots: GlobalSlots | None) -> Tensor:
    settings = _Settings(
        is_token_BT=inputs.is_token_BT,
        document_BT=inputs.document_BT,
        index_BG=None if slots is None else slots.index_BG,
        is_used_BG=None if slots is None else slots.is_used_BG,
        seed=torch.randint(2**62, ()) if inputs.dropout_p else None,
        left=inputs.pattern.left,
        right=inputs.pattern.right,
        dilations=inputs.pattern.dilations(inputs.q_BHTD.shape[1]),
        causal=inputs.pattern.causal,
        scale=inputs.scale,
        dropout_p=inputs.dropout_p,
    )
    out_BHTD, _ = _operator(inputs.q_BHTD, inputs.k_BHTD, inputs.v_BHTD, *settings)
    return out_BHTD


@torch.library.custom_op(
    "longspan::blocked",
    mutates_args=(),
    schema=f"(Tensor q_BHTD, Tensor k_BHTD, Tensor v_BHTD, {_SCHEMA}) -> (Tensor, Tensor)",
)
def _operator(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, *settings: Any) -> tuple[Tensor, Tensor]:
    return forward(q_BHTD, k_BHTD, v_BHTD, _Settings(*settings).plan(q_BHTD))


@_operator.register_fake
def _(q_BHTD: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    sum_dtype = torch.promote_types(q_BHTD.dtype, torch.float32)
    return _fake(q_BHTD), q_BHTD.new_empty(q_BHTD.shape[:3], dtype=sum_dtype)


def _fake(q_BHTD: Tensor) -> Tensor:
    B, H, T, D = q_BHTD.shape
    return q_BHTD.new_empty(B, T, H, D).transpose(1, 2)


@torch.library.custom_op(
    "longspan::blocked_backward",
    mutates_args=(),
    schema=(
        "(Tensor grad_BHTD, Tensor q_BHTD, Tensor k_BHTD, Tensor v_BHTD, Tensor out_BHTD, Tensor lse_BHT,"
        f" {_SCHEMA}) -> (Tensor, Tensor, Tensor)"
    ),
)
def _backward_operator(
    grad_BHTD: Tensor,
    q_BHTD: Tensor,
    k_BHTD: Tensor,
    v_BHTD: Tensor,
    out_BHTD: Tensor,
    lse_BHT: Tensor,
    *settings: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    plan = _Settings(*settings).plan(q_BHTD)
    return backward(grad_BHTD, q_BHTD, k_BHTD, v_BHTD, out_BHTD, lse_BHT, plan)


@_backward_operator.register_fake
def _(grad_BHTD: Tensor, q_BHTD: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return _fake(q_BHTD), _fake(q_BHTD), _fake(q_BHTD)


def _keep_for_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs[:3], *output, *inputs[3:8])
    ctx.settings = inputs[8:]
    ctx.set_materialize_grads(False)


def _differentiate(ctx: Any, grad_BHTD: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, ...]:
    if grad_BHTD is None:
        return (None,) * (3 + len(_Settings._fields))
    grads = _backward_operator(grad_BHTD, *ctx.saved_tensors, *ctx.settings)
    return *grads, *[None] * len(_Settings._fields)


_operator.register_autograd(_differentiate, setup_context=_keep_for_backward)
