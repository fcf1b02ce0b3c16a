"""The table of tile sizes, warps and stages of the kernels, by device, dtype and width; nothing is tuned at run time.

`benchmarks/tune_triton.py` measures alternatives on a GPU and prints the rows for this table.
"""

from typing import NamedTuple

import torch


class Tiles(NamedTuple):
    """How one kernel is launched: queries and keys of a tile, warps of a program, stages of its pipeline."""

    queries: int
    keys: int
    n_warps: int
    n_stages: int


class TileSet(NamedTuple):
    """How the four kernels are launched."""

    forward: Tiles
    query: Tiles
    key: Tiles
    slot: Tiles


class TableRow(NamedTuple):
    """The tiles from one compute capability on, for one size of a number in bytes, up to one padded head width."""

    capability: tuple[int, int]
    n_bytes: int
    width: int
    tiles: TileSet


def _row(capability: tuple[int, int], n_bytes: int, width: int, *tiles: tuple[int, int, int, int]) -> TableRow:
    return TableRow(capability, n_bytes, width, TileSet(*(Tiles(*numbers) for numbers in tiles)))


# The first row that fits is used. Larger tiles reuse loaded data more, until accumulators spill from registers (255 per
# thread) or stages overflow shared memory (227 KiB on 9.0, 163 KiB on 8.0, 99 KiB on 8.6 and 8.9). The sizes follow
# from these limits; `benchmarks/tune_triton.py --compile` checks them.
TABLE = (
    #                  forward          query            key              slot
    _row((9, 0), 2, 64, (128, 64, 4, 3), (128, 64, 8, 3), (64, 128, 8, 3), (64, 16, 4, 2)),
    _row((9, 0), 2, 128, (128, 64, 8, 3), (128, 64, 8, 2), (64, 128, 8, 2), (64, 16, 4, 2)),
    _row((9, 0), 2, 256, (64, 64, 8, 2), (64, 64, 8, 2), (64, 64, 8, 2), (32, 16, 4, 2)),
    _row((8, 0), 2, 64, (128, 64, 4, 3), (64, 64, 4, 3), (64, 64, 4, 3), (64, 16, 4, 2)),
    _row((8, 0), 2, 128, (128, 32, 4, 2), (64, 32, 4, 2), (32, 64, 4, 2), (32, 16, 4, 2)),
    _row((8, 0), 2, 256, (64, 32, 4, 1), (32, 32, 4, 1), (32, 32, 4, 1), (16, 16, 4, 1)),
    _row((0, 0), 4, 64, (64, 32, 4, 2), (32, 32, 4, 2), (32, 32, 4, 2), (32, 16, 4, 1)),
    _row((0, 0), 4, 128, (32, 32, 4, 2), (32, 32, 4, 1), (32, 32, 4, 1), (16, 16, 4, 1)),
    _row((0, 0), 4, 256, (16, 16, 4, 1), (16, 16, 4, 1), (16, 16, 4, 1), (16, 16, 4, 1)),
    _row((0, 0), 2, 256, (64, 32, 4, 1), (32, 32, 4, 1), (32, 32, 4, 1), (16, 16, 4, 1)),
)


def tiles_for(capability: tuple[int, int], dtype: torch.dtype, padded_width: int) -> TileSet:
    """The tiles for a device, a dtype and a head width that is padded to a power of two."""
    if capability[0] == 12:
        # These have the shared memory of 8.9.
        capability = (8, 9)
    for row in TABLE:
        if capability >= row.capability and dtype.itemsize == row.n_bytes and padded_width <= row.width:
            return row.tiles
    raise AssertionError(f"no row for {dtype} and width {padded_width}; reason_against_triton should have said so")
