"""Pictures of attention patterns: which query sees which key, as squares."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from longspan.errors import InputError
from longspan.files import replace_file

_COLOURS = ("#eef1f5", "#2f6f9f", "#e0963a")
_MEANINGS = ("not visible", "visible in the window", "visible through a global token")


def save_pattern_picture(patterns: Mapping[str, np.ndarray], path: str | Path) -> Path:
    """Draw patterns side by side into the PNG file `path`; returns the path.

    Args:
        patterns: title -> what `AttentionPattern.as_array` returns, [n_tokens, n_tokens].
        path: file to write.

    Raises:
        InputError: there is no pattern, or the path cannot be written.
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
    for axes, (title, pattern) in zip(
        figure.subplots(1, len(patterns), squeeze=False)[0], patterns.items(), strict=True
    ):
        axes.pcolormesh(pattern, cmap=ListedColormap(_COLOURS), vmin=0, vmax=2, edgecolors="white", linewidth=0.8)
        axes.set(aspect="equal", title=title, xlabel="key", xticks=[], yticks=[])
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
