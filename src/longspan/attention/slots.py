"""Global tokens: where they are (`GlobalSlots`), and projections of their own (`GlobalRows`).

B batch rows  T tokens  H attention heads  D width per head  G global slots
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor


class GlobalSlots(NamedTuple):
    """The positions of the global tokens of each row, in G slots; a row with fewer leaves its last slots unused.

    Attributes:
        index_BG: int64 position of each slot, ascending, 0 where unused.
        is_used_BG: bool, whether the slot holds a global token.
        are_first: slot g, where used, is position g in every row, so that slices do and nothing needs gathering.
    """

    index_BG: Tensor
    is_used_BG: Tensor
    are_first: bool = False

    @staticmethod
    def find(is_global_BT: Bool[Tensor, "B T"]) -> "GlobalSlots | None":
        """Slots of a dynamic set, as many as the row with most has; None where no row has any.

        The number of slots depends on the data, so that this waits for the device once.
        """
        count_B = is_global_BT.sum(dim=1)
        n_slots = int(count_B.max())
        if n_slots == 0:
            return None
        # A stable sort of "not global" puts the global positions first, in ascending order.
        index_BG = (~is_global_BT).to(torch.uint8).argsort(dim=1, stable=True)[:, :n_slots]
        is_used_BG = torch.arange(n_slots, device=is_global_BT.device) < count_B[:, None]
        return GlobalSlots(index_BG.masked_fill(~is_used_BG, 0), is_used_BG)

    @staticmethod
    def first(n_global: int, is_token_BT: Bool[Tensor, "B T"]) -> "GlobalSlots | None":
        """Slots of the first `n_global` positions (fewer in shorter rows), padding unused; None for none.

        Never looks at the data: shapes are static, nothing waits for the device.
        """
        n_slots = min(n_global, is_token_BT.shape[1])
        if n_slots == 0:
            return None
        is_used_BG = is_token_BT[:, :n_slots]
        position_G = torch.arange(n_slots, device=is_token_BT.device)
        return GlobalSlots(torch.where(is_used_BG, position_G, 0), is_used_BG, are_first=True)

    def without_padding(self, is_token_BT: Tensor) -> "GlobalSlots":
        """The same slots, those at padding unused."""
        is_used_BG = self.is_used_BG & is_token_BT.gather(1, self.index_BG)
        return GlobalSlots(self.index_BG.masked_fill(~is_used_BG, 0), is_used_BG, self.are_first)

    def mask(self, n_tokens: int) -> Tensor:
        """The set as a bool mask [B, T]: the inverse of `find`."""
        shape = (self.index_BG.shape[0], n_tokens)
        count_BT = torch.zeros(shape, dtype=torch.int32, device=self.index_BG.device)
        return count_BT.scatter_add(1, self.index_BG, self.is_used_BG.to(torch.int32)) > 0


class GlobalRows(NamedTuple):
    """Global tokens with projections of their own, as in transformers' Longformer.

    Attributes:
        slots: where the global tokens are.
        q_BHGD: `query_global` at the slots (anything finite or not where a slot is unused).
        k_BHTD: `key_global` of all tokens.
        v_BHTD: `value_global` of all tokens.
    """

    slots: GlobalSlots
    q_BHGD: Tensor
    k_BHTD: Tensor
    v_BHTD: Tensor
