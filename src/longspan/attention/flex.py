"""Attention by FlexAttention: torch compiles a kernel from the pattern, and a map says which blocks it visits.

The map is computed from the first and last position of each block, never from a [T x T] mask. It holds (T/128)^2 small
numbers, and is cached by the pattern, the length and the masks. The numbers of the pattern reach the kernel as
tensors, so that layers with different windows share one kernel.

B batch rows  T tokens  H attention heads  D width per head  N blocks of tokens  K tokens of a block
"""

import functools
import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from longspan.attention.global_rows import place_global_rows
from longspan.attention.inputs import AttentionInputs, BackendRequest
from longspan.attention.pattern import AttentionPattern
from longspan.attention.slots import GlobalSlots
from longspan.attention.tensor_cache import TensorKeyedCache

_BLOCK = 128  # FlexAttention's kernels are tuned for it


class _Prepared(NamedTuple):
    block_mask: Any
    slots: GlobalSlots | None


_PREPARED: TensorKeyedCache[_Prepared] = TensorKeyedCache(8)


def reason_against_flex(request: BackendRequest) -> str | None:
    """Why FlexAttention cannot serve a request, or None if it can."""
    if request.device != "cuda":
        return f"on {request.device} it has no backward, and without a compiler holds all scores in memory"
    if request.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        return f"its kernels take float32, float16 and bfloat16, not {str(request.dtype).removeprefix('torch.')}"
    if request.width < 16:
        return f"its kernels take a head width from 16, not {request.width}"
    if request.dropout_p:
        return "it has no dropout"
    if importlib.util.find_spec("triton") is None:
        return "its kernels are compiled by triton, which is not installed"
    # Without a GPU, the answer is about one that meets the requirements.
    if torch.cuda.is_available() and torch.cuda.get_device_capability() < (8, 0):
        return "its kernels need compute capability 8.0"
    return None


def attend_flex(inputs: AttentionInputs) -> Tensor:
    """Attention by a compiled FlexAttention kernel; output [B, H, T, D] of q's dtype, zero at padding.

    On the CPU, in tests, it is not compiled and keeps all scores in memory.
    """
    prepared = _prepare(inputs)
    is_traced = torch.compiler.is_compiling() or inputs.q_BHTD.device.type == "cpu"
    attend = _attend if is_traced else _compiled()
    out_BHTD = attend(*inputs.zero_padding()[:3], prepared.block_mask, inputs.scale)
    if inputs.is_token_BT is not None:
        out_BHTD = out_BHTD.masked_fill(~inputs.is_token_BT[:, None, :, None], 0)
    return out_BHTD if prepared.slots is None else place_global_rows(out_BHTD, inputs, prepared.slots)


def _attend(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, block_mask: Any, scale: float) -> Tensor:
    from torch.nn.attention.flex_attention import flex_attention

    out_BHTD = flex_attention(q_BHTD, k_BHTD, v_BHTD, block_mask=block_mask, scale=scale)
    assert isinstance(out_BHTD, Tensor)
    return out_BHTD


@functools.cache
def _compiled() -> Callable[..., Tensor]:
    # With fullgraph, more compilations than torch allows are an error instead of silent dense attention.
    return torch.compile(_attend, fullgraph=True)


def _prepare(inputs: AttentionInputs) -> _Prepared:
    B, H, T, _ = inputs.q_BHTD.shape
    slots = None if inputs.global_rows is None else inputs.global_rows.slots
    masks = [inputs.is_token_BT, inputs.is_global_BT, inputs.document_BT]
    masks += [None, None] if slots is None else [slots.index_BG, slots.is_used_BG]
    which = (inputs.pattern, B, H, T, inputs.q_BHTD.device, _BLOCK, None if slots is None else slots[2:])
    return _PREPARED.get(masks, which, lambda: _make(inputs))


def _make(inputs: AttentionInputs) -> _Prepared:
    from torch.nn.attention.flex_attention import BlockMask

    T = inputs.q_BHTD.shape[2]
    slots = inputs.global_slots()
    # The pattern's first positions are given by their number; with other global tokens, a mask holds all of them.
    is_by_number = slots is None or (slots.are_first and slots.index_BG.shape[1] == min(inputs.pattern.n_global, T))
    is_global_BT = None if slots is None or is_by_number else slots.mask(T)
    has_any, has_all = visible_blocks(inputs, is_global_BT, _BLOCK)
    counts_and_places = (x for blocks in (has_any & ~has_all, has_all) for x in _ordered(blocks))
    block_mask = BlockMask.from_kv_blocks(
        *counts_and_places, BLOCK_SIZE=_BLOCK, mask_mod=_mask_mod(inputs, is_global_BT), seq_lengths=(T, T)
    )
    return _Prepared(block_mask, slots)


def _mask_mod(inputs: AttentionInputs, is_global_BT: Tensor | None) -> Callable[..., Tensor]:
    """The mask function for FlexAttention; the results of global rows and padding are discarded later."""
    pattern, is_token_BT, document_BT = inputs.pattern, inputs.is_token_BT, inputs.document_BT
    device = inputs.q_BHTD.device
    n_global = pattern.n_global if is_global_BT is None else 0
    of_tensors = _of_tensors(pattern, n_global, inputs.q_BHTD.shape[2], device)
    dilations = pattern.dilations(inputs.q_BHTD.shape[1])
    dilation_H = None if set(dilations) == {1} else torch.tensor(dilations, device=device)

    def is_visible(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        seen = of_tensors.visible(
            query,
            key,
            dilation=1 if dilation_H is None else dilation_H[head],
            key_is_global=False if is_global_BT is None else is_global_BT[row, key],
        )
        if is_token_BT is not None:
            seen = seen & is_token_BT[row, key]
        if document_BT is not None:
            seen = seen & (document_BT[row, query] == document_BT[row, key])
        return seen

    return is_visible


def _of_tensors(pattern: AttentionPattern, n_global: int, n_tokens: int, device: torch.device) -> AttentionPattern:
    """The pattern with tensors in place of numbers, so that one kernel serves all patterns.

    A compiler would make one kernel for each plain number, or fail: FlexAttention's lowering takes no number that
    dynamo has made symbolic and computed with (pytorch issue 182606).
    """
    of_tensors = object.__new__(AttentionPattern)  # the numbers were checked, and tensors would not pass
    for name, number in (("left", pattern.left), ("right", pattern.right), ("n_global", n_global)):
        object.__setattr__(of_tensors, name, torch.tensor(min(number, n_tokens), device=device))
    object.__setattr__(of_tensors, "causal", pattern.causal)
    return of_tensors


def visible_blocks(inputs: AttentionInputs, is_global_BT: Tensor | None, block: int) -> tuple[Tensor, Tensor]:
    """For each block of queries and keys, whether any pair is visible, and whether all are, [B or 1, H or 1, N, N].

    Rows of global tokens and of padding are ignored. The answer is exact for the pattern. For masks it uses a few
    numbers per block: a block too many in the first result, or too few in the second, costs time but changes no result.

    Args:
        inputs: the call.
        is_global_BT: all global tokens; None if they are the pattern's first positions.
        block: number of tokens in a block.
    """
    T = inputs.q_BHTD.shape[2]
    first_N = torch.arange(0, T, block, device=inputs.q_BHTD.device)
    ends = _Ends(first_N, (first_N + block).clamp(max=T) - 1)
    n_first = inputs.pattern.n_global if is_global_BT is None else 0
    has_any, has_all = _by_pattern(inputs.pattern, inputs.pattern.dilations(inputs.q_BHTD.shape[1]), n_first, ends)

    def in_blocks(x_BT: Tensor, fill: int) -> Tensor:
        return F.pad(x_BT, (0, -T % block), value=fill).unflatten(1, (-1, block))[:, None]

    is_token_BT = inputs.is_token_BT
    if is_global_BT is not None:
        any_global, all_global = _by_global(in_blocks(is_global_BT, False), inputs.pattern.causal, ends)
        has_any, has_all = has_any | any_global, has_all | all_global
    if is_token_BT is not None:
        is_token_B1NK = in_blocks(is_token_BT, False)
        has_token_B1N = is_token_B1NK.any(dim=3)
        has_any = has_any & has_token_B1N[..., None] & has_token_B1N[..., None, :]
        has_all = has_all & is_token_B1NK.all(dim=3)[..., None, :]
    if inputs.document_BT is not None:
        least, most = torch.iinfo(torch.int64).min, torch.iinfo(torch.int64).max
        id_BT = inputs.document_BT.long()
        is_padding_BT = torch.zeros_like(id_BT, dtype=torch.bool) if is_token_BT is None else ~is_token_BT
        low_B1N = in_blocks(id_BT.masked_fill(is_padding_BT, most), most).amin(dim=3)
        high_B1N = in_blocks(id_BT.masked_fill(is_padding_BT, least), least).amax(dim=3)
        low, high = low_B1N[..., None, :], high_B1N[..., None, :]
        has_any = has_any & (low_B1N[..., None] <= high) & (low <= high_B1N[..., None])
        has_all = has_all & (low == high) & (low_B1N[..., None] == low) & (high_B1N[..., None] == high)
    # The last block may extend beyond the last token, where nothing is visible.
    is_whole_N = ends.last_N - ends.first_N == block - 1
    return has_any, has_any & has_all & is_whole_N & is_whole_N[:, None]


class _Ends(NamedTuple):
    """The first and the last position of each block."""

    first_N: Tensor
    last_N: Tensor


def _by_pattern(
    pattern: AttentionPattern, dilations: tuple[int, ...], n_first: int, ends: _Ends
) -> tuple[Tensor, Tensor]:
    """Whether any and whether all pairs of a block are visible by the pattern, [1, H or 1, N, N]."""
    first_N, last_N = ends
    first_N1, last_N1 = first_N[:, None], last_N[:, None]
    # In a block, a key is `low` to `high` positions after a query, and each of these distances occurs.
    low_NN, high_NN = first_N - last_N1, last_N - first_N1
    # Global keys are columns; all keys after them must be in the window.
    low_local_NN = first_N.clamp(min=n_first) - last_N1
    any_HNN, all_HNN = [], []
    for dilation in dilations if len(set(dilations)) > 1 else dilations[:1]:
        nearest_NN, furthest_NN = (
            low_NN.clamp(min=-pattern.left * dilation),
            high_NN.clamp(max=pattern.right * dilation),
        )
        any_HNN.append(furthest_NN.div(dilation, rounding_mode="floor") * dilation >= nearest_NN)
        all_HNN.append((low_local_NN >= -pattern.left) & (high_NN <= pattern.right) & (dilation == 1))
    seen_first_NN = (first_N < n_first).expand_as(low_NN)
    all_first_NN = torch.ones_like(seen_first_NN)
    if pattern.causal:
        seen_first_NN = seen_first_NN & (first_N <= last_N1)
        all_first_NN = (first_N >= n_first) | (last_N.clamp(max=n_first - 1) <= first_N1)
    has_any = torch.stack(any_HNN) | seen_first_NN
    has_all = (torch.stack(all_HNN) | (last_N < n_first)) & all_first_NN
    return has_any[None], has_all[None]


def _by_global(is_global_B1NK: Tensor, causal: bool, ends: _Ends) -> tuple[Tensor, Tensor]:
    """Whether any and whether all keys of a block are visible global keys, [B, 1, 1 or N, N]."""
    any_global, all_global = (x[..., None, :] for x in (is_global_B1NK.any(dim=3), is_global_B1NK.all(dim=3)))
    if causal:
        first_N1, last_N1 = (x[:, None] for x in ends)
        first_global_B1N = ends.first_N + is_global_B1NK.to(torch.uint8).argmax(dim=3)
        any_global = any_global & (first_global_B1N[..., None, :] <= last_N1)
        all_global = all_global & (ends.last_N <= first_N1)
    return any_global, all_global


def _ordered(is_listed: Tensor) -> tuple[Tensor, Tensor]:
    """How many blocks of keys each block of queries visits, and the blocks with those first; int32."""
    places = is_listed.to(torch.int32).argsort(dim=-1, descending=True, stable=True)
    return is_listed.sum(dim=-1, dtype=torch.int32), places.to(torch.int32)
