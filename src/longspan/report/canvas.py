"""Figures as SVG elements whose text and lines take the page's colours, so that they fit a light and a dark page.

Text stays text, drawn by the reader's browser: no font has to be at hand where the report is made.
"""

import io
import math
import re
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Distinguishable for colour-blind readers (Paul Tol's "bright"), on white and on near-black.
PALETTE = ("#4477aa", "#ee6677", "#228833", "#ccaa33", "#aa3377", "#33aabb", "#999999")
MARKERS = "osD^vPX"
# Largest number of distinguishable lines or bars in one plot; more are split into several plots.
MOST_SERIES = 6

# Of a legend, at its size in most fonts that a browser takes.
_POINTS_A_LETTER, _LETTERS_OF_A_HANDLE = 4.9, 6
_LINE_OF_A_LEGEND = 0.17  # inches

# Colours that stand for the page's own; replaced in the finished SVG.
INK, RULE = "#010203", "#040506"
SETTINGS: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": RULE,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "savefig.transparent": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "longspan",  # the same records give the same page
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": RULE,
    "xtick.labelcolor": INK,
    "ytick.color": RULE,
    "ytick.labelcolor": INK,
}

_Value = TypeVar("_Value")


def parted(series: Mapping[str, _Value], most: int = MOST_SERIES) -> list[dict[str, _Value]]:
    """Split the series into parts of nearly equal size that are distinguishable in one plot."""
    names = list(series)
    n_parts = math.ceil(len(names) / most)
    size = math.ceil(len(names) / max(n_parts, 1))
    return [{name: series[name] for name in names[i * size : (i + 1) * size]} for i in range(n_parts)]


def colour_order(names: Iterable[str], part: Iterable[str]) -> list[str]:
    """Names in the order of colours: of all plots that are seen together, or of one part where these are too many."""
    every = list(names)
    return every if len(every) <= len(PALETTE) else list(part)


@contextmanager
def drawn(width: float, height: float) -> Iterator[tuple[Figure, Axes, list[str]]]:
    """Yield a figure of the given size in inches and a list, which has its SVG element after the block."""
    result: list[str] = []
    # Settings and warning filters are restored afterwards. The browser draws glyphs that are missing here.
    with mpl.rc_context(SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font|Matplotlib currently does not support")
        figure = Figure(figsize=(width, height))
        FigureCanvasSVG(figure)
        yield figure, figure.add_subplot(), result
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    result.append(_for_page(buffer.getvalue()))


def _for_page(svg: str) -> str:
    """Extract the SVG element, with the page's colours and font and unique ids."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg [^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg [^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = svg.replace(INK, "var(--ink)").replace(RULE, "var(--rule)")
    # Group names (figure_1, axes_1) would occur several times on one page.
    return re.sub(r'<g id="[^"]*">', "<g>", svg)


def legend(figure: Figure, axes: Axes) -> None:
    """Draw the legend above the plot, in as many columns as fit; nothing for a single line without a name."""
    handles, labels = axes.get_legend_handles_labels()
    if not handles or (len(handles) == 1 and labels[0].startswith("_")):
        return
    points = 72 * figure.get_figwidth()
    most = max(int(points / _POINTS_A_LETTER) - _LETTERS_OF_A_HANDLE, 10)
    labels = ["\n".join(textwrap.wrap(label, most)) for label in labels]
    longest = max(len(line) for label in labels for line in label.split("\n"))
    n_columns = max(1, min(int(points / (_POINTS_A_LETTER * (longest + _LETTERS_OF_A_HANDLE))), 3))
    # What many names take above is not taken from the plot.
    n_lines = math.ceil(sum(label.count("\n") + 1 for label in labels) / n_columns)
    figure.set_figheight(figure.get_figheight() + _LINE_OF_A_LEGEND * max(n_lines - 2, 0))
    figure.legend(
        handles,
        labels,
        loc="outside upper left",
        ncols=n_columns,
        columnspacing=1.2,
        handlelength=1.6,
    )


def columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Convert points to matplotlib's lists of x and y."""
    return [x for x, _ in points], [y for _, y in points]


def colour(index: int) -> str:
    """Of the series with this number."""
    return PALETTE[index % len(PALETTE)]


def marker(index: int) -> str:
    """Of the series with this number; another one where a colour comes again."""
    return MARKERS[(index + index // len(PALETTE)) % len(MARKERS)]
