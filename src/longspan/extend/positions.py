"""Makes position rows for a longer model (C: model width)."""

from typing import Literal, get_args

import torch
from torch import Tensor

from longspan.errors import InputError

Positions = Literal["copy", "interpolate", "random"]


def require_positions(positions: str) -> None:
    """Raise an InputError unless `positions` is "copy", "interpolate" or "random"."""
    if positions not in get_args(Positions):
        raise InputError(f"positions must be one of {', '.join(get_args(Positions))}, not {positions!r}")


def extend_positions(
    trained: Tensor,
    max_tokens: int,
    positions: Positions = "copy",
    *,
    initializer_range: float = 0.02,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Make `max_tokens` position rows from the trained rows.

    - `copy` repeats them: row p is trained row p mod n (Beltagy et al. 2020, section 5); any length is possible.
    - `interpolate` stretches them: row p is interpolated at p * (n - 1) / (max_tokens - 1). Short inputs then read
      other rows than before.
    - `random` keeps the trained rows and draws the rows after them from N(0, `initializer_range`^2), the paper's
      control in Table 5.

    Args:
        trained: [n, C] rows of positions 0 .. n - 1, without reserved rows.
        max_tokens: number of rows to make, at least n.
        positions: one of the three ways.
        initializer_range: standard deviation of random rows.
        generator: generator of random rows; None: torch's default.

    Returns:
        [max_tokens, C] in new storage, in the dtype and on the device of `trained`.
    """
    n = trained.shape[0]
    if positions == "copy":
        return trained[torch.arange(max_tokens, device=trained.device) % n]
    if positions == "random":
        new = torch.randn(max_tokens - n, trained.shape[1], generator=generator) * initializer_range
        return torch.cat([trained, new.to(trained)])
    place = torch.linspace(0, n - 1, max_tokens, dtype=torch.float64, device=trained.device)
    below = place.floor().long().clamp(max=max(n - 2, 0))
    above = (below + 1).clamp(max=n - 1)
    share = (place - below).unsqueeze(1)
    rows = trained.double()
    return (rows[below] * (1 - share) + rows[above] * share).to(trained.dtype)
