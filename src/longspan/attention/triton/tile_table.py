"""How many queries and keys the tiles have, and how many warps and stages: a table, picked without trying anything.

`benchmarks/tune_triton.py` measures alternatives on the GPU at hand and prints the lines to put here.
"""

from typing import NamedTuple

import torch


class Tiles(NamedTuple):
    """One kernel's launch: queries and keys of a tile, warps of a program, stages of its pipeline."""

    queries: int
    keys: int
    n_warps: int
    n_stages: int


class Configuration(NamedTuple):
    """The launches of the four kernels."""

    forward: Tiles
    query: Tiles
    key: Tiles
    slot: Tiles


class Line(NamedTuple):
    """What holds from a capability of the device on, for one size of numbers, up to a padded width of head."""

    capability: tuple[int, int]
    n_bytes: int
    width: int
    tiles: Configuration


def _line(capability: tuple[int, int], n_bytes: int, width: int, *tiles: tuple[int, int, int, int]) -> Line:
    return Line(capability, n_bytes, width, Configuration(*(Tiles(*numbers) for numbers in tiles)))


# The first line that fits is taken. Larger tiles reuse more of what was loaded, until accumulators spill from registers
# (255 a thread) or stages overflow shared memory (227 KiB on 9.0, 163 KiB on 8.0, 99 KiB on 8.6 and 8.9). Reasoned, and
# held against these limits by `benchmarks/tune_triton.py --compile`.
TABLE = (
    #                  forward          query            key              slot
    _line((9, 0), 2, 64, (128, 64, 4, 3), (128, 64, 8, 3), (64, 128, 8, 3), (64, 16, 4, 2)),
    _line((9, 0), 2, 128, (128, 64, 8, 3), (128, 64, 8, 2), (64, 128, 8, 2), (64, 16, 4, 2)),
    _line((9, 0), 2, 256, (64, 64, 8, 2), (64, 64, 8, 2), (64, 64, 8, 2), (32, 16, 4, 2)),
    _line((8, 0), 2, 64, (128, 64, 4, 3), (64, 64, 4, 3), (64, 64, 4, 3), (64, 16, 4, 2)),
    _line((8, 0), 2, 128, (128, 32, 4, 2), (64, 32, 4, 2), (32, 64, 4, 2), (32, 16, 4, 2)),
    _line((8, 0), 2, 256, (64, 32, 4, 1), (32, 32, 4, 1), (32, 32, 4, 1), (16, 16, 4, 1)),
    _line((0, 0), 4, 64, (64, 32, 4, 2), (32, 32, 4, 2), (32, 32, 4, 2), (32, 16, 4, 1)),
    _line((0, 0), 4, 128, (32, 32, 4, 2), (32, 32, 4, 1), (32, 32, 4, 1), (16, 16, 4, 1)),
    _line((0, 0), 4, 256, (16, 16, 4, 1), (16, 16, 4, 1), (16, 16, 4, 1), (16, 16, 4, 1)),
    _line((0, 0), 2, 256, (64, 32, 4, 1), (32, 32, 4, 1), (32, 32, 4, 1), (16, 16, 4, 1)),
)


def configuration_for(capability: tuple[int, int], dtype: torch.dtype, padded_width: int) -> Configuration:
    """The line for a device, a dtype and a width of head, padded to a power of two."""
    if capability[0] == 12:
        # The shared memory of these is that of 8.9.
        capability = (8, 9)
    for line in TABLE:
        if capability >= line.capability and dtype.itemsize == line.n_bytes and padded_width <= line.width:
            return line.tiles
    raise AssertionError(f"no line for {dtype} and width {padded_width}; reason_against_triton should have said so")
