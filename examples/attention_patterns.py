"""Draw four attention patterns, then compute attention with one of them.

Example:
  python examples/attention_patterns.py
"""

import torch

from longspan.attention import AttentionPattern, attend

PATTERNS = {
    "sliding window": AttentionPattern(left=2, right=2),
    "dilated": AttentionPattern(left=2, right=2, dilation=2),
    "causal": AttentionPattern(left=4, right=0, causal=True),
    "window and one global token": AttentionPattern(left=2, right=2, n_global=1),
}


def main() -> None:
    """Draw the patterns, then show which outputs change when one token changes."""
    for name, pattern in PATTERNS.items():
        print(f"{name}\n{pattern.draw(16)}\n")

    torch.manual_seed(0)
    q, k, v = torch.randn(3, 1, 2, 2000, 16)  # [rows, heads, tokens, width], for each of q, k, v
    pattern = PATTERNS["window and one global token"]
    before = attend(q, k, v, pattern)
    v[:, :, 1000] += 1.0
    moved = (attend(q, k, v, pattern) - before).abs().amax(dim=(0, 1, 3)) > 0
    print("changing token 1000 moves the output of tokens", moved.nonzero().flatten().tolist())


if __name__ == "__main__":
    main()
