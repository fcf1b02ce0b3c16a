"""Who sees whom: the one definition that kernels, plots, tests and cost estimates derive from.

No torch here: `visible` is written with operators alone, so that it takes Python integers, NumPy arrays, torch
tensors, and the traced indices of FlexAttention and JAX alike.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from longspan.errors import InputError


@dataclass(frozen=True)
class AttentionPattern:
    """Which query may look at which key, by position (Beltagy et al. 2020, "Longformer", section 3.1).

    A query at position i sees the key at position j where j lies within `left` steps before or `right` steps after
    i, a step being `dilation` positions long; where j is one of the first `n_global` positions (a static global
    token, which in turn sees everything); and where i == j. With `causal`, no query sees a later position, be it in
    the window, a global column or a global row.

    Attributes:
        left: visible steps before the query, the query itself not counted.
        right: visible steps after it; 0 when causal.
        dilation: positions per step, one for all heads or one per head (1: no gaps).
        causal: nobody sees a later position.
        n_global: the first so many positions are global in every row.

    Raises:
        InputError: a negative reach or count, a dilation below 1, a causal pattern with `right` above 0.
    """

    left: int
    right: int
    dilation: int | tuple[int, ...] = 1
    causal: bool = False
    n_global: int = 0

    def __post_init__(self) -> None:
        for name in ("left", "right", "n_global"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise InputError(f"AttentionPattern.{name} must be a whole number from 0, not {value!r}")
        if isinstance(self.dilation, list):
            object.__setattr__(self, "dilation", tuple(self.dilation))
        dilations = self.dilation if isinstance(self.dilation, tuple) else (self.dilation,)
        if not dilations or any(isinstance(d, bool) or not isinstance(d, int) or d < 1 for d in dilations):
            raise InputError(
                f"AttentionPattern.dilation must be a whole number from 1, or one for each head, not {self.dilation!r}"
            )
        if self.causal and self.right:
            raise InputError(
                f"a causal pattern sees nothing to the right: AttentionPattern.right must be 0, not {self.right}"
            )

    @classmethod
    def from_attention_window(
        cls,
        attention_window: int,
        *,
        dilation: int | tuple[int, ...] = 1,
        causal: bool = False,
        n_global: int = 0,
    ) -> "AttentionPattern":
        """Translate transformers' `attention_window` (even, both sides together); the one place that does.

        Raises:
            InputError: the window is odd, zero or negative.
        """
        if isinstance(attention_window, bool) or not isinstance(attention_window, int):
            raise InputError(f"attention_window must be a whole number, not {attention_window!r}")
        if attention_window <= 0 or attention_window % 2:
            raise InputError(
                f"attention_window counts both sides together and must be even and above 0, not {attention_window}"
            )
        side = attention_window // 2
        return cls(left=side, right=0 if causal else side, dilation=dilation, causal=causal, n_global=n_global)

    def dilation_of(self, head: int) -> int:
        """Positions per step of one attention head."""
        return self.dilation[head] if isinstance(self.dilation, tuple) else self.dilation

    def dilations(self, n_heads: int) -> tuple[int, ...]:
        """Positions per step of each of `n_heads` heads.

        Raises:
            InputError: the pattern names another number of heads.
        """
        if isinstance(self.dilation, int):
            return (self.dilation,) * n_heads
        if len(self.dilation) != n_heads:
            raise InputError(f"the pattern has dilations for {len(self.dilation)} heads, the tensors have {n_heads}")
        return self.dilation

    def visible(
        self,
        query: Any,
        key: Any,
        *,
        dilation: Any = 1,
        query_is_global: Any = False,
        key_is_global: Any = False,
    ) -> Any:
        """May the query at position `query` see the key at position `key`?

        Args:
            query: position or array of positions; broadcasts with `key`.
            key: position or array of positions.
            dilation: positions per step of the head in question (`dilation_of`), broadcasting like the positions.
            query_is_global: whether each query is a global token by a dynamic set, beside the static first ones.
            key_is_global: the same of each key.

        Returns:
            A boolean, or an array of booleans of the broadcast shape. Padding is not the pattern's business.
        """
        is_global = (query < self.n_global) | (key < self.n_global) | query_is_global | key_is_global
        seen = self.in_window(query, key, dilation=dilation) | is_global
        return seen & (key <= query) if self.causal else seen

    def in_window(self, query: Any, key: Any, *, dilation: Any = 1) -> Any:
        """Whether `key` lies in the window of `query`, global tokens aside; arguments as in `visible`."""
        distance = key - query
        near = (distance >= -self.left * dilation) & (distance <= self.right * dilation)
        return near & (distance % dilation == 0)

    def n_visible(self, n_tokens: int, n_heads: int = 1) -> int:
        """How many pairs of query and key are visible among `n_tokens` positions, summed over `n_heads` heads.

        This is what attention costs at least: each pair takes 2 D multiply-adds forward, and 5 D in the backward that
        recomputes scores. Counted query by query, without a [T x T] array; dynamic global tokens are not included.

        Raises:
            InputError: the pattern has dilations for another number of heads.
        """
        query = np.arange(n_tokens)
        n_first = min(self.n_global, n_tokens)
        total = 0
        for dilation in self.dilations(n_heads):
            before = np.minimum(self.left, query // dilation)
            after = np.minimum(self.right, (n_tokens - 1 - query) // dilation)
            # Of the window's keys before the query, those that are global are counted as such.
            both = np.maximum(0, before - (query - n_first) // dilation)
            of_local = before + 1 + after + n_first - both
            of_global = query + 1 if self.causal else np.full_like(query, n_tokens)
            total += int(np.where(query < n_first, of_global, of_local).sum())
        return total

    def draw(self, n_tokens: int, *, head: int = 0, path: str | Path | None = None) -> str:
        """The pattern among `n_tokens` positions as text: ■ in the window, ○ through a global token, · not seen.

        One line is one query, one sign one key.

        Args:
            n_tokens: how many positions to draw.
            head: whose dilation to draw.
            path: also write a picture (PNG) there.

        Raises:
            InputError: no tokens, or the path cannot be written.
        """
        from longspan.report.pattern_picture import as_text, save_picture

        if path is not None:
            save_picture({"": self}, n_tokens, path, head)
        return as_text(self, n_tokens, head)
