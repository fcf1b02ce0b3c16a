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


# By capability of the device, bytes of a number, and the padded width up to which the line holds; the first that fits
# is taken. Larger tiles reuse more of what was loaded, until accumulators spill from registers or stages overflow
# shared memory (227 KiB on 9.0, 163 KiB on 8.0, 99 KiB on 8.6 and 8.9). tests/attention/test_triton.py compiles every
# line for its device and holds registers and shared memory against these limits.
TABLE: tuple[tuple[tuple[int, int], int, int, Configuration], ...] = (
    ((9, 0), 2, 64, Configuration(Tiles(128, 64, 4, 3), Tiles(128, 64, 8, 3), Tiles(64, 128, 8, 3), Tiles(64, 16, 4, 2))),
    ((9, 0), 2, 128, Configuration(Tiles(128, 64, 8, 3), Tiles(128, 64, 8, 2), Tiles(64, 128, 8, 2), Tiles(64, 16, 4, 2))),
    ((9, 0), 2, 256, Configuration(Tiles(64, 64, 8, 2), Tiles(64, 64, 8, 2), Tiles(64, 64, 8, 2), Tiles(32, 16, 4, 2))),
    ((8, 0), 2, 64, Configuration(Tiles(128, 64, 4, 3), Tiles(64, 64, 4, 3), Tiles(64, 64, 4, 3), Tiles(64, 16, 4, 2))),
    ((8, 0), 2, 128, Configuration(Tiles(128, 32, 4, 2), Tiles(64, 32, 4, 2), Tiles(32, 64, 4, 2), Tiles(32, 16, 4, 2))),
    ((8, 0), 2, 256, Configuration(Tiles(64, 32, 4, 1), Tiles(32, 32, 4, 1), Tiles(32, 32, 4, 1), Tiles(16, 16, 4, 1))),
    ((0, 0), 4, 64, Configuration(Tiles(64, 32, 4, 2), Tiles(32, 32, 4, 2), Tiles(32, 32, 4, 2), Tiles(32, 16, 4, 1))),
    ((0, 0), 4, 128, Configuration(Tiles(32, 32, 4, 2), Tiles(32, 32, 4, 1), Tiles(32, 32, 4, 1), Tiles(16, 16, 4, 1))),
    ((0, 0), 4, 256, Configuration(Tiles(16, 16, 4, 1), Tiles(16, 16, 4, 1), Tiles(16, 16, 4, 1), Tiles(16, 16, 4, 1))),
    ((0, 0), 2, 256, Configuration(Tiles(64, 32, 4, 1), Tiles(32, 32, 4, 1), Tiles(32, 32, 4, 1), Tiles(16, 16, 4, 1))),
)  # fmt: skip


def configuration_for(capability: tuple[int, int], dtype: torch.dtype, padded_width: int) -> Configuration:
    """The line for a device, a dtype and a width of head, padded to a power of two."""
    for least, n_bytes, width, configuration in TABLE:
        if capability >= least and dtype.itemsize == n_bytes and padded_width <= width:
            return configuration
    raise AssertionError(f"no line for {dtype} and width {padded_width}; reason_against_triton should have said so")
