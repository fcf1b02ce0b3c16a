"""Which query sees which key: the one definition that kernels, plots, tests and cost estimates derive from.

There is no torch here. `visible` uses operators only, so that it takes Python integers, NumPy arrays, torch tensors,
and the traced indices of FlexAttention and JAX.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from longspan.errors import InputError


@dataclass(frozen=True)
class AttentionPattern:
    """Which query sees which key, by position (Beltagy et al. 2020, "Longformer", section 3.1).

    A query at position i sees the key at position j in three cases: i == j; j is at most `left` steps before or `right`
    steps after i, where a step is `dilation` positions; i or j is one of the first `n_global` positions (a static
    global token). With `causal`, no query sees a later position, whether in the window, a global column or a global
    row.

    Attributes:
        left: visible steps before the query, not counting the query.
        right: visible steps after the query; 0 when causal.
        dilation: positions per step, one for all heads or one per head (1: no gaps).
        causal: whether later positions are hidden.
        n_global: number of positions at the start of every row that are global.

    Raises:
        InputError: `left`, `right` or `n_global` is negative, `dilation` is below 1, or `right` is above 0 with
            `causal`.
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
        """The pattern of transformers' `attention_window`, which is even and counts both sides together.

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
        """The dilation of one attention head."""
        return self.dilation[head] if isinstance(self.dilation, tuple) else self.dilation

    def dilations(self, n_heads: int) -> tuple[int, ...]:
        """The dilation of each of `n_heads` heads.

        Raises:
            InputError: the pattern has dilations for another number of heads.
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
        """Whether the query at position `query` sees the key at position `key`.

        Args:
            query: position or array of positions; broadcasts with `key`.
            key: position or array of positions.
            dilation: dilation of the head (`dilation_of`); broadcasts with the positions.
            query_is_global: whether the query is in the dynamic set of global tokens; broadcasts with `query`.
            key_is_global: the same for the key.

        Returns:
            A boolean, or an array of booleans of the broadcast shape. The pattern does not know about padding.
        """
        is_global = (query < self.n_global) | (key < self.n_global) | query_is_global | key_is_global
        seen = self.in_window(query, key, dilation=dilation) | is_global
        return seen & (key <= query) if self.causal else seen

    def in_window(self, query: Any, key: Any, *, dilation: Any = 1) -> Any:
        """Whether `key` is in the window of `query`, regardless of global tokens; arguments as in `visible`."""
        distance = key - query
        near = (distance >= -self.left * dilation) & (distance <= self.right * dilation)
        return near & (distance % dilation == 0)

    def n_visible(self, n_tokens: int, n_heads: int = 1) -> int:
        """The number of visible pairs of query and key among `n_tokens` positions, summed over `n_heads` heads.

        It is a lower bound of the cost: each pair takes 2 D multiply-adds forward, and 5 D in a backward that
        recomputes scores. Pairs are counted per query, without a [T x T] array. Dynamic global tokens are not included.

        Raises:
            InputError: the pattern has dilations for another number of heads.
        """
        query = np.arange(n_tokens)
        n_first = min(self.n_global, n_tokens)
        total = 0
        for dilation in self.dilations(n_heads):
            before = np.minimum(self.left, query // dilation)
            after = np.minimum(self.right, (n_tokens - 1 - query) // dilation)
            # The window's keys before the query that are global are counted as global.
            both = np.maximum(0, before - (query - n_first) // dilation)
            of_local = before + 1 + after + n_first - both
            of_global = query + 1 if self.causal else np.full_like(query, n_tokens)
            total += int(np.where(query < n_first, of_global, of_local).sum())
        return total

    def as_array(self, n_tokens: int, *, head: int = 0) -> np.ndarray:
        """How each query (row) sees each key (column), int64 [n_tokens, n_tokens].

        0 means not visible, 1 visible in the window, 2 visible through a global token only.

        Args:
            n_tokens: number of positions.
            head: the head whose dilation is used.

        Raises:
            InputError: `n_tokens` is below 1.
        """
        if n_tokens < 1:
            raise InputError(f"a pattern is drawn for at least one token, not {n_tokens}")
        query, key, dilation = np.arange(n_tokens)[:, None], np.arange(n_tokens), self.dilation_of(head)
        visible = self.visible(query, key, dilation=dilation)
        in_window = visible & self.in_window(query, key, dilation=dilation)
        return np.where(in_window, 1, np.where(visible, 2, 0))

    def draw(self, n_tokens: int, *, head: int = 0) -> str:
        """The pattern as text: one line per query, with ■ in the window, ○ through a global token, · not visible.

        `longspan.report.pattern_picture` draws `as_array` as a picture.

        Args:
            n_tokens: number of positions.
            head: the head whose dilation is drawn.

        Raises:
            InputError: `n_tokens` is below 1.
        """
        return "\n".join(" ".join(row) for row in np.array(["·", "■", "○"])[self.as_array(n_tokens, head=head)])
