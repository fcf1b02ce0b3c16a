"""Which documents share a block: best fit, longest first, so that few are cut and little is padded.

Best-fit decreasing as in Ding et al. 2024 ("Fewer Truncations Improve Language Modeling"): a document longer than a
block is cut into whole blocks and a rest; no other is ever cut. Works on counts of equal lengths, not on single
documents, so that millions take seconds.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Packing(NamedTuple):
    """Segments in the order of their blocks.

    Attributes:
        first: int64 [blocks + 1]: number of the first segment of each block, and of all segments.
        document: int64 [segments]: index of the document it is taken from.
        start: int64 [segments]: its first token in the document.
        length: int64 [segments].
    """

    first: NDArray[np.int64]
    document: NDArray[np.int64]
    start: NDArray[np.int64]
    length: NDArray[np.int64]


def pack(lengths: NDArray[np.int64], max_tokens: int, n_special: int) -> Packing:
    """Pack documents into blocks.

    Args:
        lengths: tokens of each document, 1 or more.
        max_tokens: of a block, special tokens included.
        n_special: special tokens around each segment.
    """
    longest = max_tokens - n_special
    n_segments = -(-lengths // longest)
    document = np.repeat(np.arange(len(lengths), dtype=np.int64), n_segments)
    first_of_document = np.cumsum(n_segments) - n_segments
    start = (np.arange(len(document), dtype=np.int64) - first_of_document[document]) * longest
    length = np.minimum(lengths[document] - start, longest)
    block, n_blocks = _best_fit(length + n_special, max_tokens)
    order = np.argsort(block, kind="stable")
    first = np.concatenate([[0], np.cumsum(np.bincount(block, minlength=n_blocks))]).astype(np.int64)
    return Packing(first, document[order], start[order], length[order])


def _best_fit(sizes: NDArray[np.int64], capacity: int) -> tuple[NDArray[np.int64], int]:
    """The block of each item: of those with room, the one with the least; a new one where none has."""
    block = np.empty(len(sizes), np.int64)
    order = np.argsort(-sizes, kind="stable")
    ends = np.flatnonzero(np.diff(sizes[order], append=-1)) + 1
    with_room: dict[int, list[NDArray[np.int64]]] = {}  # room left -> blocks, in stacks
    rooms = 0  # bit r is set where some block has room r: finds the least that fits without a search
    n_blocks = begin = 0
    for end in ends:
        items = order[begin:end]
        size = int(sizes[items[0]])
        begin = end
        while len(items):
            fitting = rooms >> size
            if not fitting:
                n_each = capacity // size
                new = np.repeat(np.arange(n_blocks, n_blocks + -(-len(items) // n_each)), n_each)[: len(items)]
                block[items] = new
                n_blocks = int(new[-1]) + 1
                n_in_last = len(items) - (len(items) - 1) // n_each * n_each
                full, last = np.unique(new)[:-1], new[-1:]
                for room, blocks in ((capacity - n_each * size, full), (capacity - n_in_last * size, last)):
                    rooms = _put(with_room, rooms, room, blocks)
                break
            room = size + ((fitting & -fitting).bit_length() - 1)
            blocks = with_room[room].pop()
            if not with_room[room]:
                rooms &= ~(1 << room)
            some, items = items[: len(blocks)], items[len(blocks) :]
            block[some] = blocks[: len(some)]
            rooms = _put(with_room, rooms, room, blocks[len(some) :])
            rooms = _put(with_room, rooms, room - size, blocks[: len(some)])
    return block, n_blocks


def _put(with_room: dict[int, list[NDArray[np.int64]]], rooms: int, room: int, blocks: NDArray[np.int64]) -> int:
    if len(blocks) and room:
        with_room.setdefault(room, []).append(blocks)
        rooms |= 1 << room
    return rooms
