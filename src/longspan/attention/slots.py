"""Global tokens: their positions (`GlobalSlots`) and separate projections (`GlobalRows`, `FoldedGlobalRows`).

B batch rows  T tokens  H attention heads  D width per head  G global slots  C model width  E = H*D
"""

from bisect import bisect_left
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor

from longspan.attention.documents import Documents


class GlobalSlots(NamedTuple):
    """The positions of the global tokens of each row, in G slots; a row with fewer tokens has unused slots at its end.

    Attributes:
        index_BG: int64, position of each slot, ascending without repetition; 0 if unused.
        is_used_BG: bool, whether the slot holds a global token.
        are_first: whether every used slot g is position g of its row, so that a slice replaces a gather.
        of_documents: (first slot, slot after the last) of each of `Documents.bounds`, on the host; None if not computed
            (`by_document` computes it) or without documents.
        start_documents: whether the slots of each document are known to be its first positions.
    """

    index_BG: Tensor
    is_used_BG: Tensor
    are_first: bool = False
    of_documents: tuple[tuple[int, int], ...] | None = None
    start_documents: bool = False

    @staticmethod
    def find(is_global_BT: Bool[Tensor, "B T"], is_token_BT: Bool[Tensor, "B T"] | None = None) -> "GlobalSlots | None":
        """The slots of a dynamic set of global tokens; None if no row has one.

        G is the largest number of global tokens in a row. It depends on the data, so that this waits for the device
        once, and breaks the graph of torch.compile. An exported graph computes G when it runs, at least 1; so does a
        graph compiled with `torch._dynamo.config.capture_scalar_outputs`.

        Args:
            is_global_BT: bool [B, T], the global tokens.
            is_token_BT: bool [B, T], False at padding, which gets no slot; None if there is no padding.
        """
        if torch.compiler.is_exporting():
            return GlobalSlots._find_traced(is_global_BT, is_token_BT)
        if torch.compiler.is_compiling():
            if torch._dynamo.config.capture_scalar_outputs:
                return GlobalSlots._find_traced(is_global_BT, is_token_BT)
            return _find_apart(is_global_BT, is_token_BT)
        return GlobalSlots._find(is_global_BT, is_token_BT)

    @staticmethod
    def _find(is_global_BT: Tensor, is_token_BT: Tensor | None) -> "GlobalSlots | None":
        is_global_BT = is_global_BT if is_token_BT is None else is_global_BT & is_token_BT
        count_B = is_global_BT.sum(dim=1)
        n_slots = int(count_B.max())
        if n_slots == 0:
            return None
        # A stable sort of "not global" puts the global positions first, in ascending order.
        index_BG = (~is_global_BT).to(torch.uint8).argsort(dim=1, stable=True)[:, :n_slots]
        is_used_BG = torch.arange(n_slots, device=is_global_BT.device) < count_B[:, None]
        return GlobalSlots(index_BG.masked_fill(~is_used_BG, 0), is_used_BG)

    @staticmethod
    def _find_traced(is_global_BT: Tensor, is_token_BT: Tensor | None) -> "GlobalSlots":
        """`find` by operations that a traced graph can hold for any number of slots."""
        is_global_BT = is_global_BT if is_token_BT is None else is_global_BT & is_token_BT
        count_B = is_global_BT.sum(dim=1)
        # Not int(...), which would need the number while tracing.
        n_slots = cast(int, count_B.max().clamp(min=1).item())
        torch._check(n_slots >= 1)
        torch._check(n_slots <= is_global_BT.shape[1])
        nth_G = torch.arange(n_slots, device=is_global_BT.device) + 1
        # The position of the n-th global token: the first one with n global tokens up to it.
        index_BG = (is_global_BT.cumsum(dim=1)[:, None] >= nth_G[:, None]).to(torch.uint8).argmax(dim=2)
        is_used_BG = nth_G <= count_B[:, None]
        return GlobalSlots(index_BG.masked_fill(~is_used_BG, 0), is_used_BG)

    @staticmethod
    def first_of_documents(n_global: int, documents: Documents) -> "GlobalSlots | None":
        """The slots of the first `n_global` positions of each document; None if there are none.

        They are made from the bounds on the host, without waiting for the device. Shorter documents have fewer slots.
        """
        n_rows = documents.id_BT.shape[0]
        index_of_rows: list[list[int]] = [[] for _ in range(n_rows)]
        of_documents = []
        for row, start, stop in documents.bounds:
            first = len(index_of_rows[row])
            index_of_rows[row] += range(start, min(start + n_global, stop))
            of_documents.append((first, len(index_of_rows[row])))
        n_slots = max(map(len, index_of_rows), default=0)
        if n_slots == 0:
            return None
        index_BG = torch.tensor([[*index, *[-1] * (n_slots - len(index))] for index in index_of_rows])
        index_BG = index_BG.to(documents.id_BT.device, non_blocking=True)
        return GlobalSlots(index_BG.clamp(min=0), index_BG >= 0, of_documents=tuple(of_documents), start_documents=True)

    @staticmethod
    def first(n_global: int, is_token_BT: Bool[Tensor, "B T"]) -> "GlobalSlots | None":
        """The slots of the first `n_global` positions of each row; None if `n_global` is 0.

        Slots at padding are unused. Shapes are static, and it never waits for the device.
        """
        if n_global == 0:
            return None
        if torch.compiler.is_exporting():
            # One graph for all lengths, from the shortest one with room for all slots.
            torch._check(is_token_BT.shape[1] > n_global)
            n_slots = n_global
        else:
            n_slots = min(n_global, is_token_BT.shape[1])
        is_used_BG = is_token_BT[:, :n_slots]
        position_G = torch.arange(n_slots, device=is_token_BT.device)
        return GlobalSlots(torch.where(is_used_BG, position_G, 0), is_used_BG, are_first=True)

    @staticmethod
    def first_tokens(n_global: int, is_token_BT: Bool[Tensor, "B T"]) -> "GlobalSlots | None":
        """The slots of `n_global` positions from each row's first token on; None if `n_global` is 0.

        This is `first` for padding on any side. Slots at padding, or after the end of the row, are unused.
        """
        slots = GlobalSlots.first(n_global, is_token_BT)
        if slots is None:
            return None
        n_tokens, n_slots = is_token_BT.shape[1], slots.index_BG.shape[1]
        first_B1 = is_token_BT.to(torch.uint8).argmax(dim=1, keepdim=True)
        index_BG = first_B1 + torch.arange(n_slots, device=is_token_BT.device)
        is_inside_BG = index_BG < n_tokens
        index_BG = index_BG.clamp(max=n_tokens - 1)
        is_used_BG = is_inside_BG & is_token_BT.gather(1, index_BG)
        return GlobalSlots(torch.where(is_used_BG, index_BG, 0), is_used_BG)

    def mark_padding_unused(self, is_token_BT: Tensor) -> "GlobalSlots":
        """These slots, with those at padding marked as unused."""
        is_used_BG = self.is_used_BG & is_token_BT.gather(1, self.index_BG)
        return self._replace(index_BG=self.index_BG.masked_fill(~is_used_BG, 0), is_used_BG=is_used_BG)

    def by_document(self, documents: Documents) -> "GlobalSlots":
        """These slots with `of_documents` and `start_documents` computed; waits for the device once."""
        index_of_rows, is_used_of_rows = torch.stack([self.index_BG, self.is_used_BG.to(torch.int64)]).tolist()
        used_of_rows = [
            [(position, slot) for slot, position in enumerate(index) if is_used[slot]]
            for index, is_used in zip(index_of_rows, is_used_of_rows, strict=True)
        ]
        of_documents = []
        start_documents = True
        for row, start, stop in documents.bounds:
            used = used_of_rows[row]
            first, last = bisect_left(used, (start, 0)), bisect_left(used, (stop, 0)) - 1
            of_documents.append((used[first][1], used[last][1] + 1) if first <= last else (0, 0))
            start_documents &= first > last or used[last][0] == start + last - first
        return self._replace(of_documents=tuple(of_documents), start_documents=start_documents)

    def mask(self, n_tokens: int) -> Tensor:
        """The global tokens as a bool mask [B, T]: the inverse of `find`."""
        return self.count_at(n_tokens) > 0

    def count_at(self, n_tokens: int) -> Tensor:
        """The number of slots at each position, int32 [B, T]: at most 1, except in slots made by hand."""
        shape = (self.index_BG.shape[0], n_tokens)
        count_BT = torch.zeros(shape, dtype=torch.int32, device=self.index_BG.device)
        return count_BT.scatter_add(1, self.index_BG, self.is_used_BG.to(torch.int32))


@torch.compiler.disable(reason="the number of global tokens depends on the data")
def _find_apart(is_global_BT: Tensor, is_token_BT: Tensor | None) -> GlobalSlots | None:
    """`find` as one piece outside the compiled graph; a break inside `find` would break each of its callers too."""
    return GlobalSlots._find(is_global_BT, is_token_BT)


def zero_at_padding(x: Tensor, is_token_BT: Tensor) -> Tensor:
    """`x` [B, T, C] or [B, H, T, D] with zeros at padding, where NaN would survive a product with 0."""
    is_padding = ~is_token_BT[:, :, None]
    return x.masked_fill(is_padding if x.dim() == 3 else is_padding[:, None], 0)


def gather_rows(x_BTC: Tensor, index_BG: Tensor) -> Tensor:
    """The vectors at the positions `index_BG` of each row, [B, G, C]."""
    # take_along_dim does the same, but fixes all sizes of a traced graph.
    return x_BTC.gather(1, index_BG[:, :, None].expand(-1, -1, x_BTC.shape[2]))


class GlobalRows(NamedTuple):
    """Separate projections for the rows of global tokens, as in transformers' Longformer.

    Attributes:
        slots: positions of the global tokens.
        q_BHGD: `query_global` at the slots; values at unused slots are ignored, also NaN.
        k_BHTD: `key_global` of all tokens.
        v_BHTD: `value_global` of all tokens.
    """

    slots: GlobalSlots
    q_BHGD: Tensor
    k_BHTD: Tensor
    v_BHTD: Tensor

    def unfold(self) -> "GlobalRows":
        """These rows themselves: their keys and values are projected already."""
        return self

    def zero_padding(self, is_token_BT: Tensor | None) -> "GlobalRows":
        """These rows with zeros at padding."""
        if is_token_BT is None:
            return self
        k_BHTD, v_BHTD = (zero_at_padding(x, is_token_BT) for x in (self.k_BHTD, self.v_BHTD))
        return self._replace(k_BHTD=k_BHTD, v_BHTD=v_BHTD)


class FoldedGlobalRows(NamedTuple):
    """`GlobalRows` whose key and value projections are folded into the products: less work for few global tokens.

    The score of a global row is q . (W_k h + b_k) for each token's vector h. It is computed as (q W_k) . h, because
    q . b_k is the same for every token and cancels in the softmax. The output sum_t p_t (W_v h_t + b_v) is computed as
    W_v (sum_t p_t h_t) + (sum_t p_t) b_v. Both together cost about 4 H G T C operations; projecting all tokens costs
    4 T C E.

    Attributes:
        slots: positions of the global tokens.
        q_BHGD: `query_global` at the slots; values at unused slots are ignored, also NaN.
        hidden_BTC: input of `key_global` and `value_global`; it and the weights have q's dtype.
        key_weight_EC: the weight of `key_global`.
        value_weight_EC: the weight of `value_global`.
        value_bias_E: the bias of `value_global`.
    """

    slots: GlobalSlots
    q_BHGD: Tensor
    hidden_BTC: Tensor
    key_weight_EC: Tensor
    value_weight_EC: Tensor
    value_bias_E: Tensor

    def zero_padding(self, is_token_BT: Tensor | None) -> "FoldedGlobalRows":
        """These rows with zeros at padding."""
        if is_token_BT is None:
            return self
        return self._replace(hidden_BTC=zero_at_padding(self.hidden_BTC, is_token_BT))

    def unfold(self) -> GlobalRows:
        """The equal `GlobalRows`: keys and values of all tokens, projected."""
        heads = (self.q_BHGD.shape[1], self.q_BHGD.shape[3])
        k_BTE = F.linear(self.hidden_BTC, self.key_weight_EC)
        v_BTE = F.linear(self.hidden_BTC, self.value_weight_EC, self.value_bias_E)
        k_BHTD, v_BHTD = (x.unflatten(-1, heads).transpose(1, 2) for x in (k_BTE, v_BTE))
        return GlobalRows(self.slots, self.q_BHGD, k_BHTD, v_BHTD)
