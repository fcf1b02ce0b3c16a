"""The rows of global tokens, which see every key: one dense [G x T] attention, only where there are global tokens.

B batch rows  T tokens  H attention heads  D width per head  G global slots
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from longspan.attention.inputs import AttentionInputs
from longspan.attention.slots import GlobalRows, GlobalSlots

__all__ = ["GlobalRows", "GlobalSlots", "at_slots", "place_global_rows"]


def at_slots(x_BHTD: Tensor, slots: GlobalSlots) -> Tensor:
    """The vectors at the slots [B, H, G, D]: a view where the slots are the first positions."""
    if slots.are_first:
        return x_BHTD[:, :, : slots.index_BG.shape[1]]
    index_BHGD = slots.index_BG[:, None, :, None].expand(-1, x_BHTD.shape[1], -1, x_BHTD.shape[3])
    return x_BHTD.gather(2, index_BHGD)


def visible_from_slots(inputs: AttentionInputs, slots: GlobalSlots) -> Tensor | None:
    """Which keys each slot sees, bool [B, 1, G, T] or fewer by broadcasting; None where each sees every key.

    An unused slot sees everything: its row is thrown away, and a softmax over nothing would leave NaN in gradients.
    """
    if inputs.is_token_BT is None and inputs.document_BT is None and not inputs.pattern.causal:
        return None
    position_T = torch.arange(inputs.q_BHTD.shape[2], device=inputs.q_BHTD.device)
    visible_BGT = inputs.pattern.visible(slots.index_BG[:, :, None], position_T, query_is_global=True)
    if inputs.is_token_BT is not None:
        visible_BGT = visible_BGT & inputs.is_token_BT[:, None, :]
    if inputs.document_BT is not None:
        document_BG = inputs.document_BT.gather(1, slots.index_BG)
        visible_BGT = visible_BGT & (document_BG[:, :, None] == inputs.document_BT[:, None, :])
    return (visible_BGT | ~slots.is_used_BG[:, :, None])[:, None]


def place_global_rows(out_BHTD: Tensor, inputs: AttentionInputs, slots: GlobalSlots) -> Tensor:
    """`out_BHTD` with the rows of the global tokens replaced by their attention over every key."""
    used_B1G1 = slots.is_used_BG[:, None, :, None]
    if inputs.global_rows is not None:
        _, q_BHGD, k_BHTD, v_BHTD = inputs.global_rows
    else:
        q_BHGD, k_BHTD, v_BHTD = at_slots(inputs.q_BHTD, slots), inputs.k_BHTD, inputs.v_BHTD
    # What stands in an unused slot is nobody's: not even its NaN may reach a gradient.
    row_BHGD = F.scaled_dot_product_attention(
        q_BHGD.masked_fill(~used_B1G1, 0),
        k_BHTD,
        v_BHTD,
        attn_mask=visible_from_slots(inputs, slots),
        dropout_p=inputs.dropout_p,
        scale=inputs.scale,
    )
    if slots.are_first:
        n_slots = slots.index_BG.shape[1]
        first_BHGD = torch.where(used_B1G1, row_BHGD, out_BHTD[:, :, :n_slots])
        return torch.cat([first_BHGD, out_BHTD[:, :, n_slots:]], dim=2)
    # Unused slots all point at position 0: adding zeros there is harmless, where overwriting would not be.
    index_BHGD = slots.index_BG[:, None, :, None].expand_as(row_BHGD)
    out_BHTD = out_BHTD.masked_fill(slots.mask(out_BHTD.shape[2])[:, None, :, None], 0)
    return out_BHTD.scatter_add(2, index_BHGD, row_BHGD.masked_fill(~used_B1G1, 0))
