"""Sums of the losses of masked tokens, as nats, bits per token and bits per character."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass
class LossSums:
    """Sums over the predicted tokens.

    Attributes:
        n_positions: largest number of tokens of an input.
        n_tokens, nats, n_characters: number of tokens, sum of their losses, number of characters they stand for.
        tokens_at, nats_at: tokens and losses by position in the input, float64 [n_positions].
    """

    n_positions: int
    n_tokens: int = 0
    nats: float = 0.0
    n_characters: int = 0
    tokens_at: NDArray[np.float64] = field(init=False)
    nats_at: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        self.tokens_at = np.zeros(self.n_positions)
        self.nats_at = np.zeros(self.n_positions)

    def add(self, nats: NDArray[np.floating], positions: NDArray[np.integer], characters: NDArray[np.integer]) -> None:
        """Add N tokens with their losses, positions and numbers of characters, [N] each."""
        self.n_tokens += len(nats)
        self.nats += float(nats.sum(dtype=np.float64))
        self.n_characters += int(characters.sum())
        np.add.at(self.tokens_at, positions, 1)
        np.add.at(self.nats_at, positions, nats)

    def merge(self, other: "LossSums") -> None:
        """Add the sums of `other`, which has the same `n_positions`."""
        self.n_tokens += other.n_tokens
        self.nats += other.nats
        self.n_characters += other.n_characters
        self.tokens_at += other.tokens_at
        self.nats_at += other.nats_at

    @property
    def loss(self) -> float:
        """Mean loss in nats; NaN if there are no tokens."""
        return self.nats / self.n_tokens if self.n_tokens else math.nan

    @property
    def bits_per_token(self) -> float:
        """Mean loss over ln 2, called BPC by Beltagy et al. 2020."""
        return self.loss / math.log(2)

    @property
    def bits_per_character(self) -> float | None:
        """Bits of the predicted tokens over their number of characters; None if that is unknown."""
        return self.nats / math.log(2) / self.n_characters if self.n_characters else None

    def loss_by_position(self, n_ranges: int = 8) -> dict[str, float]:
        """Mean loss in `n_ranges` equal ranges of positions, "0-511" -> nats; ranges without tokens are left out."""
        edges = np.linspace(0, self.n_positions, min(n_ranges, self.n_positions) + 1).astype(int)
        found = {}
        for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            if (n := self.tokens_at[start:stop].sum()) > 0:
                found[f"{start}-{stop - 1}"] = float(self.nats_at[start:stop].sum() / n)
        return found
