"""The plan of one call of `blocked`, made on the host: which tokens form sequences that attend among themselves.

A batch is split into sequences that do not see each other: rows without their padding, documents, and, for dilated
heads, the residue classes of either. (With dilation d, positions with one residue modulo d attend among themselves
without gaps.) Sequences of equal length and even spacing form a `SequenceGroup` and are computed together. Every
sequence is a view; no tensor is copied or reordered.

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


class SequenceGroup(NamedTuple):
    """`n` sequences of `length` tokens; neighbouring tokens of a sequence are `step` positions apart.

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
        """The sequences' vectors, a view [n, H, length, D] of `x_BHTD`."""
        B, H, T, D = x_BHTD.stride()
        return x_BHTD.as_strided(
            (self.n, x_BHTD.shape[1], self.length, x_BHTD.shape[3]),
            (self.row_step * B + self.start_step * T, H, self.step * T, D),
            x_BHTD.storage_offset() + self.row * B + self.start * T,
        )

    def slice_tokens(self, first: int, length: int) -> "SequenceGroup":
        """The group of `length` tokens of each sequence, from token `first` on."""
        return self._replace(start=self.start + first * self.step, length=length)

    def slice_sequences(self, first: int, n: int) -> "SequenceGroup":
        """The group of at most `n` sequences, from sequence `first` on."""
        return self._replace(
            row=self.row + first * self.row_step, start=self.start + first * self.start_step, n=min(n, self.n - first)
        )

    def blocks(self, first: int, n_blocks: int, length: int, spacing: int) -> "SequenceGroup":
        """Blocks of a group with one sequence: `n_blocks` of `length` tokens, from `first` on, `spacing` apart."""
        assert self.n == 1
        return SequenceGroup(
            self.row, self.start + first * self.step, n_blocks, 0, spacing * self.step, length, self.step
        )

    def residue_classes(self, dilation: int) -> Iterator["SequenceGroup"]:
        """The residue classes of each sequence modulo `dilation`, as groups."""
        assert self.step == 1
        if dilation == 1:
            yield self
        elif self.n == 1:
            # Classes of equal length are neighbours; the last ones are one token shorter.
            longer = self.length % dilation
            for first, n, length in (
                (0, longer, self.length // dilation + 1),
                (longer, dilation - longer, self.length // dilation),
            ):
                if n and length:
                    yield SequenceGroup(self.row, self.start + first, n, 0, 1, length, dilation)
        else:
            for first in range(min(dilation, self.length)):
                length = (self.length - first - 1) // dilation + 1
                yield self._replace(start=self.start + first, length=length, step=dilation)


class HeadGroup(NamedTuple):
    """Evenly spaced attention heads with one dilation."""

    heads: slice
    dilation: int

    def select(self, x_BHTD: Tensor) -> Tensor:
        """The view of these heads of `x_BHTD`."""
        return x_BHTD[:, self.heads]


@dataclass(frozen=True)
class BlockedPlan:
    """Everything that a call computes with, except the vectors.

    Attributes:
        pattern: which query sees which key.
        heads: all heads, grouped by dilation.
        groups: sequences that do not see each other, before they are split into residue classes.
        covers: whether the groups contain every position of the batch.
        is_key_BT: bool, True at tokens; None if every position in the groups is a token.
        slots: positions of the global tokens.
        scale: factor on every score.
        dropout_p: probability of dropping an attention probability.
        seed: seed of the dropout.
    """

    pattern: AttentionPattern
    heads: tuple[HeadGroup, ...]
    groups: tuple[SequenceGroup, ...]
    covers: bool
    is_key_BT: Tensor | None
    slots: GlobalSlots | None
    scale: float
    dropout_p: float
    seed: int

    def window_covers(self, group: SequenceGroup) -> bool:
        """Whether the window of every token covers its whole sequence (no band mask is needed)."""
        return min(self.pattern.left, self.pattern.right) >= group.length - 1


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
) -> BlockedPlan:
    """The plan of a call on tensors of `shape` B, H, T; padding is trimmed on the CPU only, where reading is cheap."""
    B, H, T = shape
    bounds: Bounds = [(row, 0, T) for row in range(B)] if documents is None else documents.bounds
    is_key_BT = is_token_BT
    if is_token_BT is not None and device.type == "cpu":
        if documents is None:
            bounds = _trim_padding(is_token_BT, H, pattern)
        n_inside = sum(stop - start for _, start, stop in bounds)
        n_tokens = int(is_token_BT.sum())
        is_key_BT = None if n_tokens == n_inside else is_token_BT
    return BlockedPlan(
        pattern,
        tuple(_heads(pattern.dilations(H))),
        tuple(_group_sequences(bounds)),
        sum(stop - start for _, start, stop in bounds) == B * T,
        is_key_BT,
        slots,
        scale,
        dropout_p,
        seed,
    )


def _trim_padding(is_token_BT: Tensor, n_heads: int, pattern: AttentionPattern) -> list[tuple[int, int, int]]:
    """Bounds (row, start, stop) without padding at the ends: of each row, or common ones if that is faster."""
    T = is_token_BT.shape[1]
    flags_BT = is_token_BT.to(torch.uint8)
    first_B, after_B = flags_BT.argmax(dim=1), T - flags_BT.flip(1).argmax(dim=1)
    ranges = zip(first_B.tolist(), after_B.tolist(), is_token_BT.any(dim=1).tolist(), strict=True)
    bounds = [(row, first, after) for row, (first, after, is_any) in enumerate(ranges) if is_any]
    if not bounds:
        return []
    first, after = min(start for _, start, _ in bounds), max(stop for *_, stop in bounds)
    together = [(row, first, after) for row, *_ in bounds]
    times = [sum(_seconds(group, n_heads, pattern) for group in _group_sequences(x)) for x in (bounds, together)]
    return bounds if times[0] <= times[1] else together


def _seconds(group: SequenceGroup, n_heads: int, pattern: AttentionPattern) -> float:
    """Estimated time of a group, from its kernel calls and its pairs of query and key (docs/experiments.md)."""
    window = pattern.left + 1 + pattern.right
    n_pairs = group.n * n_heads * group.length * min(group.length, window + 32)
    return 60e-6 * (1 + min(group.length, window) / 64) + 4.4e-9 * n_pairs


def _heads(dilations: tuple[int, ...]) -> Iterator[HeadGroup]:
    """Slices of heads that share a dilation."""
    for dilation in sorted(set(dilations)):
        heads = [head for head, of_head in enumerate(dilations) if of_head == dilation]
        for first, n, step in _evenly_spaced(heads):
            yield HeadGroup(slice(first, first + (n - 1) * step + 1, step), dilation)


def _group_sequences(bounds: Bounds) -> Iterator[SequenceGroup]:
    """Groups of rows with equal bounds, and of equally long, evenly spaced sequences of one row."""
    by_bounds = sorted(bounds, key=lambda bound: (bound[1:], bound[0]))
    single: list[tuple[int, int, int]] = []
    for (start, stop), same in groupby(by_bounds, key=lambda bound: bound[1:]):
        for row, n, row_step in _evenly_spaced([row for row, *_ in same]):
            if n > 1:
                yield SequenceGroup(row, start, n, row_step, 0, stop - start)
            else:
                single.append((row, start, stop))
    single.sort(key=lambda bound: (bound[0], bound[2] - bound[1], bound[1]))
    for (row, length), same in groupby(single, key=lambda bound: (bound[0], bound[2] - bound[1])):
        for start, n, start_step in _evenly_spaced([start for _, start, _ in same]):
            yield SequenceGroup(row, start, n, 0, start_step, length)


def _evenly_spaced(numbers: list[int]) -> Iterator[tuple[int, int, int]]:
    """Split ascending numbers greedily into runs (first, count, step)."""
    at = 0
    while at < len(numbers):
        step = numbers[at + 1] - numbers[at] if at + 1 < len(numbers) else 1
        n = 1
        while at + n < len(numbers) and numbers[at + n] - numbers[at + n - 1] == step:
            n += 1
        yield numbers[at], n, step
        at += n
