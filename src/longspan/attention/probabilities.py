"""Attention probabilities in the layout of transformers' `output_attentions` for Longformer.

B batch rows  T tokens  H attention heads  D width per head  G global slots
W window columns = left + 1 + right  S score columns = G + W  K queries per block
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from longspan.attention.call import check_inputs
from longspan.attention.documents import Documents
from longspan.attention.global_rows import gather_slots, visible_from_slots
from longspan.attention.inputs import AttentionInputs
from longspan.attention.pattern import AttentionPattern
from longspan.attention.slots import FoldedGlobalRows, GlobalRows, GlobalSlots

_BLOCK = 64


def attention_weights(
    q_BHTD: Float[Tensor, "B H T D"],
    k_BHTD: Float[Tensor, "B H T D"],
    pattern: AttentionPattern,
    *,
    is_token_BT: Bool[Tensor, "B T"] | None = None,
    is_global_BT: Bool[Tensor, "B T"] | None = None,
    document_BT: Int[Tensor, "B T"] | None = None,
    documents: Documents | None = None,
    global_rows: GlobalRows | FoldedGlobalRows | None = None,
    scale: float | None = None,
) -> tuple[Float[Tensor, "B H T S"], Float[Tensor, "B H G T"] | None]:
    """The attention probabilities of `attend`, without dropout; arguments as in `attend`.

    Memory grows linearly with the number of tokens.

    Returns:
        The probabilities of the local rows [B, H, T, G + left + 1 + right] and of the global rows [B, H, G, T], of q's
        dtype. Without a global token G is 0, and the second is None. Column g < G of the first is global token g;
        column G + c is the key at distance (c - left) * dilation. Hidden keys are zero. As in transformers, these are
        zero too: window columns of global tokens (they are among the first G), rows of global tokens (they are in the
        second result), rows of padding, and unused slots.

    Raises:
        InputError: an argument does not fit the others.
    """
    inputs = check_inputs(
        q_BHTD,
        k_BHTD,
        k_BHTD,
        pattern,
        is_token_BT=is_token_BT,
        is_global_BT=is_global_BT,
        document_BT=document_BT,
        documents=documents,
        global_rows=global_rows,
        scale=scale,
        dropout_p=0.0,
    )
    # As in `attend`, autocast must not change the dtype.
    with torch.autocast(q_BHTD.device.type, enabled=False):
        return _probabilities(inputs)


def _probabilities(inputs: AttentionInputs) -> tuple[Tensor, Tensor | None]:
    slots, inputs = inputs.global_slots(), inputs.zero_padding()
    T = inputs.q_BHTD.shape[2]
    local = [_local_block(inputs, slots, start, min(start + _BLOCK, T)) for start in range(0, T, _BLOCK)]
    local_BHTS = torch.cat(local, dim=2)
    return local_BHTS, None if slots is None else _global_probabilities(inputs, slots)


def _local_block(inputs: AttentionInputs, slots: GlobalSlots | None, start: int, stop: int) -> Tensor:
    """Probabilities [B, H, K, S] of the queries from `start` to before `stop`."""
    pattern, device = inputs.pattern, inputs.q_BHTD.device
    H, T = inputs.q_BHTD.shape[1:3]
    dtype = torch.promote_types(inputs.q_BHTD.dtype, torch.float32)
    dilation_H11 = torch.tensor(pattern.dilations(H), device=device)[:, None, None]
    reach = max(pattern.dilations(H))
    first, last = max(0, start - pattern.left * reach), min(T, stop + pattern.right * reach)
    q_BHKD = inputs.q_BHTD[:, :, start:stop].to(dtype) * inputs.scale

    query_K1 = torch.arange(start, stop, device=device)[:, None]
    step_W = torch.arange(-pattern.left, pattern.right + 1, device=device)
    key_HKW = query_K1 + step_W * dilation_H11
    is_inside_HKW = (key_HKW >= 0) & (key_HKW < T)
    key_HKW = key_HKW.clamp(0, T - 1)
    range_BHKR = q_BHKD @ inputs.k_BHTD[:, :, first:last].to(dtype).mT
    column_HKW = (key_HKW - first).clamp(0, last - first - 1)
    score_BHKW = range_BHKR.gather(3, column_HKW.expand(len(range_BHKR), -1, -1, -1))
    is_visible_BHKW = is_inside_HKW & pattern.visible(query_K1, key_HKW, dilation=dilation_H11)
    is_visible_BHKW = is_visible_BHKW & _same_document(inputs, query_K1, key_HKW[None])
    is_local_BK = None
    if slots is not None:
        is_global_BT = slots.mask(T)
        is_visible_BHKW = is_visible_BHKW & ~is_global_BT[:, key_HKW]
        is_local_BK = ~is_global_BT[:, start:stop]
        index_B11G = slots.index_BG[:, None, None, :]
        score_BHKG = q_BHKD @ gather_slots(inputs.k_BHTD, slots).to(dtype).mT
        is_visible_BHKG = pattern.visible(query_K1, index_B11G, key_is_global=True) & slots.is_used_BG[:, None, None, :]
        is_visible_BHKG = is_visible_BHKG & _same_document(inputs, query_K1, index_B11G)
        score_BHKW = torch.cat([score_BHKG, score_BHKW], dim=-1)
        shape = score_BHKW.shape
        is_visible_BHKW = torch.cat(
            [is_visible_BHKG.expand(*shape[:3], -1), is_visible_BHKW.expand(*shape[:3], -1)],
            dim=-1,
        )
    prob_BHKS = _softmax_where(score_BHKW, is_visible_BHKW)
    if is_local_BK is not None:
        prob_BHKS = prob_BHKS.masked_fill(~is_local_BK[:, None, :, None], 0)
    return prob_BHKS.to(inputs.q_BHTD.dtype)


def _same_document(inputs: AttentionInputs, query_K1: Tensor, key_BHKS: Tensor) -> Tensor:
    """Whether query and key are tokens of the same document, broadcasting to [B, H, K, S]."""
    same = torch.ones((), dtype=torch.bool, device=query_K1.device)
    for value_BT, is_mask in ((inputs.is_token_BT, True), (inputs.document_BT, False)):
        if value_BT is None:
            continue
        B = value_BT.shape[0]
        of_query_B1K1 = value_BT[:, query_K1][:, None]
        row_B111 = torch.arange(B, device=value_BT.device)[:, None, None, None]
        of_key_BHKS = value_BT[row_B111, key_BHKS]
        same = same & (of_query_B1K1 & of_key_BHKS if is_mask else of_query_B1K1 == of_key_BHKS)
    return same


def _global_probabilities(inputs: AttentionInputs, slots: GlobalSlots) -> Tensor:
    """Probabilities [B, H, G, T] of the global rows."""
    dtype = torch.promote_types(inputs.q_BHTD.dtype, torch.float32)
    if inputs.global_rows is not None:
        _, q_BHGD, k_BHTD, _ = inputs.global_rows.zero_padding(inputs.is_token_BT).unfold()
    else:
        q_BHGD, k_BHTD = gather_slots(inputs.q_BHTD, slots), inputs.k_BHTD
    score_BHGT = q_BHGD.to(dtype) @ k_BHTD.to(dtype).mT * inputs.scale
    is_visible_BHGT = visible_from_slots(inputs, slots)
    is_used_B1G1 = slots.is_used_BG[:, None, :, None]
    is_visible_BHGT = is_used_B1G1 if is_visible_BHGT is None else is_visible_BHGT & is_used_B1G1
    return _softmax_where(score_BHGT, is_visible_BHGT).to(inputs.q_BHTD.dtype)


def _softmax_where(score: Tensor, is_visible: Tensor) -> Tensor:
    """Softmax over the visible entries of the last axis; zeros at hidden entries, and in rows without a visible one."""
    is_visible = is_visible.expand_as(score)
    score = score.masked_fill(~is_visible, -torch.inf).masked_fill(~is_visible.any(dim=-1, keepdim=True), 0)
    return score.softmax(dim=-1).masked_fill(~is_visible, 0)
