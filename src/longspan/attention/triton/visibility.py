"""Padding, documents, causality and global tokens as a few whole numbers a token, which is all the kernels look at.

B batch rows  T tokens  G global slots
"""

from typing import NamedTuple

import torch
from torch import Tensor

from longspan.attention.inputs import AttentionInputs
from longspan.attention.slots import GlobalSlots
from longspan.attention.tensor_cache import Remembered


class Visibility(NamedTuple):
    """What narrows the plain window, int32; None where it does not.

    Attributes:
        kind_BT: of each key -1: seen through windows; -2: padding; from 0: global, its number in `slot_BG`.
        first_BT, last_BT: the window ends at these positions at the latest, the last exclusive: the document's, less
            padding at its ends. T and 0 at padding, which sees nothing.
        slot_BG: positions of the global tokens, ascending, each once; T in unused slots.
        first_slot_BT, last_slot_BT: which slots the token sees, the last exclusive; None: all rows see all slots.
    """

    kind_BT: Tensor | None = None
    first_BT: Tensor | None = None
    last_BT: Tensor | None = None
    slot_BG: Tensor | None = None
    first_slot_BT: Tensor | None = None
    last_slot_BT: Tensor | None = None


_REMEMBERED: Remembered[Visibility] = Remembered(size=4)


def remembered_visibility(inputs: AttentionInputs, slots: GlobalSlots | None) -> Visibility:
    """`visibility_of`, worked out once for all layers that are handed the same masks."""
    B, _, T, _ = inputs.q_BHTD.shape
    # `slots` may have been made for this layer alone: what they were made from decides.
    given = () if inputs.global_rows is None else inputs.global_rows.slots[:2]
    return _REMEMBERED.get(
        [inputs.is_token_BT, inputs.is_global_BT, inputs.document_BT, *given],
        (B, T, inputs.q_BHTD.device, inputs.pattern.n_global, inputs.pattern.causal),
        lambda: visibility_of(inputs, slots),
    )


def visibility_of(inputs: AttentionInputs, slots: GlobalSlots | None) -> Visibility:
    """Computed on the device, without waiting for it."""
    B, _, T, _ = inputs.q_BHTD.shape
    device = inputs.q_BHTD.device
    is_token_BT = inputs.is_token_BT
    first_BT, last_BT = _bounds(inputs, T)
    if slots is None:
        kind_BT = None if is_token_BT is None else _int32(torch.where(is_token_BT, -1, -2))
        return Visibility(kind_BT, first_BT, last_BT)

    # Unused slots go behind the last position; a position named twice keeps one of its slots.
    G = slots.index_BG.shape[1]
    slot_BG = slots.index_BG.masked_fill(~slots.is_used_BG, T).sort(dim=1).values
    kind_BT = torch.full((B, T + 1), -1, dtype=torch.int64, device=device)
    kind_BT = kind_BT.scatter(1, slot_BG, torch.arange(G, device=device).expand(B, G))
    slot_BG = slot_BG.masked_fill(kind_BT.gather(1, slot_BG) != torch.arange(G, device=device), T).sort(dim=1).values
    kind_BT = kind_BT.scatter(1, slot_BG, torch.arange(G, device=device).expand(B, G))[:, :T]
    if is_token_BT is not None:
        kind_BT = kind_BT.masked_fill(~is_token_BT, -2)

    first_slot_BT = last_slot_BT = None
    if not (slots.are_first and first_BT is None and not inputs.pattern.causal):
        stop_BT = torch.full((B, T), T, dtype=torch.int64, device=device) if last_BT is None else last_BT.long()
        if inputs.pattern.causal:
            stop_BT = torch.minimum(stop_BT, torch.arange(1, T + 1, device=device))
        start_BT = torch.zeros_like(stop_BT) if first_BT is None else first_BT.long()
        first_slot_BT = torch.searchsorted(slot_BG, start_BT, out_int32=True)
        last_slot_BT = torch.searchsorted(slot_BG, stop_BT, out_int32=True)
    return Visibility(_int32(kind_BT), first_BT, last_BT, _int32(slot_BG), first_slot_BT, last_slot_BT)


def _bounds(inputs: AttentionInputs, n_tokens: int) -> tuple[Tensor | None, Tensor | None]:
    """`first_BT` and `last_BT`: where a token's document begins, and where the next one does."""
    is_token_BT, id_BT = inputs.is_token_BT, inputs.document_BT
    if is_token_BT is None and id_BT is None:
        return None, None
    if is_token_BT is None:
        assert id_BT is not None
        id_BT = id_BT.contiguous()
        return torch.searchsorted(id_BT, id_BT, out_int32=True), torch.searchsorted(
            id_BT, id_BT, right=True, out_int32=True
        )
    position_T = torch.arange(n_tokens, device=is_token_BT.device)
    # The first and the last token of the row.
    first_BT = torch.where(is_token_BT, position_T, n_tokens).min(dim=1, keepdim=True).values
    last_BT = torch.where(is_token_BT, position_T + 1, 0).max(dim=1, keepdim=True).values
    if id_BT is not None:
        # Whatever stands at padding counts for nothing: it takes the id before it, so that ids do not decrease.
        id_BT = id_BT.masked_fill(~is_token_BT, torch.iinfo(id_BT.dtype).min).cummax(dim=1).values.contiguous()
        first_BT = torch.maximum(first_BT, torch.searchsorted(id_BT, id_BT))
        last_BT = torch.minimum(last_BT, torch.searchsorted(id_BT, id_BT, right=True))
    return _int32(torch.where(is_token_BT, first_BT, n_tokens)), _int32(torch.where(is_token_BT, last_BT, 0))


def _int32(x: Tensor) -> Tensor:
    return x.to(torch.int32).contiguous()
