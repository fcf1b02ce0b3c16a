"""FlexAttention as a user would write it: the pattern as a compiled mask function, without hidden blocks.

The list of blocks is computed from the pattern; a [T x T] mask would not fit at the longer lengths.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from longspan.attention import AttentionPattern

BLOCK = 128


def block_mask(pattern: AttentionPattern, n_heads: int, n_tokens: int, device: str) -> Any:
    """FlexAttention's `BlockMask` of `pattern` for any number of rows."""
    from torch.nn.attention.flex_attention import BlockMask

    dilations = pattern.dilations(n_heads)
    by_head = len(set(dilations)) > 1
    dilation_H = torch.tensor(dilations, device=device)
    alone = dilations[0]

    def sees(b: Tensor, h: Tensor, q: Tensor, kv: Tensor) -> Tensor:
        return pattern.visible(q, kv, dilation=dilation_H[h] if by_head else alone)

    heads = dilations if by_head else dilations[:1]
    kinds_HNN = np.stack([block_kinds(pattern, dilation, n_tokens) for dilation in heads])
    partial, full = (_ordered(kinds_HNN == kind, device) for kind in (1, 2))
    return BlockMask.from_kv_blocks(*partial, *full, BLOCK_SIZE=BLOCK, mask_mod=sees, seq_lengths=(n_tokens, n_tokens))


def block_kinds(pattern: AttentionPattern, dilation: int, n_tokens: int) -> np.ndarray:
    """What is visible in each query block and key block, [N, N]: 0 nothing, 1 perhaps something, 2 everything."""
    n_blocks = math.ceil(n_tokens / BLOCK)
    start = BLOCK * np.arange(n_blocks)
    end = np.minimum(start + BLOCK, n_tokens) - 1
    # The range of distances key - query between two blocks.
    low = start[None, :] - end[:, None]
    high = end[None, :] - start[:, None]
    left, right = pattern.left * dilation, pattern.right * dilation
    some = (high >= -left) & (low <= right)
    every = (low >= -left) & (high <= right) & (dilation == 1)
    n_first = min(pattern.n_global, n_tokens)
    if n_first:
        some |= (start < n_first)[:, None] | (start < n_first)[None, :]
        every |= (end < n_first)[:, None] | (end < n_first)[None, :]
    if pattern.causal:
        some &= low <= 0
        every &= high <= 0
    # A shorter last block has keys beyond the end, which only the mask function hides.
    is_whole = (end - start + 1) == BLOCK
    every &= is_whole[:, None] & is_whole[None, :]
    return np.where(every, 2, some.astype(np.int8))


def _ordered(chosen_HNN: np.ndarray, device: str) -> tuple[Tensor, Tensor]:
    """The number of chosen key blocks of each query block, and all key blocks with the chosen ones first."""
    number = chosen_HNN.sum(-1).astype(np.int32)
    index = np.argsort(~chosen_HNN, axis=-1, kind="stable").astype(np.int32)
    return torch.from_numpy(number)[None].to(device), torch.from_numpy(index)[None].to(device)
