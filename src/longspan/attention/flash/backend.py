"""Attention by the flash kernels that torch ships: one kernel call computes the windows of a whole batch.

Global columns are a second call, merged by log-sum-exp. The backward gives each part the output and the log-sum-exp of
the whole, as ring attention does, so that the gradients are those of one softmax over all keys. `layout` plans the
sequences. Global tokens that are not at the start of their sequences stay in it: the windows see those inside them,
and matrix products over blocks of queries add those outside.

Padding inside a sequence cannot be removed, because distances count positions. The vectors then get eight additional
columns, one of which is zero except at such padding, where it lowers the score far below any other.

N tokens of all rows, B*T  B batch rows  T tokens  H attention heads  D width per head  G global slots
K queries of a block  M another number of tokens
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from longspan.attention.block_softmax import UNSEEN, matmul_backward, matmul_forward, merge_into
from longspan.attention.flash.kernels import TORCH_FUNCTIONS
from longspan.attention.flash.layout import DilationGroup, FlashPlan, LeadingColumns, QueryBlock, make_plan, window_of
from longspan.attention.global_rows import place_global_rows
from longspan.attention.inputs import AttentionInputs, BackendRequest
from longspan.attention.pattern import AttentionPattern
from longspan.attention.tensor_cache import TensorKeyedCache

# The additional column at queries and at padding. Their product, times any sensible scale, is far below any score.
_OF_QUERIES, _OF_HOLES = 2.0**7, -(2.0**15)
_MORE_COLUMNS = 8
_MAX_WIDTH = 256


_FUNCTIONS = TORCH_FUNCTIONS
_PLANS: TensorKeyedCache[FlashPlan] = TensorKeyedCache(16)


def reason_against_flash(request: BackendRequest) -> str | None:
    """Why torch's flash kernels cannot serve a request, or None if they can."""
    if request.device != "cuda" or torch.version.hip is not None:
        return f"the kernels are CUDA's, and the tensors are on {'ROCm' if torch.version.hip else request.device}"
    if request.dtype not in (torch.float16, torch.bfloat16):
        return f"the kernels take float16 and bfloat16, not {str(request.dtype).removeprefix('torch.')}"
    if request.width % 8 or request.width > _MAX_WIDTH:
        return f"the kernels take a head width that is a multiple of 8, up to {_MAX_WIDTH}, not {request.width}"
    if request.has_padding and request.width + _MORE_COLUMNS > _MAX_WIDTH:
        return f"a head width of {request.width} leaves no room to mask padding inside a row"
    if request.dropout_p:
        return "the kernels have no dropout on sequences of several lengths"
    if request.is_compiling and (request.has_padding or request.has_documents or request.has_dynamic_global):
        return "it reads masks and global tokens to plan sequences, which a compiler cannot trace"
    if not torch.cuda.is_available():
        return None  # without a GPU, the answer is about one that meets the requirements
    if not torch.backends.cuda.is_flash_attention_available():
        return "this build of torch is without flash attention"
    if torch.cuda.get_device_capability() < (8, 0):
        return "the kernels need compute capability 8.0"
    return None


def attend_flash(inputs: AttentionInputs) -> Tensor:
    """Attention by torch's flash kernels; output [B, H, T, D] of q's dtype, zero at padding."""
    B, _, T, D = inputs.q_BHTD.shape
    plan = plan_of(inputs)
    q_NHD, k_NHD, v_NHD = (x.transpose(1, 2).flatten(0, 1) for x in inputs.zero_padding()[:3])
    scale = inputs.scale
    if scale <= 0:
        # The kernels take the maximum of the scores before they scale.
        q_NHD, scale = q_NHD * scale, 1.0
    if plan.has_holes:
        assert inputs.is_token_BT is not None
        q_NHD, k_NHD, v_NHD = _with_holes(q_NHD, k_NHD, v_NHD, ~inputs.is_token_BT.flatten()[:, None, None])
    out_NHD = _Flash.apply(
        *(_aligned(x) for x in (q_NHD, k_NHD, v_NHD)), _FlashCall(plan, inputs.pattern, (B, T), scale)
    )
    out_BHTD = out_NHD[..., :D].unflatten(0, (B, T)).transpose(1, 2)
    if inputs.is_token_BT is not None:
        out_BHTD = out_BHTD.masked_fill(~inputs.is_token_BT[:, None, :, None], 0)
    return out_BHTD if plan.slots is None else place_global_rows(out_BHTD, inputs, plan.slots)


def plan_of(inputs: AttentionInputs) -> FlashPlan:
    """The plan of a call, from the cache if an earlier layer had the same masks."""
    B, H, T, _ = inputs.q_BHTD.shape
    slots = None if inputs.global_rows is None else inputs.global_rows.slots
    # The bounds of documents determine the plan; their ids are not needed.
    bounds = None if inputs.documents is None else inputs.documents.bounds
    masks = [inputs.is_token_BT, inputs.is_global_BT, None if bounds is not None else inputs.document_BT]
    masks += [None, None] if slots is None else [slots.index_BG, slots.is_used_BG]
    which = (inputs.pattern, B, H, T, inputs.q_BHTD.device, bounds, None if slots is None else slots[2:])
    return _PLANS.get(masks, which, lambda: make_plan(inputs))


def _with_holes(q_NHD: Tensor, k_NHD: Tensor, v_NHD: Tensor, is_hole_N11: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Vectors with the additional columns that hide padding inside sequences."""
    more = (*q_NHD.shape[:2], _MORE_COLUMNS - 1)
    of_queries = q_NHD.new_full((*more[:2], 1), _OF_QUERIES)
    of_holes = torch.zeros_like(of_queries).masked_fill(is_hole_N11, _OF_HOLES)
    zeros = q_NHD.new_zeros(more)
    q_NHD = torch.cat([q_NHD, of_queries, zeros], dim=2)
    k_NHD = torch.cat([k_NHD, of_holes, zeros], dim=2)
    return q_NHD, k_NHD, F.pad(v_NHD, (0, _MORE_COLUMNS))


def _aligned(x_NHD: Tensor) -> Tensor:
    """`x_NHD`, copied unless it is aligned to 16 bytes and contiguous along the last axis, as the kernels need."""
    # A compiler cannot trace storage_offset, and its own tensors start at offset 0.
    starts_well = torch.compiler.is_compiling() or x_NHD.storage_offset() % 8 == 0
    is_aligned = starts_well and all(step % 8 == 0 for step in x_NHD.stride()[:-1])
    return x_NHD if is_aligned and x_NHD.stride(-1) == 1 else x_NHD.clone(memory_format=torch.contiguous_format)


class _FlashCall(NamedTuple):
    """What a call of the autograd function keeps beside tensors."""

    plan: FlashPlan
    pattern: AttentionPattern
    shape: tuple[int, int]  # B, T
    scale: float


class _BackwardInputs(NamedTuple):
    """The tensors that the backward of every part gets."""

    grad_NHD: Tensor
    q_NHD: Tensor
    k_NHD: Tensor
    v_NHD: Tensor
    out_NHD: Tensor
    lse_HN: Tensor


class _Flash(torch.autograd.Function):
    """The local rows: one softmax over windows and global columns, with gradients."""

    @staticmethod
    def forward(ctx: Any, q_NHD: Tensor, k_NHD: Tensor, v_NHD: Tensor, call: _FlashCall) -> Tensor:
        """Output [N, H, D]."""
        out_NHD, lse_HN = _windows_forward(q_NHD, k_NHD, v_NHD, call)
        if call.plan.columns is not None:
            _columns_forward(q_NHD, k_NHD, v_NHD, out_NHD, lse_HN, call.plan.columns, call.scale)
        for block in call.plan.blocks:
            _block_forward(q_NHD, k_NHD, v_NHD, out_NHD, lse_HN, block, call)
        ctx.save_for_backward(q_NHD, k_NHD, v_NHD, out_NHD, lse_HN)
        ctx.call = call
        return out_NHD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NHD: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Gradients of q, k, v."""
        whole, call = _BackwardInputs(grad_NHD.contiguous(), *ctx.saved_tensors), ctx.call
        grads = _windows_backward(whole, call)
        if call.plan.columns is not None:
            _columns_backward(whole, grads, call.plan.columns, call.scale)
        if call.plan.blocks:
            _blocks_backward(whole, grads, call)
        return *grads, None


def _windows_forward(q_NHD: Tensor, k_NHD: Tensor, v_NHD: Tensor, call: _FlashCall) -> tuple[Tensor, Tensor]:
    groups = call.plan.groups
    parts = [_group_forward(q_NHD, k_NHD, v_NHD, group, call) for group in groups]
    if len(parts) == 1:
        return parts[0]
    out_NHD = q_NHD.new_empty(q_NHD.shape)
    lse_HN = parts[0][1].new_empty(q_NHD.shape[1], q_NHD.shape[0])
    for group, (out, lse) in zip(groups, parts, strict=True):
        assert group.heads is not None
        out_NHD.index_copy_(1, group.heads, out)
        lse_HN.index_copy_(0, group.heads, lse)
    return out_NHD, lse_HN


def _group_forward(
    q_NHD: Tensor, k_NHD: Tensor, v_NHD: Tensor, group: DilationGroup, call: _FlashCall
) -> tuple[Tensor, Tensor]:
    vectors = [_of_heads(x, group) for x in (q_NHD, k_NHD, v_NHD)]
    n_heads = vectors[0].shape[1]
    out, lse = _FUNCTIONS.forward(
        *(group.regroup(x) for x in vectors), group.offsets, window_of(call.pattern, group.offsets), call.scale
    )
    return group.ungroup(out, n_heads), group.ungroup_lse(lse, n_heads)


def _of_heads(x_NHD: Tensor, group: DilationGroup) -> Tensor:
    return x_NHD if group.heads is None else x_NHD.index_select(1, group.heads)


def _windows_backward(whole: _BackwardInputs, call: _FlashCall) -> list[Tensor]:
    groups = call.plan.groups
    grads = [] if len(groups) == 1 else [x.new_empty(x.shape) for x in whole[1:4]]
    for group in groups:
        grad, q, k, v, out = (group.regroup(_of_heads(x, group)) for x in whole[:5])
        lse_HN = whole.lse_HN if group.heads is None else whole.lse_HN.index_select(0, group.heads)
        lse, window = group.regroup_lse(lse_HN), window_of(call.pattern, group.offsets)
        of_group = _FUNCTIONS.backward(grad, q, k, v, out, lse, group.offsets, window, call.scale)
        found = [group.ungroup(x, lse_HN.shape[0]) for x in of_group]
        if group.heads is None:
            return found
        for total, part in zip(grads, found, strict=True):
            total.index_copy_(1, group.heads, part)
    return grads


def _columns_forward(
    q_NHD: Tensor,
    k_NHD: Tensor,
    v_NHD: Tensor,
    out_NHD: Tensor,
    lse_HN: Tensor,
    columns: LeadingColumns,
    scale: float,
) -> None:
    """Merge the columns into the output and log-sum-exp over the windows, in place."""
    of_queries = columns.of_queries
    k, v = (x.index_select(0, columns.of_keys) for x in (k_NHD, v_NHD))
    part_out, part_lse = _FUNCTIONS.forward(_take(q_NHD, 0, of_queries), k, v, columns.offsets, (-1, -1), scale)
    out, lse = _take(out_NHD, 0, of_queries), _take(lse_HN, 1, of_queries)
    merge_into(out, lse.mT[..., None], part_out, part_lse.mT[..., None])
    if not isinstance(of_queries, slice):  # a slice is a view, and merged in place
        out_NHD.index_copy_(0, of_queries, out)
        lse_HN.index_copy_(1, of_queries, lse)


def _take(x: Tensor, axis: int, places: slice | Tensor) -> Tensor:
    """Part of `x` along an axis: a view for a slice, a copy for indices."""
    if isinstance(places, slice):
        return x.narrow(axis, places.start, places.stop - places.start)
    return x.index_select(axis, places)


def _columns_backward(whole: _BackwardInputs, grads: list[Tensor], columns: LeadingColumns, scale: float) -> None:
    """Add the gradients of the columns to those of q, k and v, in place."""
    of_queries, of_keys = columns.of_queries, columns.of_keys
    grad, q, k, v, out, lse = whole
    k, v = (x.index_select(0, of_keys) for x in (k, v))
    grad, q, out, lse = (_take(x, axis, of_queries) for x, axis in ((grad, 0), (q, 0), (out, 0), (lse, 1)))
    grad_q, grad_k, grad_v = _FUNCTIONS.backward(grad, q, k, v, out, lse, columns.offsets, (-1, -1), scale)
    if isinstance(of_queries, slice):
        grads[0][of_queries] += grad_q
    else:
        grads[0].index_add_(0, of_queries, grad_q)
    grads[1].index_add_(0, of_keys, grad_k)
    grads[2].index_add_(0, of_keys, grad_v)


class _BlockViews(NamedTuple):
    """Keys and values at the slots of one block, [B, H, G, D], and a bias that hides slots inside a query's window."""

    rows: slice
    queries: slice
    places_BG: Tensor  # indices of the slots among the N tokens
    k_BHGD: Tensor
    v_BHGD: Tensor
    bias: Tensor

    @staticmethod
    def of(k_NHD: Tensor, v_NHD: Tensor, block: QueryBlock, call: _FlashCall) -> "_BlockViews":
        assert call.plan.slots is not None
        T = call.shape[1]
        rows, queries, of_slots = block
        device = k_NHD.device
        index_BG, is_used_BG = (x[rows, of_slots] for x in call.plan.slots[:2])
        places_BG = index_BG + T * torch.arange(rows.start, rows.stop, device=device)[:, None]
        k_BHGD, v_BHGD = (x[places_BG].transpose(1, 2) for x in (k_NHD, v_NHD))
        query_K1 = torch.arange(queries.start, queries.stop, device=device)[:, None]
        index_B1G = index_BG[:, None]
        is_visible = is_used_BG[:, None] & call.pattern.visible(query_K1, index_B1G, key_is_global=True)
        dilations = call.pattern.dilations(k_NHD.shape[1])
        is_column_BHKG = torch.stack(
            [
                is_visible & ~call.pattern.in_window(query_K1, index_B1G, dilation=dilation)
                for dilation in (dilations if len(set(dilations)) > 1 else dilations[:1])
            ],
            dim=1,
        )
        bias = torch.zeros(is_column_BHKG.shape, dtype=torch.promote_types(k_NHD.dtype, torch.float32), device=device)
        return _BlockViews(rows, queries, places_BG, k_BHGD, v_BHGD, bias.masked_fill_(~is_column_BHKG, UNSEEN))

    def of_queries(self, x_NHD: Tensor, call: _FlashCall) -> Tensor:
        """The view [B, H, K, D] of the block's queries."""
        return x_NHD.unflatten(0, call.shape)[self.rows, self.queries].transpose(1, 2)

    def of_lse(self, lse_HN: Tensor, call: _FlashCall) -> Tensor:
        """The view [B, H, K] of the log-sum-exp of the block's queries."""
        return lse_HN.unflatten(1, call.shape)[:, self.rows, self.queries].transpose(0, 1)


def _block_forward(
    q_NHD: Tensor, k_NHD: Tensor, v_NHD: Tensor, out_NHD: Tensor, lse_HN: Tensor, block: QueryBlock, call: _FlashCall
) -> None:
    """Merge the slots outside the windows into the output and log-sum-exp of one block of queries, in place."""
    views = _BlockViews.of(k_NHD, v_NHD, block, call)
    out_BHKD, lse_BHK1 = views.of_queries(out_NHD, call), views.of_lse(lse_HN, call)[..., None]
    q_BHKD = views.of_queries(q_NHD, call)
    part_out, part_lse = matmul_forward(q_BHKD, views.k_BHGD, views.v_BHGD, views.bias, call.scale)
    # Merged in float32, so that half precision is rounded once.
    merged_BHKD = out_BHKD.to(lse_BHK1.dtype)
    merge_into(merged_BHKD, lse_BHK1, part_out.to(lse_BHK1.dtype), part_lse[..., None])
    out_BHKD.copy_(merged_BHKD)


def _blocks_backward(whole: _BackwardInputs, grads: list[Tensor], call: _FlashCall) -> None:
    """Add the gradients of the blocks to those of q, k and v, in place."""
    slots = call.plan.slots
    assert slots is not None
    n_tokens, n_heads, width = whole.k_NHD.shape
    # Sums over blocks are in float32 at least.
    sums_BGHD = [whole.lse_HN.new_zeros(*slots.index_BG.shape, n_heads, width) for _ in range(2)]
    for block in call.plan.blocks:
        views = _BlockViews.of(whole.k_NHD, whole.v_NHD, block, call)
        grad, q, out = (views.of_queries(x, call) for x in (whole.grad_NHD, whole.q_NHD, whole.out_NHD))
        lse = views.of_lse(whole.lse_HN, call)
        of_q, *of_slots = matmul_backward(grad, q, views.k_BHGD, views.v_BHGD, out, lse, views.bias, call.scale)
        views.of_queries(grads[0], call).add_(of_q)
        for total, part in zip(sums_BGHD, of_slots, strict=True):
            total[block.rows, block.slots] += part.transpose(1, 2)
    of_row_B1 = torch.arange(0, n_tokens, call.shape[1], device=slots.index_BG.device)[:, None]
    for grad_NHD, total in zip(grads[1:], sums_BGHD, strict=True):
        # The sums of an unused slot are zero, so that its index does not matter.
        grad_NHD.index_add_(0, (slots.index_BG + of_row_B1).flatten(), total.flatten(0, 1).to(grad_NHD.dtype))
