"""The rows of global tokens: dense [G x T] attention, computed only if there are global tokens.

With documents, each slot attends to the tokens of its document only, so that no mask over all tokens of a packed row is
needed. While a compiler traces, shapes may not depend on the data, and a mask is used.

B batch rows  T tokens  H attention heads  D width per head  G global slots  C model width  E = H*D
N = B*T tokens of all rows  S = B*G slots of all rows  g slots and t tokens of one document
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from longspan.attention.documents import Documents
from longspan.attention.inputs import AttentionInputs
from longspan.attention.slots import FoldedGlobalRows, GlobalRows, GlobalSlots


def gather_slots(x_BHTD: Tensor, slots: GlobalSlots) -> Tensor:
    """The vectors at the slots, [B, H, G, D]; a view if the slots are the first positions."""
    if slots.are_first:
        return x_BHTD[:, :, : slots.index_BG.shape[1]]
    index_BHGD = slots.index_BG[:, None, :, None].expand(-1, x_BHTD.shape[1], -1, x_BHTD.shape[3])
    return x_BHTD.gather(2, index_BHGD)


def visible_from_slots(inputs: AttentionInputs, slots: GlobalSlots) -> Tensor | None:
    """Which keys each slot sees, bool, broadcasting to [B, 1, G, T]; None if every slot sees every key.

    Unused slots see everything: their rows are discarded, and a softmax over nothing would put NaN into gradients.
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
    """`out_BHTD` with the rows of the global tokens replaced by their own attention."""
    row_BHGD = attend_from_slots(inputs, slots)
    used_B1G1 = slots.is_used_BG[:, None, :, None]
    if slots.are_first:
        n_slots = slots.index_BG.shape[1]
        first_BHGD = torch.where(used_B1G1, row_BHGD, out_BHTD[:, :, :n_slots])
        return out_BHTD.slice_scatter(first_BHGD, dim=2, end=n_slots)
    if torch.compiler.is_compiling():
        # Unused slots point at position 0. Adding zeros there changes nothing, but overwriting would.
        index_BHGD = slots.index_BG[:, None, :, None].expand_as(row_BHGD)
        out_BHTD = out_BHTD.masked_fill(slots.mask(out_BHTD.shape[2])[:, None, :, None], 0)
        return out_BHTD.scatter_add(2, index_BHGD, row_BHGD.masked_fill(~used_B1G1, 0))
    if out_BHTD.requires_grad or row_BHGD.requires_grad:
        return _WriteGlobalRows.apply(out_BHTD, row_BHGD, slots.index_BG, slots.is_used_BG)  # pyright: ignore[reportReturnType]
    return _overwrite(out_BHTD, row_BHGD, slots.index_BG, slots.is_used_BG)


def _overwrite(out_BHTD: Tensor, row_BHGD: Tensor, index_BG: Tensor, is_used_BG: Tensor) -> Tensor:
    """Write the rows at their positions, in place: copying all tokens for a few rows would be most of the work."""
    if is_used_BG.device.type != "cpu" or not bool(is_used_BG.all()):
        # Unused slots repeat the first used write of their row, or write back position 0 if no slot is used.
        first_B1 = is_used_BG.to(torch.uint8).argmax(dim=1, keepdim=True)
        index_BG = torch.where(is_used_BG, index_BG, index_BG.gather(1, first_B1))
        first_BH1D = row_BHGD.take_along_dim(first_B1[:, None, :, None], dim=2)
        there_BH1D = torch.where(is_used_BG.any(dim=1)[:, None, None, None], first_BH1D, out_BHTD[:, :, :1])
        row_BHGD = torch.where(is_used_BG[:, None, :, None], row_BHGD, there_BH1D)
    return out_BHTD.scatter_(2, index_BG[:, None, :, None].expand_as(row_BHGD), row_BHGD)


class _WriteGlobalRows(torch.autograd.Function):
    """`_overwrite` of a copy, with gradients for the written rows and for the rest."""

    @staticmethod
    def forward(ctx: Any, out_BHTD: Tensor, row_BHGD: Tensor, index_BG: Tensor, is_used_BG: Tensor) -> Tensor:
        ctx.save_for_backward(index_BG, is_used_BG)
        return _overwrite(out_BHTD.clone(), row_BHGD, index_BG, is_used_BG)

    @staticmethod
    def backward(ctx: Any, grad_BHTD: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        slots = GlobalSlots(*ctx.saved_tensors)
        of_rows_BHGD = gather_slots(grad_BHTD, slots).masked_fill(~slots.is_used_BG[:, None, :, None], 0)
        return _overwrite(grad_BHTD.clone(), torch.zeros_like(of_rows_BHGD), *slots[:2]), of_rows_BHGD, None, None


def attend_from_slots(inputs: AttentionInputs, slots: GlobalSlots) -> Tensor:
    """The attention of the slots over the keys that they see, [B, H, G, D]; unused slots have any finite values."""
    rows = inputs.global_rows
    if rows is None:
        rows = GlobalRows(slots, gather_slots(inputs.q_BHTD, slots), inputs.k_BHTD, inputs.v_BHTD)
    rows = rows.zero_padding(inputs.is_token_BT)
    # The values in an unused slot, also NaN, may reach no gradient.
    q_BHGD = rows.q_BHGD.masked_fill(~slots.is_used_BG[:, None, :, None], 0)
    if isinstance(rows, FoldedGlobalRows):
        return _attend_folded(q_BHGD, rows, inputs, slots)
    if inputs.documents is None or torch.compiler.is_compiling():
        return F.scaled_dot_product_attention(
            q_BHGD,
            rows.k_BHTD,
            rows.v_BHTD,
            attn_mask=visible_from_slots(inputs, slots),
            dropout_p=inputs.dropout_p,
            scale=inputs.scale,
        )
    pairs = _DocumentSlots.of(inputs, slots, inputs.documents)
    if not pairs.of_slots:
        return torch.zeros_like(q_BHGD)
    q_gHD = pairs.split_slots(q_BHGD.transpose(1, 2))
    k_tHD, v_tHD = (pairs.split_tokens(x.transpose(1, 2)) for x in (rows.k_BHTD, rows.v_BHTD))
    row_gHD = [
        F.scaled_dot_product_attention(
            *(x.transpose(0, 1)[None] for x in (q, k, v)),
            attn_mask=visible,
            dropout_p=inputs.dropout_p,
            scale=inputs.scale,
        )[0].transpose(0, 1)
        for q, k, v, visible in zip(q_gHD, k_tHD, v_tHD, pairs.visible(), strict=True)
    ]
    return pairs.join_slots(row_gHD).transpose(1, 2)


def _attend_folded(q_BHGD: Tensor, rows: FoldedGlobalRows, inputs: AttentionInputs, slots: GlobalSlots) -> Tensor:
    """The attention of the slots by folded projections (`FoldedGlobalRows`), [B, H, G, D]."""
    H, D = q_BHGD.shape[1], q_BHGD.shape[3]
    key_HDC, value_HDC = (x.unflatten(0, (H, D)) for x in (rows.key_weight_EC, rows.value_weight_EC))
    # On a CPU scores stay in float32 until the softmax. On a GPU float32 products would be noticeably slower: there
    # products of half precision are summed in float32 and rounded once.
    dtype = q_BHGD.dtype
    if q_BHGD.device.type == "cpu":
        dtype = torch.promote_types(dtype, torch.float32)
    query_BHGC = torch.einsum("bhgd,hdc->bhgc", q_BHGD.to(dtype) * inputs.scale, key_HDC.to(dtype))
    if inputs.documents is None or torch.compiler.is_compiling():
        visible = visible_from_slots(inputs, slots)
        mean_BHGC, sum_BHG1 = _weigh(query_BHGC, rows.hidden_BTC, visible, inputs.dropout_p)
    else:
        pairs = _DocumentSlots.of(inputs, slots, inputs.documents)
        if not pairs.of_slots:
            return torch.zeros_like(q_BHGD)
        query_gHC, hidden_tC = pairs.split_slots(query_BHGC.transpose(1, 2)), pairs.split_tokens(rows.hidden_BTC)
        parts = [
            _weigh(query.transpose(0, 1)[None], hidden[None], visible, inputs.dropout_p)
            for query, hidden, visible in zip(query_gHC, hidden_tC, pairs.visible(), strict=True)
        ]
        mean_BHGC, sum_BHG1 = (
            pairs.join_slots([x[0].transpose(0, 1) for x in xs]).transpose(1, 2) for xs in zip(*parts, strict=True)
        )
    row_BHGD = torch.einsum("bhgc,hdc->bhgd", mean_BHGC, value_HDC)
    return row_BHGD + sum_BHG1 * rows.value_bias_E.view(H, 1, D)


def _weigh(query_BHGC: Tensor, hidden_BTC: Tensor, visible: Tensor | None, dropout_p: float) -> tuple[Tensor, Tensor]:
    """The weighted mean of the vectors for each head and slot, [B, H, G, C], and the sum of its weights, [B, H, G, 1].

    The sum is 1 without dropout.
    """
    heads_and_slots = query_BHGC.shape[1:3]
    score_BHGT = (query_BHGC.flatten(1, 2) @ hidden_BTC.to(query_BHGC.dtype).mT).unflatten(1, heads_and_slots)
    score_BHGT = score_BHGT.to(torch.promote_types(score_BHGT.dtype, torch.float32))
    if visible is not None:
        score_BHGT = score_BHGT.masked_fill(~visible, -torch.inf)
    prob_BHGT = F.dropout(score_BHGT.softmax(dim=-1), dropout_p)
    prob_BHGT = prob_BHGT.to(hidden_BTC.dtype)
    mean_BHGC = (prob_BHGT.flatten(1, 2) @ hidden_BTC).unflatten(1, heads_and_slots)
    return mean_BHGC, prob_BHGT.sum(dim=-1, keepdim=True)


def _split(x: Tensor, ranges: Sequence[tuple[int, int]]) -> Iterator[Tensor]:
    """`x[start:stop]` of each of the ascending ranges, from one split."""
    sizes, is_range, end = [], [], 0
    for start, stop in [*ranges, (x.shape[0], x.shape[0])]:
        sizes += [start - end, stop - start]
        is_range += [False, True]
        end = stop
    return (part for part, is_wanted in zip(x.split(sizes), is_range[:-1], strict=False) if is_wanted)


class _DocumentSlots(NamedTuple):
    """The slots and tokens of each document that has a slot.

    Rows are concatenated, so that a document is a range of one axis. The ranges come from one split, because the
    gradient of each slice would be as large as the whole tensor.
    """

    inputs: AttentionInputs
    slots: GlobalSlots
    of_slots: tuple[tuple[int, int], ...]  # (start, stop) among the S slots
    of_tokens: tuple[tuple[int, int], ...]  # (start, stop) among the N tokens

    @staticmethod
    def of(inputs: AttentionInputs, slots: GlobalSlots, documents: Documents) -> "_DocumentSlots":
        if slots.of_documents is None:
            slots = slots.by_document(documents)
        assert slots.of_documents is not None
        G, T = slots.index_BG.shape[1], documents.id_BT.shape[1]
        pairs = [
            ((row * G + first, row * G + last), (row * T + start, row * T + stop))
            for (row, start, stop), (first, last) in zip(documents.bounds, slots.of_documents, strict=True)
            if first < last
        ]
        return _DocumentSlots(inputs, slots, tuple(slot for slot, _ in pairs), tuple(token for _, token in pairs))

    def split_slots(self, x_BG: Tensor) -> list[Tensor]:
        """The ranges of `x_BG` [B, G, ...] that belong to documents."""
        return list(_split(x_BG.flatten(0, 1), self.of_slots))

    def split_tokens(self, x_BT: Tensor) -> list[Tensor]:
        """The ranges of `x_BT` [B, T, ...] that are documents."""
        return list(_split(x_BT.flatten(0, 1), self.of_tokens))

    def join_slots(self, pieces: Sequence[Tensor]) -> Tensor:
        """The inverse of `split_slots`; zero at slots outside documents."""
        B, G = self.slots.index_BG.shape
        rest = pieces[0].shape[1:]
        parts, end = [], 0
        for piece, (first, last) in zip(pieces, self.of_slots, strict=True):
            parts += [piece.new_zeros(first - end, *rest), piece] if first > end else [piece]
            end = last
        if end < B * G:
            parts.append(pieces[0].new_zeros(B * G - end, *rest))
        return torch.cat(parts).unflatten(0, (B, G))

    def visible(self) -> list[Tensor | None]:
        """Which tokens of its document each slot sees, [g, t] per document; None if it sees all of them."""
        if self.inputs.is_token_BT is None and not self.inputs.pattern.causal:
            return [None] * len(self.of_slots)
        T = self.inputs.q_BHTD.shape[2]
        position_T = torch.arange(T, device=self.slots.index_BG.device)
        is_token_BT = self.inputs.is_token_BT
        visible: list[Tensor | None] = []
        for (first, last), (start, stop) in zip(self.of_slots, self.of_tokens, strict=True):
            row = start // T
            tokens = slice(start - row * T, stop - row * T)
            index_g1 = self.slots.index_BG.flatten()[first:last, None]
            visible_gt = self.inputs.pattern.visible(index_g1, position_T[tokens], query_is_global=True)
            if is_token_BT is not None:
                visible_gt = visible_gt & is_token_BT[row, tokens]
            # Unused slots see everything, as in `visible_from_slots`.
            visible.append(visible_gt | ~self.slots.is_used_BG.flatten()[first:last, None])
        return visible
