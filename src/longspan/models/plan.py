"""The attention plan: patterns, global tokens and documents, computed once for all layers of a forward.

B batch rows  T tokens  G global slots
"""

from typing import NamedTuple

import torch
import transformers
from torch import Tensor

from longspan.attention import AttentionPattern, Documents, GlobalSlots
from longspan.models.config import attention_backend, attention_patterns


class AttentionPlan(NamedTuple):
    """What all layers of one forward share.

    Attributes:
        patterns: attention pattern of each layer.
        backend: name of the attention backend, or "auto".
        is_token_BT: bool, False at padding; None if there is no padding.
        slots: positions of the global tokens; None if there are none.
        documents: the documents of the rows; None if each row is one document, or while a compiler traces.
        document_BT: int64, ids of the documents, for a compiler to trace.
        is_blank_BT1: bool, True for tokens whose attention output is set to zero (`unpadding`); None for none.
    """

    patterns: tuple[AttentionPattern, ...]
    backend: str
    is_token_BT: Tensor | None
    slots: GlobalSlots | None
    documents: Documents | None = None
    document_BT: Tensor | None = None
    is_blank_BT1: Tensor | None = None

    def n_pairs(self, shape: tuple[int, int]) -> int:
        """The number of pairs of a global slot and a token that it sees, in a batch of `shape` B, T."""
        if self.slots is None:
            return 0
        if self.documents is None or self.slots.of_documents is None:
            return self.slots.index_BG.numel() * shape[1]
        pairs = zip(self.documents.bounds, self.slots.of_documents, strict=True)
        return sum((stop - start) * (last - first) for (_, start, stop), (first, last) in pairs)


def plan_attention(
    config: transformers.PreTrainedConfig,
    shape: tuple[int, int],
    device: torch.device,
    is_token_BT: Tensor | None,
    is_global_BT: Tensor | None,
    slots: GlobalSlots | None = None,
    document_BT: Tensor | None = None,
) -> AttentionPlan:
    """The plan of one forward.

    Args:
        config: configuration with windows, dilations, static global tokens and backend.
        shape: B and T.
        device: device of the slots.
        is_token_BT: bool, False at padding; None if there is no padding.
        is_global_BT: bool, the dynamic set of global tokens; padding is ignored.
        slots: slots of a task head's global tokens, in place of `is_global_BT`.
        document_BT: whole numbers that do not decrease along a row; the static global tokens are then the first ones
            of each document.

    Raises:
        InputError: the document ids decrease along a row.
    """
    patterns, backend = attention_patterns(config), attention_backend(config)
    n_global = patterns[0].n_global if patterns else 0
    documents = None
    if document_BT is not None:
        if n_global and (is_global_BT is not None or torch.compiler.is_compiling()):
            ids_BT = document_BT if is_token_BT is None else ids_of_tokens(document_BT, is_token_BT)
            is_first_BT = positions_in_documents(ids_BT) < n_global
            is_global_BT = is_first_BT if is_global_BT is None else is_global_BT | is_first_BT
        if not torch.compiler.is_compiling():
            documents = Documents.find(document_BT, is_token_BT)
    elif is_global_BT is not None and n_global:
        is_global_BT = is_global_BT | _are_first(n_global, shape, device, is_token_BT)
    if is_global_BT is not None:
        slots = GlobalSlots.find(is_global_BT, is_token_BT)
    elif n_global and documents is not None:
        slots = GlobalSlots.first_of_documents(n_global, documents)
        if slots is not None and is_token_BT is not None:
            slots = slots.mark_padding_unused(is_token_BT)
    elif n_global and is_token_BT is not None:
        slots = GlobalSlots.first_tokens(n_global, is_token_BT)
    elif n_global:
        every_BT = torch.ones(shape, dtype=torch.bool, device=device)
        return AttentionPlan(patterns, backend, None, GlobalSlots.first(n_global, every_BT))
    if slots is not None and documents is not None and slots.of_documents is None:
        slots = slots.by_document(documents)
    # The slots hold the whole set, the first positions among it.
    patterns = attention_patterns(config, n_global=0)
    return AttentionPlan(patterns, backend, is_token_BT, slots, documents, document_BT)


def _are_first(n_global: int, shape: tuple[int, int], device: torch.device, is_token_BT: Tensor | None) -> Tensor:
    """Whether each position is among the first `n_global` ones from its row's first token on, bool [B, T] or [T]."""
    position_T = torch.arange(shape[1], device=device)
    if is_token_BT is None:
        return position_T < n_global
    first_B1 = is_token_BT.to(torch.uint8).argmax(dim=1, keepdim=True)
    return (position_T >= first_B1) & (position_T < first_B1 + n_global)


def ids_of_tokens(document_BT: Tensor, is_token_BT: Tensor) -> Tensor:
    """`document_BT` with ids at padding replaced by the id before it, or by the smallest number at the start."""
    return document_BT.masked_fill(~is_token_BT, torch.iinfo(document_BT.dtype).min).cummax(dim=1).values


def positions_in_documents(document_BT: Tensor, is_counted_BT: Tensor | None = None) -> Tensor:
    """The number of earlier tokens of the same document for each token, int64 [B, T], counting `is_counted_BT` only."""
    if is_counted_BT is None:
        is_counted_BT = torch.ones_like(document_BT, dtype=torch.bool)
    before_BT = is_counted_BT.cumsum(dim=1) - is_counted_BT.long()
    is_new_BT = torch.ones_like(is_counted_BT)
    is_new_BT[:, 1:] = document_BT[:, 1:] != document_BT[:, :-1]
    # Counts never decrease, so that the maximum over earlier document starts is that of the last start.
    return before_BT - (before_BT * is_new_BT).cummax(dim=1).values
