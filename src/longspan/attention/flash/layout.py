"""The plan of one call of `flash`, made on the host: which sequences go to the kernels.

The tokens of a batch are concatenated, which is a view. Each row, or each document, is a sequence. The padding between
sequences forms sequences too, and their results are discarded: removing the padding would copy all vectors, which
costs as much as the attention. Global tokens at the start of a sequence are split off. `global_rows` computes their
rows, and as keys they are columns of a second kernel call, so that no window contains them and no key counts twice.
Layers with the same masks share one plan.

N tokens of all rows, B*T  H attention heads  D width per head  G global slots  S global tokens of all sequences
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from longspan.attention.documents import Documents
from longspan.attention.inputs import AttentionInputs
from longspan.attention.pattern import AttentionPattern
from longspan.attention.slots import GlobalSlots


class SequenceOffsets(NamedTuple):
    """The bounds of sequences among the concatenated tokens, of queries and of the keys that they see.

    Sequence i runs from `q[i]` to before `q[i + 1]`; both are int32 and one longer than the number of sequences (the
    `cu_seqlens` of flash-attn). No sequence is empty, because kernels differ in their result for a query without keys.

    Attributes:
        q: bounds of the queries.
        k: bounds of the keys.
        max_q: length of the longest sequence of queries.
        max_k: length of the longest sequence of keys.
    """

    q: Tensor
    k: Tensor
    max_q: int
    max_k: int


class DilationGroup(NamedTuple):
    """The heads with one dilation, and the sequences of their windows.

    With dilation d, the tokens with one residue modulo d attend among themselves without gaps, so that each residue
    class of a sequence is a sequence. If all sequences begin and end at multiples of d, [N, H, D] is viewed as
    [N/d, d*H, D], with residue classes as heads, and no token moves. Otherwise the tokens are reordered.

    Attributes:
        heads: indices of the heads; None for all.
        dilation: positions per step.
        offsets: the sequences, in the order and shape that `regroup` gives.
        order: index of the token at each new place, [N]; None if no token moves.
        back: the inverse of `order`.
    """

    heads: Tensor | None
    dilation: int
    offsets: SequenceOffsets
    order: Tensor | None
    back: Tensor | None

    def regroup(self, x_NHD: Tensor) -> Tensor:
        """Vectors [N, H, D] in the order and shape of the sequences."""
        if self.order is not None:
            return x_NHD.index_select(0, self.order)
        N, H, D = x_NHD.shape
        return x_NHD if self.dilation == 1 else x_NHD.reshape(N // self.dilation, self.dilation * H, D)

    def ungroup(self, x_NHD: Tensor, n_heads: int) -> Tensor:
        """The inverse of `regroup`."""
        if self.back is not None:
            return x_NHD.index_select(0, self.back)
        return x_NHD if self.dilation == 1 else x_NHD.reshape(-1, n_heads, x_NHD.shape[2])

    def regroup_lse(self, lse_HN: Tensor) -> Tensor:
        """`regroup` for the log-sum-exp."""
        if self.order is not None:
            return lse_HN.index_select(1, self.order)
        if self.dilation == 1:
            return lse_HN
        return lse_HN.unflatten(1, (-1, self.dilation)).permute(2, 0, 1).flatten(0, 1)

    def ungroup_lse(self, lse_HN: Tensor, n_heads: int) -> Tensor:
        """The inverse of `regroup_lse`."""
        if self.back is not None:
            return lse_HN.index_select(1, self.back)
        if self.dilation == 1:
            return lse_HN
        return lse_HN.unflatten(0, (self.dilation, n_heads)).permute(1, 2, 0).flatten(1)


class LeadingColumns(NamedTuple):
    """The global tokens at the start of their sequences, as keys of every later token of the sequence.

    Attributes:
        of_keys: indices of the global tokens among the N, [S].
        of_queries: the queries that see any of them: a slice if sequences with global tokens are neighbours (then a
            view suffices), else indices.
        offsets: the sequences of both.
    """

    of_keys: Tensor
    of_queries: slice | Tensor
    offsets: SequenceOffsets


class QueryBlock(NamedTuple):
    """A block of queries and the slots that they may see, for global tokens that are not at the start."""

    rows: slice
    queries: slice
    slots: slice


class FlashPlan(NamedTuple):
    """Everything that a call computes with, except the vectors.

    Attributes:
        groups: one kernel call for each.
        columns: a second kernel call, over global tokens at the start of their sequences.
        blocks: matrix products instead, for global tokens elsewhere: each query against those outside its window.
        slots: positions of the global tokens; None for none.
        has_holes: whether there is padding inside a sequence.
    """

    groups: tuple[DilationGroup, ...]
    columns: LeadingColumns | None
    blocks: tuple[QueryBlock, ...]
    slots: GlobalSlots | None
    has_holes: bool


# The number of scores in one block of global columns, over all rows and heads: 64 MiB in float32.
_MAX_SCORES = 2**24


def make_plan(inputs: AttentionInputs) -> FlashPlan:
    """The plan of a call; reading padding and positions of dynamic global tokens waits for the device."""
    B, H, T, _ = inputs.q_BHTD.shape
    device = inputs.q_BHTD.device
    bounds, has_holes = _sequences(inputs)
    slots = inputs.global_slots()
    n_first: list[int] | None = [0] * len(bounds)
    if slots is not None:
        slots, n_first = _count_first(inputs, slots, bounds)
    flat = [(row * T + start, row * T + stop) for row, start, stop in bounds]
    # If some global token is not at the start of its sequence, none is split off.
    n_cut = [0] * len(bounds) if n_first is None else n_first
    edges = {0, B * T}
    for (start, stop), n in zip(flat, n_cut, strict=True):
        edges |= {start, start + n, stop}
    dilations = inputs.pattern.dilations(H)
    groups = []
    for dilation in sorted(set(dilations)):
        heads = [head for head, of_head in enumerate(dilations) if of_head == dilation]
        of_all = None if len(heads) == H else _to_tensor(heads, torch.int64, device)
        groups.append(_group(of_all, dilation, sorted(edges), device))
    return FlashPlan(
        groups=tuple(groups),
        columns=_columns(flat, n_cut, B * T, device) if any(n_cut) else None,
        blocks=() if n_first is not None else tuple(_blocks(inputs, slots, bounds)),
        slots=slots,
        has_holes=has_holes,
    )


def window_of(pattern: AttentionPattern, offsets: SequenceOffsets) -> tuple[int, int]:
    """Visible steps to the left and to the right for the kernels, -1 if the window covers every sequence."""
    reach = offsets.max_k - 1
    return (-1 if pattern.left >= reach else pattern.left), (-1 if pattern.right >= reach else pattern.right)


def _sequences(inputs: AttentionInputs) -> tuple[Sequence[tuple[int, int, int]], bool]:
    """Bounds (row, start, stop) of each sequence from its first to its last token, and whether padding lies inside."""
    B, _, T, _ = inputs.q_BHTD.shape
    is_token_BT, documents = inputs.is_token_BT, inputs.documents
    if documents is None and inputs.document_BT is not None:
        documents = Documents.find(inputs.document_BT, is_token_BT)
    if is_token_BT is None:
        return [(row, 0, T) for row in range(B)] if documents is None else documents.bounds, False
    is_token_BT = is_token_BT.cpu()
    if documents is None:
        documents = Documents.find(torch.zeros_like(is_token_BT, dtype=torch.int64), is_token_BT)
    n_places = sum(stop - start for _, start, stop in documents.bounds)
    return documents.bounds, n_places != int(is_token_BT.sum())


def _count_first(
    inputs: AttentionInputs, slots: GlobalSlots, bounds: Sequence[tuple[int, int, int]]
) -> tuple[GlobalSlots, list[int] | None]:
    """How many global tokens each sequence starts with; None if a sequence has others too.

    With documents the returned slots know which document they belong to (`of_documents`), so that the global rows need
    not wait for the device again.
    """
    G, T = slots.index_BG.shape[1], inputs.q_BHTD.shape[2]
    is_known = slots.start_documents and inputs.is_token_BT is None
    if slots.are_first and min(inputs.pattern.n_global, T) == G:
        # All of them are the pattern's first positions. Padding among them is hidden like any other (`backend`).
        counts = [max(0, min(G, stop) - start) for _, start, stop in bounds]
        if inputs.documents is not None and inputs.is_token_BT is None:
            of_documents = tuple(
                (start, start + n) if n else (0, 0) for (_, start, _), n in zip(bounds, counts, strict=True)
            )
            slots = slots._replace(of_documents=of_documents)
        return slots, counts
    if inputs.documents is not None and slots.of_documents is None:
        slots = slots.by_document(inputs.documents)
        if not slots.start_documents:
            return slots, None
        is_known = True
    if is_known and slots.of_documents is not None:
        return slots, [last - first for first, last in slots.of_documents]
    index_BG, is_used_BG = torch.stack([slots.index_BG, slots.is_used_BG.to(torch.int64)]).cpu().numpy()
    place_BG = np.where(is_used_BG, index_BG, T)
    counts = []
    for row, start, stop in bounds:
        inside = place_BG[row][(place_BG[row] >= start) & (place_BG[row] < stop)]
        if len(inside) and inside.max() != start + len(inside) - 1:
            return slots, None
        counts.append(len(inside))
    return slots, counts


def _group(heads: Tensor | None, dilation: int, edges: list[int], device: torch.device) -> DilationGroup:
    """The sequences between `edges` for heads of one dilation."""
    if all(edge % dilation == 0 for edge in edges):
        offset = _to_tensor([edge // dilation for edge in edges], torch.int32, device)
        longest = max(b - a for a, b in pairwise(edges)) // dilation
        return DilationGroup(heads, dilation, SequenceOffsets(offset, offset, longest, longest), None, None)
    classes = [
        np.arange(start + residue, stop, dilation)
        for start, stop in pairwise(edges)
        for residue in range(min(dilation, stop - start))
    ]
    order = np.concatenate(classes)
    lengths = [len(x) for x in classes]
    offset = _to_tensor([0, *accumulate(lengths)], torch.int32, device)
    offsets = SequenceOffsets(offset, offset, max(lengths), max(lengths))
    return DilationGroup(heads, dilation, offsets, _upload(order, device), _upload(np.argsort(order), device))


def _columns(flat: list[tuple[int, int]], n_first: list[int], n_tokens: int, device: torch.device) -> LeadingColumns:
    """The first `n_first` tokens of each sequence as columns; `flat` holds the bounds of the sequences."""
    of_keys = [place for (start, _), n in zip(flat, n_first, strict=True) for place in range(start, start + n)]
    having = [number for number, n in enumerate(n_first) if n]
    counts = [n_first[number] for number in having]
    if len(having) == having[-1] - having[0] + 1:
        # Padding between sequences joins the sequence before it: what padding sees does not matter.
        edges = [0, *(start for start, _ in flat[1:]), n_tokens][having[0] : having[-1] + 2]
        of_queries = slice(edges[0], edges[-1])
        offset_q = [edge - edges[0] for edge in edges]
    else:
        of_queries = _upload(np.concatenate([np.arange(*flat[number]) for number in having]), device)
        offset_q = [0, *accumulate(flat[number][1] - flat[number][0] for number in having)]
    offsets = SequenceOffsets(
        _to_tensor(offset_q, torch.int32, device),
        _to_tensor([0, *accumulate(counts)], torch.int32, device),
        max(b - a for a, b in pairwise(offset_q)),
        max(counts),
    )
    return LeadingColumns(_to_tensor(of_keys, torch.int64, device), of_queries, offsets)


def _blocks(
    inputs: AttentionInputs, slots: GlobalSlots | None, bounds: Sequence[tuple[int, int, int]]
) -> list[QueryBlock]:
    """Blocks of queries whose scores fit into `_MAX_SCORES`, each document with its own slots."""
    assert slots is not None
    B, H, T, _ = inputs.q_BHTD.shape
    whole = [(slice(0, B), 0, T, slice(0, slots.index_BG.shape[1]))]
    if inputs.documents is not None:
        assert slots.of_documents is not None
        whole = [
            (slice(row, row + 1), start, stop, slice(*of_document))
            for (row, start, stop), of_document in zip(bounds, slots.of_documents, strict=True)
            if of_document[1] > of_document[0]
        ]
    blocks = []
    for rows, start, stop, of_slots in whole:
        n_rows, n_slots = rows.stop - rows.start, of_slots.stop - of_slots.start
        step = max(64, _MAX_SCORES // (n_rows * H * n_slots))
        blocks += [
            QueryBlock(rows, slice(first, min(first + step, stop)), of_slots) for first in range(start, stop, step)
        ]
    return blocks


def _upload(numbers: np.ndarray, device: torch.device) -> Tensor:
    """The numbers on the device, copied without waiting for it."""
    x = torch.from_numpy(numbers)
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x


def _to_tensor(numbers: list[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """The numbers on the device; regular ones are computed there, so that a compiled graph needs no copy.

    Regular numbers are `width` equal steps, repeated at equal distances, as those of rows of one length are.
    """
    first = numbers[0]
    width = next((i for i in range(2, len(numbers)) if numbers[i] - first != i * (numbers[1] - first)), len(numbers))
    inner = numbers[1] - first if width > 1 else 0
    outer = numbers[width] - first if width < len(numbers) else 0
    if any(x != first + outer * (i // width) + inner * (i % width) for i, x in enumerate(numbers)):
        return _upload(np.array(numbers), device).to(dtype)
    outer_M1 = torch.arange(-(-len(numbers) // width), dtype=dtype, device=device)[:, None] * outer
    return (first + outer_M1 + torch.arange(width, dtype=dtype, device=device) * inner).flatten()[: len(numbers)]
