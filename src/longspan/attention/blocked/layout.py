"""What a call of `blocked` computes, planned on the host: which tokens attend among themselves, block by block.

A batch falls apart into sequences that don't see each other: rows without their padding, documents, and for heads with
gaps the residue classes of either (with dilation d, positions of one residue modulo d attend among themselves without
gaps). Sequences of one length that lie evenly spaced are computed together: `Strands`. All are views: nothing is
regrouped in memory.

B batch rows  T tokens  H attention heads  D width per head
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

from longspan.attention.documents import Documents
from longspan.attention.pattern import AttentionPattern
from longspan.attention.slots import GlobalSlots

Bounds = Iterable[tuple[int, int, int]]  # (row, start, stop)


class Strands(NamedTuple):
    """`n` sequences of `length` tokens that lie `step` positions apart.

    Sequence i begins in row `row + i * row_step` at position `start + i * start_step`.
    """

    row: int
    start: int
    n: int
    row_step: int
    start_step: int
    length: int
    step: int = 1

    def view(self, x_BHTD: Tensor) -> Tensor:
        """Their vectors [n, H, length, D], without a copy."""
        B, H, T, D = x_BHTD.stride()
        return x_BHTD.as_strided(
            (self.n, x_BHTD.shape[1], self.length, x_BHTD.shape[3]),
            (self.row_step * B + self.start_step * T, H, self.step * T, D),
            x_BHTD.storage_offset() + self.row * B + self.start * T,
        )

    def cut(self, first: int, length: int) -> "Strands":
        """Of each sequence, `length` tokens from the `first` one."""
        return self._replace(start=self.start + first * self.step, length=length)

    def some(self, first: int, n: int) -> "Strands":
        """`n` of the sequences from the `first` one."""
        return self._replace(
            row=self.row + first * self.row_step, start=self.start + first * self.start_step, n=min(n, self.n - first)
        )

    def blocks(self, first: int, n_blocks: int, length: int, spacing: int) -> "Strands":
        """Of one sequence: `n_blocks` pieces of `length` tokens, the first at `first`, then every `spacing` tokens."""
        assert self.n == 1
        return Strands(self.row, self.start + first * self.step, n_blocks, 0, spacing * self.step, length, self.step)

    def residues(self, dilation: int) -> Iterator["Strands"]:
        """The residue classes of each sequence, as sequences of their own."""
        assert self.step == 1
        if dilation == 1:
            yield self
        elif self.n == 1:
            # Classes of one length lie side by side; the last ones are one token shorter.
            longer = self.length % dilation
            for first, n, length in (
                (0, longer, self.length // dilation + 1),
                (longer, dilation - longer, self.length // dilation),
            ):
                if n and length:
                    yield Strands(self.row, self.start + first, n, 0, 1, length, dilation)
        else:
            for first in range(min(dilation, self.length)):
                length = (self.length - first - 1) // dilation + 1
                yield self._replace(start=self.start + first, length=length, step=dilation)


class Heads(NamedTuple):
    """Attention heads that share one dilation."""

    which: slice
    dilation: int

    def of(self, x_BHTD: Tensor) -> Tensor:
        """Their part of [B, H, T, D], as a view."""
        return x_BHTD[:, self.which]


@dataclass(frozen=True)
class Plan:
    """Everything about a call but the vectors.

    Attributes:
        pattern: who sees whom.
        heads: all heads, by dilation.
        groups: sequences that don't see each other, without gaps.
        covers: every position lies in one of them.
        is_key_BT: bool; None where every position in the groups is a token.
        slots: where the global tokens are.
        scale: factor on each score.
        dropout_p: probability to drop a probability.
        seed: what the dropped ones are drawn from.
    """

    pattern: AttentionPattern
    heads: tuple[Heads, ...]
    groups: tuple[Strands, ...]
    covers: bool
    is_key_BT: Tensor | None
    slots: GlobalSlots | None
    scale: float
    dropout_p: float
    seed: int

    def window_covers(self, strands: Strands) -> bool:
        """Whether the window of every token covers its whole sequence."""
        return min(self.pattern.left, self.pattern.right) >= strands.length - 1


def make_plan(
    shape: tuple[int, int, int],
    device: torch.device,
    pattern: AttentionPattern,
    *,
    is_token_BT: Tensor | None,
    documents: Documents | None,
    slots: GlobalSlots | None,
    scale: float,
    dropout_p: float,
    seed: int,
) -> Plan:
    """Plan a call for tensors of `shape` B, H, T. Looks at the masks where that costs little: on the CPU."""
    B, H, T = shape
    bounds: Bounds = [(row, 0, T) for row in range(B)] if documents is None else documents.bounds
    is_key_BT = is_token_BT
    if is_token_BT is not None and device.type == "cpu":
        if documents is None:
            bounds = _without_padding(is_token_BT, H, pattern)
        n_inside = sum(stop - start for _, start, stop in bounds)
        n_tokens = int(is_token_BT.sum())
        is_key_BT = None if n_tokens == n_inside else is_token_BT
    return Plan(
        pattern,
        tuple(_heads(pattern.dilations(H))),
        tuple(_together(bounds)),
        sum(stop - start for _, start, stop in bounds) == B * T,
        is_key_BT,
        slots,
        scale,
        dropout_p,
        seed,
    )


def _without_padding(is_token_BT: Tensor, n_heads: int, pattern: AttentionPattern) -> list[tuple[int, int, int]]:
    """The rows from their first token to after their last one; or all with common bounds where that is quicker."""
    T = is_token_BT.shape[1]
    flags_BT = is_token_BT.to(torch.uint8)
    first_B, after_B = flags_BT.argmax(dim=1), T - flags_BT.flip(1).argmax(dim=1)
    ranges = zip(first_B.tolist(), after_B.tolist(), is_token_BT.any(dim=1).tolist(), strict=True)
    bounds = [(row, first, after) for row, (first, after, is_any) in enumerate(ranges) if is_any]
    if not bounds:
        return []
    first, after = min(start for _, start, _ in bounds), max(stop for *_, stop in bounds)
    together = [(row, first, after) for row, *_ in bounds]
    times = [sum(_seconds(group, n_heads, pattern) for group in _together(x)) for x in (bounds, together)]
    return bounds if times[0] <= times[1] else together


def _seconds(group: Strands, n_heads: int, pattern: AttentionPattern) -> float:
    """About how long a group takes: calls, and pairs of query and key (docs/experiments.md)."""
    window = pattern.left + 1 + pattern.right
    n_pairs = group.n * n_heads * group.length * min(group.length, window + 32)
    return 60e-6 * (1 + min(group.length, window) / 64) + 4.4e-9 * n_pairs


def _heads(dilations: tuple[int, ...]) -> Iterator[Heads]:
    """The heads of each dilation, in slices."""
    for dilation in sorted(set(dilations)):
        heads = [head for head, its in enumerate(dilations) if its == dilation]
        for first, n, step in _evenly_spaced(heads):
            yield Heads(slice(first, first + (n - 1) * step + 1, step), dilation)


def _together(bounds: Bounds) -> Iterator[Strands]:
    """Rows with equal bounds together, and of one row neighbours of equal length."""
    by_bounds = sorted(bounds, key=lambda bound: (bound[1:], bound[0]))
    single: list[tuple[int, int, int]] = []
    for (start, stop), same in groupby(by_bounds, key=lambda bound: bound[1:]):
        for row, n, row_step in _evenly_spaced([row for row, *_ in same]):
            if n > 1:
                yield Strands(row, start, n, row_step, 0, stop - start)
            else:
                single.append((row, start, stop))
    single.sort(key=lambda bound: (bound[0], bound[2] - bound[1], bound[1]))
    for (row, length), same in groupby(single, key=lambda bound: (bound[0], bound[2] - bound[1])):
        for start, n, start_step in _evenly_spaced([start for _, start, _ in same]):
            yield Strands(row, start, n, 0, start_step, length)


def _evenly_spaced(numbers: list[int]) -> Iterator[tuple[int, int, int]]:
    """Ascending numbers as (first, how many, step), greedily."""
    at = 0
    while at < len(numbers):
        step = numbers[at + 1] - numbers[at] if at + 1 < len(numbers) else 1
        n = 1
        while at + n < len(numbers) and numbers[at + n] - numbers[at + n - 1] == step:
            n += 1
        yield numbers[at], n, step
        at += n
