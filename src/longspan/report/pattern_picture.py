"""Pictures of patterns, as text and as PNG, read off `AttentionPattern.visible`.

`python -m longspan.report.pattern_picture docs/images/patterns.png` draws the four panels of the documentation: those of
Figure 2 of Beltagy et al. 2020, "Longformer".
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from longspan.attention.pattern import AttentionPattern
from longspan.errors import InputError
from longspan.files import replace_file

_UNSEEN, _WINDOW, _GLOBAL = 0, 1, 2
_SIGNS = np.array(["·", "■", "○"])
_COLOURS = ("#eef1f5", "#2f6f9f", "#e0963a")
_MEANINGS = ("not seen", "seen in the window", "seen through a global token")


def cells(pattern: AttentionPattern, n_tokens: int, head: int = 0) -> np.ndarray:
    """What each query (row) sees of each key (column) [n_tokens, n_tokens]: 0 nothing, 1 window, 2 global only.

    Raises:
        InputError: no tokens.
    """
    if n_tokens < 1:
        raise InputError(f"a pattern is drawn for at least one token, not {n_tokens}")
    query, key, dilation = np.arange(n_tokens)[:, None], np.arange(n_tokens), pattern.dilation_of(head)
    seen = pattern.visible(query, key, dilation=dilation)
    in_window = seen & pattern.in_window(query, key, dilation=dilation)
    return np.where(in_window, _WINDOW, np.where(seen, _GLOBAL, _UNSEEN))


def as_text(pattern: AttentionPattern, n_tokens: int, head: int = 0) -> str:
    """One line a query, one sign a key: ■ in the window, ○ through a global token, · not seen."""
    return "\n".join(" ".join(row) for row in _SIGNS[cells(pattern, n_tokens, head)])


def save_picture(patterns: Mapping[str, AttentionPattern], n_tokens: int, path: str | Path, head: int = 0) -> Path:
    """Draw the named patterns side by side into the PNG file `path`; returns the path.

    Raises:
        InputError: no tokens, no pattern, or the path cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    if not patterns:
        raise InputError("there is no pattern to draw; give at least one")
    path = Path(path)
    figure = Figure(figsize=(3.1 * len(patterns) + 0.4, 4.1), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, pattern) in zip(
        figure.subplots(1, len(patterns), squeeze=False)[0], patterns.items(), strict=True
    ):
        picture = cells(pattern, n_tokens, head)
        axes.pcolormesh(picture, cmap=ListedColormap(_COLOURS), vmin=0, vmax=2, edgecolors="white", linewidth=0.8)
        axes.set(aspect="equal", title=name, xlabel="key", xticks=[], yticks=[])
        axes.invert_yaxis()
        axes.spines[:].set_visible(False)
    figure.axes[0].set_ylabel("query")
    figure.legend(
        handles=[Patch(color=colour, label=meaning) for colour, meaning in zip(_COLOURS, _MEANINGS, strict=True)],
        loc="outside lower center",
        ncols=3,
        frameon=False,
    )
    with replace_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130)
    return path


def figure_2() -> dict[str, AttentionPattern]:
    """The four patterns of the paper's Figure 2, for 24 tokens."""
    return {
        "full attention": AttentionPattern(23, 23),
        "sliding window": AttentionPattern(3, 3),
        "dilated sliding window": AttentionPattern(3, 3, dilation=2),
        "global + sliding window": AttentionPattern(3, 3, n_global=2),
    }


if __name__ == "__main__":
    save_picture(figure_2(), 24, sys.argv[1] if len(sys.argv) > 1 else "patterns.png")
