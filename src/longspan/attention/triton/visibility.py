"""Padding, documents, causality and global tokens as a few whole numbers per token, which the kernels read.

B batch rows  T tokens  G global slots
"""

from typing import NamedTuple

import torch
from torch import Tensor

from longspan.attention.inputs import AttentionInputs
from longspan.attention.slots import GlobalSlots
from longspan.attention.tensor_cache import TensorKeyedCache


class Visibility(NamedTuple):
    """What restricts the plain window, in int32; None if there is no restriction.

    Attributes:
        kind_BT: kind of each key: -1 for a key of windows, -2 for padding, g >= 0 for the global token in slot g.
        first_BT, last_BT: bounds of the window, the last exclusive: those of the document without padding at its ends.
            T and 0 at padding, which sees nothing.
        slot_BG: positions of the global tokens, ascending without repetition; T in unused slots.
        first_slot_BT, last_slot_BT: the slots that the token sees, the last exclusive; None if all rows see all slots.
    """

    kind_BT: Tensor | None = None
    first_BT: Tensor | None = None
    last_BT: Tensor | None = None
    slot_BG: Tensor | None = None
    first_slot_BT: Tensor | None = None
    last_slot_BT: Tensor | None = None


_CACHE: TensorKeyedCache[Visibility] = TensorKeyedCache(size=4)


def cached_visibility(inputs: AttentionInputs, slots: GlobalSlots | None) -> Visibility:
    """`visibility_of`, computed once for all layers with the same masks."""
    B, _, T, _ = inputs.q_BHTD.shape
    # `slots` may be new in each layer, so that the key is what they were made from.
    given = () if inputs.global_rows is None else inputs.global_rows.slots[:2]
    return _CACHE.get(
        [inputs.is_token_BT, inputs.is_global_BT, inputs.document_BT, *given],
        (B, T, inputs.q_BHTD.device, inputs.pattern.n_global, inputs.pattern.causal),
        lambda: visibility_of(inputs, slots),
    )


def visibility_of(inputs: AttentionInputs, slots: GlobalSlots | None) -> Visibility:
    """The visibility of a call, computed on the device without waiting for it."""
    B, _, T, _ = inputs.q_BHTD.shape
    device = inputs.q_BHTD.device
    is_token_BT = inputs.is_token_BT
    first_BT, last_BT = _bounds(inputs, T)
    if slots is None:
        kind_BT = None if is_token_BT is None else _int32(torch.where(is_token_BT, -1, -2))
        return Visibility(kind_BT, first_BT, last_BT)

    # Unused slots get position T, after the last one; a repeated position keeps one of its slots.
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
    """`first_BT` and `last_BT`: where the document of each token begins, and where the next one begins."""
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
        # Ids at padding are replaced by the id before it, so that ids do not decrease.
        id_BT = id_BT.masked_fill(~is_token_BT, torch.iinfo(id_BT.dtype).min).cummax(dim=1).values.contiguous()
        first_BT = torch.maximum(first_BT, torch.searchsorted(id_BT, id_BT))
        last_BT = torch.minimum(last_BT, torch.searchsorted(id_BT, id_BT, right=True))
    return _int32(torch.where(is_token_BT, first_BT, n_tokens)), _int32(torch.where(is_token_BT, last_BT, 0))


def _int32(x: Tensor) -> Tensor:
    return x.to(torch.int32).contiguous()
