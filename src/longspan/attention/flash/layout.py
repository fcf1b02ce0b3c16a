"""Which sequences `flash` hands to the library: worked out on the host, once for all layers that ask the same.

The tokens of a batch are laid end to end. Each row, or each document, is a sequence; what lies between them (padding)
makes sequences of its own, whose results are thrown away: cutting it out would copy all vectors, which costs as much as
the attention itself. The global tokens at the start of a sequence are cut off too. Their rows are computed elsewhere,
and as keys they are columns: so the window never meets them, and no key counts twice.

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


class Cuts(NamedTuple):
    """Where sequences of queries, and of the keys they see, begin and end: int32, one number more than sequences.

    None of them is empty: kernels differ in what they make of a query without keys.
    """

    q: Tensor
    k: Tensor
    max_q: int
    max_k: int


class Group(NamedTuple):
    """The heads that share one dilation, and the sequences of their windows.

    With dilation d, the tokens of one residue modulo d attend among themselves without gaps: each residue class of a
    sequence is one more sequence. Where all sequences begin and end at multiples of d, [N, H, D] is read as
    [N/d, d*H, D], residue classes as heads, and nothing is moved. Elsewhere tokens are put in another order.

    Attributes:
        heads: their numbers; None for all.
        dilation: positions per step.
        cuts: the sequences, in the order and the shape that `regroup` makes.
        order: which token comes when, [N]; None where nothing is moved.
        back: the inverse of `order`.
    """

    heads: Tensor | None
    dilation: int
    cuts: Cuts
    order: Tensor | None
    back: Tensor | None

    def regroup(self, x_NHD: Tensor) -> Tensor:
        """Tokens to the sequences that are cut."""
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
        """What `regroup` does, for the log-sum-exp."""
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


class Columns(NamedTuple):
    """Global tokens that are the first ones of their sequences: each is seen by all that follow, in no window.

    Attributes:
        of_keys: places of the global tokens among the N, [S].
        of_queries: the queries that see any, as a range of the N where sequences with global tokens are neighbours
            (a view does then), else as places.
        cuts: the sequences of both.
    """

    of_keys: Tensor
    of_queries: slice | Tensor
    cuts: Cuts


class Block(NamedTuple):
    """Queries and the slots that they may see, where global tokens are anywhere."""

    rows: slice
    queries: slice
    slots: slice


class Plan(NamedTuple):
    """What a call computes beside the vectors.

    Attributes:
        groups: one call of the library each.
        columns: the second call, over global tokens at the start of their sequences.
        blocks: or products, over global tokens anywhere: those outside of a query's window.
        slots: where the global tokens are; None for none.
        has_holes: there is padding in the midst of a sequence.
    """

    groups: tuple[Group, ...]
    columns: Columns | None
    blocks: tuple[Block, ...]
    slots: GlobalSlots | None
    has_holes: bool


# Scores of one block of global columns, in all rows and heads: 64 MiB in float32.
_MAX_SCORES = 2**24


def make_plan(inputs: AttentionInputs) -> Plan:
    """Waits for the device where it must look: at padding, and at the places of dynamic global tokens."""
    B, H, T, _ = inputs.q_BHTD.shape
    device = inputs.q_BHTD.device
    bounds, has_holes = _sequences(inputs)
    slots = inputs.global_slots()
    n_first: list[int] | None = [0] * len(bounds)
    if slots is not None:
        slots, n_first = _count_first(inputs, slots, bounds)
    flat = [(row * T + start, row * T + stop) for row, start, stop in bounds]
    # Where not all global tokens come first, none is cut off.
    n_cut = [0] * len(bounds) if n_first is None else n_first
    edges = {0, B * T}
    for (start, stop), n in zip(flat, n_cut, strict=True):
        edges |= {start, start + n, stop}
    dilations = inputs.pattern.dilations(H)
    groups = []
    for dilation in sorted(set(dilations)):
        heads = [head for head, its in enumerate(dilations) if its == dilation]
        of_all = None if len(heads) == H else _to_tensor(heads, torch.int64, device)
        groups.append(_group(of_all, dilation, sorted(edges), device))
    return Plan(
        groups=tuple(groups),
        columns=_columns(flat, n_cut, B * T, device) if any(n_cut) else None,
        blocks=() if n_first is not None else tuple(_blocks(inputs, slots, bounds)),
        slots=slots,
        has_holes=has_holes,
    )


def window_of(pattern: AttentionPattern, cuts: Cuts) -> tuple[int, int]:
    """Steps to the left and to the right as the library takes them: -1 where the window ends no sequence short."""
    reach = cuts.max_k - 1
    return (-1 if pattern.left >= reach else pattern.left), (-1 if pattern.right >= reach else pattern.right)


def _sequences(inputs: AttentionInputs) -> tuple[Sequence[tuple[int, int, int]], bool]:
    """(row, start, stop) of each sequence, from its first token to after its last, and whether there are holes."""
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
    """How many global tokens each sequence starts with; None where there are others beside them.

    With documents the slots come back knowing whose they are, so that global rows need not look again.
    """
    G, T = slots.index_BG.shape[1], inputs.q_BHTD.shape[2]
    is_known = slots.start_documents and inputs.is_token_BT is None
    if slots.are_first and min(inputs.pattern.n_global, T) == G:
        # The pattern's own, all of them: known without looking. A hole among them is nobody's key (`flash`).
        counts = [max(0, min(G, stop) - start) for _, start, stop in bounds]
        if inputs.documents is not None and inputs.is_token_BT is None:
            owned = tuple((start, start + n) if n else (0, 0) for (_, start, _), n in zip(bounds, counts, strict=True))
            slots = slots._replace(of_documents=owned)
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
        its = place_BG[row][(place_BG[row] >= start) & (place_BG[row] < stop)]
        if len(its) and its.max() != start + len(its) - 1:
            return slots, None
        counts.append(len(its))
    return slots, counts


def _group(heads: Tensor | None, dilation: int, edges: list[int], device: torch.device) -> Group:
    if all(edge % dilation == 0 for edge in edges):
        cut = _to_tensor([edge // dilation for edge in edges], torch.int32, device)
        longest = max(b - a for a, b in pairwise(edges)) // dilation
        return Group(heads, dilation, Cuts(cut, cut, longest, longest), None, None)
    classes = [
        np.arange(start + residue, stop, dilation)
        for start, stop in pairwise(edges)
        for residue in range(min(dilation, stop - start))
    ]
    order = np.concatenate(classes)
    lengths = [len(x) for x in classes]
    cut = _to_tensor([0, *accumulate(lengths)], torch.int32, device)
    cuts = Cuts(cut, cut, max(lengths), max(lengths))
    return Group(heads, dilation, cuts, _upload(order, device), _upload(np.argsort(order), device))


def _columns(flat: list[tuple[int, int]], n_first: list[int], n_tokens: int, device: torch.device) -> Columns:
    of_keys = [place for (start, _), n in zip(flat, n_first, strict=True) for place in range(start, start + n)]
    having = [number for number, n in enumerate(n_first) if n]
    counts = [n_first[number] for number in having]
    if len(having) == having[-1] - having[0] + 1:
        # What lies between sequences goes with the one before it: it may see anything.
        edges = [0, *(start for start, _ in flat[1:]), n_tokens][having[0] : having[-1] + 2]
        of_queries = slice(edges[0], edges[-1])
        cut_q = [edge - edges[0] for edge in edges]
    else:
        of_queries = _upload(np.concatenate([np.arange(*flat[number]) for number in having]), device)
        cut_q = [0, *accumulate(flat[number][1] - flat[number][0] for number in having)]
    cuts = Cuts(
        _to_tensor(cut_q, torch.int32, device),
        _to_tensor([0, *accumulate(counts)], torch.int32, device),
        max(b - a for a, b in pairwise(cut_q)),
        max(counts),
    )
    return Columns(_to_tensor(of_keys, torch.int64, device), of_queries, cuts)


def _blocks(inputs: AttentionInputs, slots: GlobalSlots | None, bounds: Sequence[tuple[int, int, int]]) -> list[Block]:
    """Queries in pieces whose scores stay small; each document with its own slots where these are known."""
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
        blocks += [Block(rows, slice(first, min(first + step, stop)), of_slots) for first in range(start, stop, step)]
    return blocks


def _upload(numbers: np.ndarray, device: torch.device) -> Tensor:
    """To the device without waiting for it."""
    x = torch.from_numpy(numbers)
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x


def _to_tensor(numbers: list[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """The numbers on the device; nothing is copied there where they are as regular as those of rows of one length.

    Regular: `width` equal steps, over and over, each time as much further. A compiled graph then computes them itself.
    """
    first = numbers[0]
    width = next((i for i in range(2, len(numbers)) if numbers[i] - first != i * (numbers[1] - first)), len(numbers))
    inner = numbers[1] - first if width > 1 else 0
    outer = numbers[width] - first if width < len(numbers) else 0
    if any(x != first + outer * (i // width) + inner * (i % width) for i, x in enumerate(numbers)):
        return _upload(np.array(numbers), device).to(dtype)
    outer_M1 = torch.arange(-(-len(numbers) // width), dtype=dtype, device=device)[:, None] * outer
    return (first + outer_M1 + torch.arange(width, dtype=dtype, device=device) * inner).flatten()[: len(numbers)]
