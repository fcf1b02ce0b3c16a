"""What all layers of one forward share, worked out once: who sees whom, where the global tokens and documents are.

B batch rows  T tokens  G global slots
"""

from typing import NamedTuple

import torch
import transformers
from torch import Tensor

from longspan.attention import AttentionPattern, Documents, GlobalSlots
from longspan.models.config import attention_backend, attention_patterns


class AttentionPlan(NamedTuple):
    """What all layers of one forward share; made once per forward.

    Attributes:
        patterns: who sees whom, one for each layer.
        backend: name of the attention backend, or "auto".
        is_token_BT: bool, True for real tokens; None where there is no padding.
        slots: where the global tokens are; None where there are none.
        documents: the documents of each row, found once; None where each row is one, or while a compiler traces.
        document_BT: int64, their ids, for a compiler to trace.
        is_blank_BT1: bool, True for tokens whose attention is put to zero afterwards (`unpadding`); None for none.
    """

    patterns: tuple[AttentionPattern, ...]
    backend: str
    is_token_BT: Tensor | None
    slots: GlobalSlots | None
    documents: Documents | None = None
    document_BT: Tensor | None = None
    is_blank_BT1: Tensor | None = None

    def n_pairs(self, shape: tuple[int, int]) -> int:
        """How many pairs of a global slot and a token it sees there are in a batch of `shape`, B and T."""
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
    """Find the global slots and the documents once, for all layers.

    Args:
        config: windows, dilations, static global tokens, backend.
        shape: B and T.
        device: where the slots are to be.
        is_token_BT: bool, True for real tokens; None for all.
        is_global_BT: bool, True for global tokens of a dynamic set; what is padding does not count.
        slots: global tokens whose number is known, in place of `is_global_BT`.
        document_BT: whole numbers that do not decrease along a row; the static global tokens are then the first ones
            of each document.

    Raises:
        InputError: document ids go backwards.
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
    """The first `n_global` positions of each row from its first token on, bool [B, T] or [T]."""
    position_T = torch.arange(shape[1], device=device)
    if is_token_BT is None:
        return position_T < n_global
    first_B1 = is_token_BT.to(torch.uint8).argmax(dim=1, keepdim=True)
    return (position_T >= first_B1) & (position_T < first_B1 + n_global)


def ids_of_tokens(document_BT: Tensor, is_token_BT: Tensor) -> Tensor:
    """`document_BT`, and at padding the document before it, whatever stands there; before all of them, one's own."""
    return document_BT.masked_fill(~is_token_BT, torch.iinfo(document_BT.dtype).min).cummax(dim=1).values


def positions_in_documents(document_BT: Tensor, is_counted_BT: Tensor | None = None) -> Tensor:
    """How many tokens of its document come before each token, int64 [B, T]; only those of `is_counted_BT` count."""
    if is_counted_BT is None:
        is_counted_BT = torch.ones_like(document_BT, dtype=torch.bool)
    before_BT = is_counted_BT.cumsum(dim=1) - is_counted_BT.long()
    is_new_BT = torch.ones_like(is_counted_BT)
    is_new_BT[:, 1:] = document_BT[:, 1:] != document_BT[:, :-1]
    # Counts only grow, so that the largest one at a beginning so far is the one at the last beginning.
    return before_BT - (before_BT * is_new_BT).cummax(dim=1).values
