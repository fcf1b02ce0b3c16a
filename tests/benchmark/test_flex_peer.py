"""The list of blocks covers every visible pair, and marks only full blocks as full."""

import numpy as np
import pytest

from longspan.attention import AttentionPattern
from longspan.benchmark.flex_peer import BLOCK, block_kinds


@pytest.mark.parametrize(
    "pattern",
    [
        AttentionPattern(200, 200),
        AttentionPattern(130, 5, n_global=3),
        AttentionPattern(600, 0, causal=True, n_global=130),
        AttentionPattern(40, 40, dilation=7),
        AttentionPattern(0, 0),
    ],
)
@pytest.mark.parametrize("n_tokens", [100, 512, 1000])
def test_blocks_are_what_the_pattern_says(pattern, n_tokens):
    position = np.arange(n_tokens)
    visible = pattern.visible(position[:, None], position, dilation=pattern.dilation_of(0))
    kinds = block_kinds(pattern, pattern.dilation_of(0), n_tokens)
    for i in range(kinds.shape[0]):
        for j in range(kinds.shape[1]):
            block = visible[i * BLOCK : (i + 1) * BLOCK, j * BLOCK : (j + 1) * BLOCK]
            assert kinds[i, j] > 0 or not block.any()
            assert kinds[i, j] < 2 or block.all()
    # Nothing is gained if everything is called partial.
    if pattern.left == 600:
        assert n_tokens < 512 or (kinds == 2).any()
