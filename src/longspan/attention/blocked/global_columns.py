"""The global columns of `blocked`: every query against the global keys of its sequence.

The result is merged into that of the window by log-sum-exp. A global key inside the window is counted by the window
and skipped here, so that the window needs no mask.

n sequences  H attention heads  N = n*H  L tokens of a sequence  K queries of a part of it  D width per head
G global slots
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from longspan.attention.block_softmax import UNSEEN, flash_forward, merge_into
from longspan.attention.blocked.layout import BlockedPlan, SequenceGroup
from longspan.attention.blocked.window import Scratch, Vectors, add_gradients, negated_lse_and_delta, scores, weigh


class GlobalColumns(NamedTuple):
    """The global keys of a group of sequences."""

    group: SequenceGroup
    position_nG: Tensor  # in the row; an unused slot has the position of the sequence's first token
    is_used_nG: Tensor
    start_n: Tensor
    dilation: int
    plan: BlockedPlan

    def gather(self, x_nHLD: Tensor) -> Tensor:
        """The vectors at the slots [n, H, G, D]."""
        return x_nHLD.gather(2, self._index(x_nHLD))

    def add_to(self, x_nHLD: Tensor, value_nHGD: Tensor) -> None:
        """Add `value_nHGD` to the vectors at the slots, in place."""
        x_nHLD.scatter_add_(2, self._index(x_nHLD), value_nHGD)

    def _index(self, x_nHLD: Tensor) -> Tensor:
        index_nG = self.position_nG - self.start_n[:, None]
        return index_nG[:, None, :, None].expand(-1, x_nHLD.shape[1], -1, x_nHLD.shape[3])

    def visible(self, queries: slice) -> Tensor | None:
        """Which slots each query sees outside its window, bool [n, 1, K, G]; None if it sees all of them."""
        query_nK1 = (self.start_n[:, None] + torch.arange(queries.start, queries.stop, device=self.start_n.device))[
            ..., None
        ]
        key_n1G = self.position_nG[:, None]
        pattern = self.plan.pattern
        seen_nKG = self.is_used_nG[:, None] & ~pattern.in_window(query_nK1, key_n1G, dilation=self.dilation)
        if pattern.causal:
            seen_nKG = seen_nKG & (key_n1G <= query_nK1)
        if seen_nKG.device.type == "cpu" and bool(seen_nKG.all()):
            return None
        return seen_nKG[:, None]

    def query_parts(self, n_heads: int) -> Iterator[slice]:
        """Ranges of queries whose scores fit into little memory."""
        n_columns = self.group.n * n_heads * self.position_nG.shape[1]
        length = max(64, (2**19 if self.start_n.device.type == "cpu" else 2**26) // n_columns)
        for first in range(0, self.group.length, length):
            yield slice(first, min(first + length, self.group.length))


def columns_of(group: SequenceGroup, dilation: int, plan: BlockedPlan) -> GlobalColumns | None:
    """The global keys of a group; None if it has none.

    Slots are read on the CPU only. On other devices the result is never None where the call has slots.
    """
    if plan.slots is None:
        return None
    device = plan.slots.index_BG.device
    sequence_n = torch.arange(group.n, device=device)
    row_n = group.row + sequence_n * group.row_step
    start_n = group.start + sequence_n * group.start_step
    position_nG, is_used_nG = plan.slots.index_BG[row_n], plan.slots.is_used_BG[row_n]
    is_inside_nG = (position_nG >= start_n[:, None]) & (position_nG < start_n[:, None] + group.length)
    is_used_nG = is_used_nG & is_inside_nG
    if device.type == "cpu":
        is_needed_G = is_used_nG.any(dim=0)
        if not bool(is_needed_G.any()):
            return None
        position_nG, is_used_nG = position_nG[:, is_needed_G], is_used_nG[:, is_needed_G]
    position_nG = torch.where(is_used_nG, position_nG, start_n[:, None])
    return GlobalColumns(group, position_nG, is_used_nG, start_n, dilation, plan)


def forward_columns(x: Vectors, columns: GlobalColumns, by_flash: bool, generator: torch.Generator | None) -> None:
    """Merge the columns into the output and log-sum-exp of the window, in place."""
    group, plan = columns.group, columns.plan
    q_nHLD, out_nHLD, lse_nHL1 = group.view(x.q_BHTD), group.view(x.out_BHTD), group.view(x.lse_BHT1)
    k_nHGD, v_nHGD = columns.gather(group.view(x.k_BHTD)), columns.gather(group.view(x.v_BHTD))
    for queries in columns.query_parts(q_nHLD.shape[1]):
        q_nHKD, out_nHKD, lse_nHK1 = q_nHLD[:, :, queries], out_nHLD[:, :, queries], lse_nHL1[:, :, queries]
        visible = columns.visible(queries)
        if by_flash:
            bias = None
            if visible is not None:
                bias = torch.zeros(visible.shape, dtype=q_nHLD.dtype, device=visible.device)
                bias.masked_fill_(~visible, UNSEEN)
            part_nHKD, part_lse_nHK = flash_forward(q_nHKD, k_nHGD, v_nHGD, bias, plan.scale)
            part_nHKD, part_lse_nHK1 = part_nHKD.to(out_nHKD.dtype), part_lse_nHK[..., None]
        else:
            score_NKG = scores(q_nHKD.flatten(0, 1), k_nHGD.flatten(0, 1), plan.scale, None, Scratch())
            if visible is not None:
                _fill_hidden(score_NKG, visible, UNSEEN)
            part_NKD, part_lse_NK1 = weigh(score_NKG, v_nHGD.flatten(0, 1), plan, generator)
            part_nHKD, part_lse_nHK1 = part_NKD.view(out_nHKD.shape), part_lse_NK1.view(lse_nHK1.shape)
        merge_into(out_nHKD, lse_nHK1, part_nHKD, part_lse_nHK1)


def backward_columns(x: Vectors, columns: GlobalColumns, generator: torch.Generator | None) -> None:
    """Add the gradients of the columns to those of the window, in place."""
    assert x.grad_BHTD is not None
    assert x.grad_q_BHTD is not None and x.grad_k_BHTD is not None and x.grad_v_BHTD is not None
    group, plan = columns.group, columns.plan
    q_nHLD, grad_nHLD, grad_q_nHLD = (group.view(t) for t in (x.q_BHTD, x.grad_BHTD, x.grad_q_BHTD))
    k_nHGD, v_nHGD = columns.gather(group.view(x.k_BHTD)), columns.gather(group.view(x.v_BHTD))
    k_NGD, v_NGD = k_nHGD.flatten(0, 1), v_nHGD.flatten(0, 1)
    minus_lse_NL1, minus_delta_NL1 = negated_lse_and_delta(group, x, slice(0, q_nHLD.shape[1]))
    grad_k_nHGD = torch.zeros_like(k_nHGD, dtype=grad_q_nHLD.dtype)
    grad_v_nHGD = torch.zeros_like(grad_k_nHGD)
    scratch = Scratch()
    for queries in columns.query_parts(q_nHLD.shape[1]):
        q_NKD, grad_NKD = q_nHLD[:, :, queries].flatten(0, 1), grad_nHLD[:, :, queries].flatten(0, 1)
        score_NKG = scores(q_NKD, k_NGD, plan.scale, minus_lse_NL1[:, queries], scratch)
        prob_NKG = torch.exp2(score_NKG, out=score_NKG)
        visible = columns.visible(queries)
        if visible is not None:
            _fill_hidden(prob_NKG, visible, 0.0)
        places = (grad_q_nHLD[:, :, queries], grad_k_nHGD, grad_v_nHGD)
        row = (q_NKD, k_NGD, v_NGD, grad_NKD, minus_delta_NL1[:, queries])
        add_gradients(prob_NKG, *row, places, plan, generator, scratch)
    columns.add_to(group.view(x.grad_k_BHTD), grad_k_nHGD)
    columns.add_to(group.view(x.grad_v_BHTD), grad_v_nHGD)


def _fill_hidden(x_NKG: Tensor, visible_n1KG: Tensor, value: float) -> None:
    """Write `value` where a query does not see a slot, in place."""
    x_NKG.view(visible_n1KG.shape[0], -1, *x_NKG.shape[1:]).masked_fill_(~visible_n1KG, value)
