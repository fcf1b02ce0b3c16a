"""Global tokens: where they are (`GlobalSlots`), and projections of their own (`GlobalRows`, `FoldedGlobalRows`).

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
    """The positions of the global tokens of each row, in G slots; a row with fewer leaves its last slots unused.

    Attributes:
        index_BG: int64 position of each slot, ascending, each once, 0 where unused.
        is_used_BG: bool, whether the slot holds a global token.
        are_first: slot g, where used, is position g in every row, so that slices do and nothing needs gathering.
        of_documents: for each of `Documents.bounds`, its first slot and the one after its last, on the host; None where
            nobody looked (`by_document` does) or there are no documents.
        start_documents: it is known that each document's slots, if it has any, are its first positions.
    """

    index_BG: Tensor
    is_used_BG: Tensor
    are_first: bool = False
    of_documents: tuple[tuple[int, int], ...] | None = None
    start_documents: bool = False

    @staticmethod
    def find(is_global_BT: Bool[Tensor, "B T"], is_token_BT: Bool[Tensor, "B T"] | None = None) -> "GlobalSlots | None":
        """Slots of a dynamic set, as many as the row with most has; None where no row has any.

        Padding, where `is_token_BT` says what is padding, has no slot. The number of slots depends on the data, so that
        this waits for the device once, and is a break in a graph that torch.compile makes. What is exported finds the
        number when it runs, and then has one slot at least; so does what is compiled under
        `torch._dynamo.config.capture_scalar_outputs`.
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
        """`find` in operations that a graph may hold whatever the number of slots turns out to be."""
        is_global_BT = is_global_BT if is_token_BT is None else is_global_BT & is_token_BT
        count_B = is_global_BT.sum(dim=1)
        # Not int(...), which would need the number while tracing.
        n_slots = cast(int, count_B.max().clamp(min=1).item())
        torch._check(n_slots >= 1)
        torch._check(n_slots <= is_global_BT.shape[1])
        nth_G = torch.arange(n_slots, device=is_global_BT.device) + 1
        # The first position by which so many global tokens have come.
        index_BG = (is_global_BT.cumsum(dim=1)[:, None] >= nth_G[:, None]).to(torch.uint8).argmax(dim=2)
        is_used_BG = nth_G <= count_B[:, None]
        return GlobalSlots(index_BG.masked_fill(~is_used_BG, 0), is_used_BG)

    @staticmethod
    def first_of_documents(n_global: int, documents: Documents) -> "GlobalSlots | None":
        """Slots of the first `n_global` positions of each document (fewer in shorter ones); None for none.

        Made from the bounds on the host: nothing waits for the device.
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
        """Slots of the first `n_global` positions (fewer in shorter rows), padding unused; None for none.

        Never looks at the data: shapes are static, nothing waits for the device.
        """
        if n_global == 0:
            return None
        if torch.compiler.is_exporting():
            # One graph for all lengths, so that they begin where all slots have room.
            torch._check(is_token_BT.shape[1] > n_global)
            n_slots = n_global
        else:
            n_slots = min(n_global, is_token_BT.shape[1])
        is_used_BG = is_token_BT[:, :n_slots]
        position_G = torch.arange(n_slots, device=is_token_BT.device)
        return GlobalSlots(torch.where(is_used_BG, position_G, 0), is_used_BG, are_first=True)

    @staticmethod
    def first_tokens(n_global: int, is_token_BT: Bool[Tensor, "B T"]) -> "GlobalSlots | None":
        """Slots of each row's first real token and the positions after it, `n_global` in all; None for none.

        As `first`, wherever the padding is; what is padding, or past the end, is unused.
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

    def without_padding(self, is_token_BT: Tensor) -> "GlobalSlots":
        """The same slots, those at padding unused."""
        is_used_BG = self.is_used_BG & is_token_BT.gather(1, self.index_BG)
        return self._replace(index_BG=self.index_BG.masked_fill(~is_used_BG, 0), is_used_BG=is_used_BG)

    def by_document(self, documents: Documents) -> "GlobalSlots":
        """The same slots, knowing which of them are whose (`of_documents`). Waits for the device once."""
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
        """The set as a bool mask [B, T]: the inverse of `find`."""
        return self.count_at(n_tokens) > 0

    def count_at(self, n_tokens: int) -> Tensor:
        """How many slots hold each position, int32 [B, T]: 1 at most, unless somebody made them by hand."""
        shape = (self.index_BG.shape[0], n_tokens)
        count_BT = torch.zeros(shape, dtype=torch.int32, device=self.index_BG.device)
        return count_BT.scatter_add(1, self.index_BG, self.is_used_BG.to(torch.int32))


@torch.compiler.disable(reason="the number of global tokens depends on the data")
def _find_apart(is_global_BT: Tensor, is_token_BT: Tensor | None) -> GlobalSlots | None:
    """Between two graphs, in one piece: a break in the midst of `find` would be one in each of its callers too."""
    return GlobalSlots._find(is_global_BT, is_token_BT)


def zero_at_padding(x: Tensor, is_token_BT: Tensor) -> Tensor:
    """`x` [B, T, C] or [B, H, T, D] with zeros at padding, so that NaN there is nobody's: 0 x NaN would be NaN."""
    is_padding = ~is_token_BT[:, :, None]
    return x.masked_fill(is_padding if x.dim() == 3 else is_padding[:, None], 0)


def rows_at(x_BTC: Tensor, index_BG: Tensor) -> Tensor:
    """The vectors at some positions of each row, [B, G, C]."""
    # take_along_dim says the same, but a traced graph with it holds for one shape only.
    return x_BTC.gather(1, index_BG[:, :, None].expand(-1, -1, x_BTC.shape[2]))


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

    def unfold(self) -> "GlobalRows":
        """Itself: nothing is folded."""
        return self

    def without_padding(self, is_token_BT: Tensor | None) -> "GlobalRows":
        """The same, with zeros at padding."""
        if is_token_BT is None:
            return self
        k_BHTD, v_BHTD = (zero_at_padding(x, is_token_BT) for x in (self.k_BHTD, self.v_BHTD))
        return self._replace(k_BHTD=k_BHTD, v_BHTD=v_BHTD)


class FoldedGlobalRows(NamedTuple):
    """The same, without `key_global` and `value_global` of all tokens: for few global tokens, a fraction of the work.

    The score of a global row is q . (W_k h + b_k) for each token's vector h. It is computed as (q W_k) . h; q . b_k is
    the same for every token, so that softmax does not see it. The row's values p_1 (W_v h_1 + b_v) + p_2 ... are
    computed as W_v (p_1 h_1 + p_2 h_2 ...) + (p_1 + p_2 ...) b_v. Each way costs about 4 H G T C operations where the
    projections of all tokens cost 4 T C E.

    Attributes:
        slots: where the global tokens are.
        q_BHGD: `query_global` at the slots (anything finite or not where a slot is unused).
        hidden_BTC: what `key_global` and `value_global` would project, of q's dtype like all that follows.
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

    def without_padding(self, is_token_BT: Tensor | None) -> "FoldedGlobalRows":
        """The same, with zeros at padding."""
        if is_token_BT is None:
            return self
        return self._replace(hidden_BTC=zero_at_padding(self.hidden_BTC, is_token_BT))

    def unfold(self) -> GlobalRows:
        """Keys and values of all tokens, projected after all."""
        heads = (self.q_BHGD.shape[1], self.q_BHGD.shape[3])
        k_BTE = F.linear(self.hidden_BTC, self.key_weight_EC)
        v_BTE = F.linear(self.hidden_BTC, self.value_weight_EC, self.value_bias_E)
        k_BHTD, v_BHTD = (x.unflatten(-1, heads).transpose(1, 2) for x in (k_BTE, v_BTE))
        return GlobalRows(self.slots, self.q_BHGD, k_BHTD, v_BHTD)
