"""What backends take: the checked arguments of one call (`AttentionInputs`), and a description without tensors.

B batch rows  T tokens  H attention heads  D width per head  G global slots
"""

from typing import NamedTuple

import torch
from torch import Tensor

from longspan.attention.documents import Documents
from longspan.attention.pattern import AttentionPattern
from longspan.attention.slots import FoldedGlobalRows, GlobalRows, GlobalSlots, zero_at_padding


class AttentionInputs(NamedTuple):
    """The checked arguments of one call (`call.check_inputs`); a mask that changes nothing may be None.

    `documents` is set whenever `document_BT` (its `id_BT`) is, except while a compiler traces, when ids cannot be read.
    """

    q_BHTD: Tensor
    k_BHTD: Tensor
    v_BHTD: Tensor
    pattern: AttentionPattern
    is_token_BT: Tensor | None
    is_global_BT: Tensor | None  # the dynamic set, without the pattern's first positions
    document_BT: Tensor | None
    documents: Documents | None
    global_rows: GlobalRows | FoldedGlobalRows | None
    scale: float
    dropout_p: float

    def zero_padding(self) -> "AttentionInputs":
        """These inputs with q, k and v zero at padding, so that NaN there reaches no product and no gradient.

        It is for backends that multiply hidden vectors by 0. `global_rows` has its own `zero_padding`.
        """
        if self.is_token_BT is None:
            return self
        vectors = (self.q_BHTD, self.k_BHTD, self.v_BHTD)
        q_BHTD, k_BHTD, v_BHTD = (zero_at_padding(x, self.is_token_BT) for x in vectors)
        return self._replace(q_BHTD=q_BHTD, k_BHTD=k_BHTD, v_BHTD=v_BHTD)

    def global_slots(self) -> GlobalSlots | None:
        """The slots of all global tokens, static and dynamic; None if there are none.

        It waits for the device only if the call has a dynamic mask.
        """
        B, _, T, _ = self.q_BHTD.shape
        if self.global_rows is not None:
            slots = self.global_rows.slots
            if slots.index_BG.shape[1] == 0:
                return None
            return slots if self.is_token_BT is None else slots.mark_padding_unused(self.is_token_BT)
        if self.is_global_BT is None and self.pattern.n_global == 0:
            return None
        is_token_BT = self.is_token_BT
        if is_token_BT is None:
            is_token_BT = torch.ones(B, T, dtype=torch.bool, device=self.q_BHTD.device)
        if self.is_global_BT is None:
            return GlobalSlots.first(self.pattern.n_global, is_token_BT)
        is_first_T = torch.arange(T, device=self.q_BHTD.device) < self.pattern.n_global
        return GlobalSlots.find(self.is_global_BT | is_first_T, is_token_BT)


class BackendRequest(NamedTuple):
    """One call without its tensors: what a backend needs to know to say whether it can serve the call.

    Attributes:
        n_rows: B, batch rows.
        n_heads: H, attention heads.
        n_tokens: T, tokens per row.
        width: D, width per head.
        device: "cpu" or "cuda".
        dtype: dtype of q, k and v.
        needs_grad: whether there is a backward.
        pattern: which query sees which key.
        has_padding: whether some tokens are padding.
        has_dynamic_global: whether there are global tokens beside the pattern's first positions.
        has_documents: whether rows hold several documents.
        dropout_p: probability of dropping an attention probability.
        is_exporting: whether torch.export traces the call, into a graph for other lengths too.
        is_compiling: whether a compiler traces the call.
    """

    n_rows: int
    n_heads: int
    n_tokens: int
    width: int
    device: str
    dtype: torch.dtype
    needs_grad: bool
    pattern: AttentionPattern
    has_padding: bool = False
    has_dynamic_global: bool = False
    has_documents: bool = False
    dropout_p: float = 0.0
    is_exporting: bool = False
    is_compiling: bool = False
