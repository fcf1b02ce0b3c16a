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
    """Checked arguments of one call (`checks.check_inputs`); the masks that would change nothing may be None.

    `documents` goes with `document_BT` (its `id_BT`), except while a compiler traces: nobody looks at the ids then, and
    `documents` may be None.
    """

    q_BHTD: Tensor
    k_BHTD: Tensor
    v_BHTD: Tensor
    pattern: AttentionPattern
    is_token_BT: Tensor | None
    is_global_BT: Tensor | None  # the dynamic set; the static first ones are the pattern's
    document_BT: Tensor | None
    documents: Documents | None
    global_rows: GlobalRows | FoldedGlobalRows | None
    scale: float
    dropout_p: float

    def without_padding(self) -> "AttentionInputs":
        """The same, q, k and v zero at padding: what stands there reaches nobody, in no product and no gradient.

        For backends that multiply what nobody sees by 0. `global_rows` have a `without_padding` of their own.
        """
        if self.is_token_BT is None:
            return self
        vectors = (self.q_BHTD, self.k_BHTD, self.v_BHTD)
        q_BHTD, k_BHTD, v_BHTD = (zero_at_padding(x, self.is_token_BT) for x in vectors)
        return self._replace(q_BHTD=q_BHTD, k_BHTD=k_BHTD, v_BHTD=v_BHTD)

    def global_slots(self) -> GlobalSlots | None:
        """Where the global tokens are, static and dynamic; None where there are certainly none.

        Waits for the device only where a dynamic mask was given.
        """
        B, _, T, _ = self.q_BHTD.shape
        if self.global_rows is not None:
            slots = self.global_rows.slots
            if slots.index_BG.shape[1] == 0:
                return None
            return slots if self.is_token_BT is None else slots.without_padding(self.is_token_BT)
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
    """What a backend is asked for, without the tensors."""

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
    is_compiling: bool = False  # traced by torch.export, into a graph for other lengths as well
