"""The global columns' part of `blocked`: every query against the keys of its sequence's global tokens.

Merged into the window's part by log-sum-exp. A global key that the window reaches already counts there, and is left out
here: so the window needs no mask.

n sequences  H attention heads  N = n*H  L tokens of a sequence  K queries of a piece of it  D width per head
G global slots
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from longspan.attention.block_softmax import UNSEEN, flash_forward
from longspan.attention.blocked.layout import Plan, Strands
from longspan.attention.blocked.window import Scratch, Vectors, add_gradients, of_rows, scores, weigh


class Columns(NamedTuple):
    """The global keys of some sequences."""

    strands: Strands
    position_nG: Tensor  # in the row; of an unused slot, that of the sequence's first token
    is_used_nG: Tensor
    start_n: Tensor
    dilation: int
    plan: Plan

    def of(self, x_nHLD: Tensor) -> Tensor:
        """The vectors at the slots [n, H, G, D]."""
        return x_nHLD.gather(2, self._index(x_nHLD))

    def add_to(self, x_nHLD: Tensor, value_nHGD: Tensor) -> None:
        """Add to the vectors at the slots."""
        x_nHLD.scatter_add_(2, self._index(x_nHLD), value_nHGD)

    def _index(self, x_nHLD: Tensor) -> Tensor:
        index_nG = self.position_nG - self.start_n[:, None]
        return index_nG[:, None, :, None].expand(-1, x_nHLD.shape[1], -1, x_nHLD.shape[3])

    def seen(self, queries: slice) -> Tensor | None:
        """Which slots each query sees here, bool [n, 1, K, G]; None where all."""
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

    def pieces(self, n_heads: int) -> Iterator[slice]:
        """Queries whose scores take little memory."""
        n_columns = self.strands.n * n_heads * self.position_nG.shape[1]
        length = max(64, (2**19 if self.start_n.device.type == "cpu" else 2**26) // n_columns)
        for first in range(0, self.strands.length, length):
            yield slice(first, min(first + length, self.strands.length))


def columns_of(strands: Strands, dilation: int, plan: Plan) -> Columns | None:
    """The global keys of `strands`; None where it is known that there are none. Looks at the slots on the CPU only."""
    if plan.slots is None:
        return None
    device = plan.slots.index_BG.device
    sequence_n = torch.arange(strands.n, device=device)
    row_n = strands.row + sequence_n * strands.row_step
    start_n = strands.start + sequence_n * strands.start_step
    position_nG, is_used_nG = plan.slots.index_BG[row_n], plan.slots.is_used_BG[row_n]
    is_inside_nG = (position_nG >= start_n[:, None]) & (position_nG < start_n[:, None] + strands.length)
    is_used_nG = is_used_nG & is_inside_nG
    if device.type == "cpu":
        is_needed_G = is_used_nG.any(dim=0)
        if not bool(is_needed_G.any()):
            return None
        position_nG, is_used_nG = position_nG[:, is_needed_G], is_used_nG[:, is_needed_G]
    position_nG = torch.where(is_used_nG, position_nG, start_n[:, None])
    return Columns(strands, position_nG, is_used_nG, start_n, dilation, plan)


def forward_columns(x: Vectors, columns: Columns, by_flash: bool, generator: torch.Generator | None) -> None:
    """Merge the columns into the output and log-sum-exp of the window."""
    strands, plan = columns.strands, columns.plan
    q_nHLD, out_nHLD, lse_nHL1 = strands.view(x.q_BHTD), strands.view(x.out_BHTD), strands.view(x.lse_BHT1)
    k_nHGD, v_nHGD = columns.of(strands.view(x.k_BHTD)), columns.of(strands.view(x.v_BHTD))
    for queries in columns.pieces(q_nHLD.shape[1]):
        q_nHKD, out_nHKD, lse_nHK1 = q_nHLD[:, :, queries], out_nHLD[:, :, queries], lse_nHL1[:, :, queries]
        seen = columns.seen(queries)
        if by_flash:
            bias = None
            if seen is not None:
                bias = torch.zeros(seen.shape, dtype=q_nHLD.dtype, device=seen.device).masked_fill_(~seen, UNSEEN)
            part_nHKD, part_lse_nHK = flash_forward(q_nHKD, k_nHGD, v_nHGD, bias, plan.scale)
            part_lse_nHK1 = part_lse_nHK[..., None]
        else:
            score_NKG = scores(q_nHKD.flatten(0, 1), k_nHGD.flatten(0, 1), plan.scale, None, Scratch())
            if seen is not None:
                _fill(score_NKG, seen, UNSEEN)
            part_NKD, part_lse_NK1 = weigh(score_NKG, v_nHGD.flatten(0, 1), plan, generator)
            part_nHKD, part_lse_nHK1 = part_NKD.view(out_nHKD.shape), part_lse_NK1.view(lse_nHK1.shape)
        out_nHKD.lerp_(part_nHKD, torch.sigmoid(part_lse_nHK1 - lse_nHK1))
        torch.logaddexp(lse_nHK1, part_lse_nHK1, out=lse_nHK1)


def backward_columns(x: Vectors, columns: Columns, generator: torch.Generator | None) -> None:
    """Add the columns' gradients to those of the window."""
    assert x.grad_BHTD is not None
    assert x.grad_q_BHTD is not None and x.grad_k_BHTD is not None and x.grad_v_BHTD is not None
    strands, plan = columns.strands, columns.plan
    q_nHLD, grad_nHLD, grad_q_nHLD = (strands.view(t) for t in (x.q_BHTD, x.grad_BHTD, x.grad_q_BHTD))
    k_nHGD, v_nHGD = columns.of(strands.view(x.k_BHTD)), columns.of(strands.view(x.v_BHTD))
    k_NGD, v_NGD = k_nHGD.flatten(0, 1), v_nHGD.flatten(0, 1)
    minus_lse_NL1, minus_delta_NL1 = of_rows(strands, x, slice(0, q_nHLD.shape[1]))
    grad_k_nHGD = torch.zeros_like(k_nHGD, dtype=grad_q_nHLD.dtype)
    grad_v_nHGD = torch.zeros_like(grad_k_nHGD)
    scratch = Scratch()
    for queries in columns.pieces(q_nHLD.shape[1]):
        q_NKD, grad_NKD = q_nHLD[:, :, queries].flatten(0, 1), grad_nHLD[:, :, queries].flatten(0, 1)
        score_NKG = scores(q_NKD, k_NGD, plan.scale, minus_lse_NL1[:, queries], scratch)
        prob_NKG = torch.exp2(score_NKG, out=score_NKG)
        seen = columns.seen(queries)
        if seen is not None:
            _fill(prob_NKG, seen, 0.0)
        places = (grad_q_nHLD[:, :, queries], grad_k_nHGD, grad_v_nHGD)
        row = (q_NKD, k_NGD, v_NGD, grad_NKD, minus_delta_NL1[:, queries])
        add_gradients(prob_NKG, *row, places, plan, generator, scratch)
    columns.add_to(strands.view(x.grad_k_BHTD), grad_k_nHGD)
    columns.add_to(strands.view(x.grad_v_BHTD), grad_v_nHGD)


def _fill(x_NKG: Tensor, seen_n1KG: Tensor, value: float) -> None:
    x_NKG.view(seen_n1KG.shape[0], -1, *x_NKG.shape[1:]).masked_fill_(~seen_n1KG, value)
