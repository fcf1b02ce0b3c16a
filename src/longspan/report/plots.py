"""Plots as SVG elements whose text and lines take the page's colours, so that they fit a light and a dark page.

Text stays text, drawn by the reader's browser: no font has to be at hand where the report is made.
"""

import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from longspan.files import replace_file

# Distinguishable by colour-blind readers (Paul Tol's "bright"), and on white as on near-black.
PALETTE = ("#4477aa", "#ee6677", "#228833", "#ccaa33", "#aa3377", "#33aabb", "#999999")
MARKERS = "osD^vPX"

# Colours that stand for the page's own; replaced in the finished SVG.
_INK, _RULE = "#010203", "#040506"
_SETTINGS: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": _RULE,
    "axes.grid": True,
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": _RULE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "savefig.transparent": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "longspan",  # the same records give the same page
    "text.color": _INK,
    "text.parse_math": False,
    "xtick.color": _RULE,
    "xtick.labelcolor": _INK,
    "ytick.color": _RULE,
    "ytick.labelcolor": _INK,
}

Series = Mapping[str, Sequence[tuple[float, float]]]
"""Name of a line -> its points (x, y)."""


def bars(groups: Sequence[str], series: Mapping[str, Sequence[float | None]], *, x_label: str, y_label: str) -> str:
    """Grouped upright bars: one group for each name in `groups`, one bar in it for each series."""
    with _figure(7.6, 3.0) as (figure, axes, result):
        width = 0.84 / max(len(series), 1)
        for index, (name, values) in enumerate(series.items()):
            known = [(place, value) for place, value in enumerate(values) if value is not None]
            middles = [place - 0.42 + (index + 0.5) * width for place, _ in known]
            axes.bar(middles, [value for _, value in known], width * 0.92, label=name, color=_colour(index))
        axes.set_xticks(range(len(groups)), groups)
        axes.tick_params(axis="x", length=0)
        axes.grid(axis="x", visible=False)
        axes.set_ylim(bottom=0)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        _legend(figure, axes, n_columns=3)
    return result[0]


def lines(
    series: Series,
    *,
    x_label: str,
    y_label: str,
    x_ticks: Sequence[tuple[float, str]] | None = None,
    from_zero: bool = False,
    with_markers: bool = True,
) -> str:
    """One line for each series on plain axes; `x_ticks` are (place, label) where places have names."""
    with _figure(4.7, 3.1) as (figure, axes, result):
        for index, (name, points) in enumerate(series.items()):
            marker = _marker(index) if with_markers or len(points) < 3 else ""
            axes.plot(*_columns(points), marker=marker, markersize=4, linewidth=1.6, label=name, color=_colour(index))
        if x_ticks is not None:
            axes.set_xticks([place for place, _ in x_ticks], [label for _, label in x_ticks])
        else:
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        if from_zero:
            axes.set_ylim(bottom=0)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        _legend(figure, axes, n_columns=1 if max(map(len, series), default=0) > 24 else 2)
    return result[0]


@dataclass(frozen=True)
class Growth:
    """Cost against length, on logarithmic axes.

    Attributes:
        series: name of a line -> its points.
        bands: a line's lower and upper value at each of its points.
        leader: the line to be seen first.
        beside: lines that vary the leader, dashed.
        order: names in the order of colours, for plots that are seen together; that of `series` where empty.
    """

    series: Series
    x_label: str
    y_label: str
    bands: Mapping[str, Sequence[tuple[float, float]]] | None = None
    leader: str | None = None
    beside: Sequence[str] = ()
    order: Sequence[str] = ()

    def draw(self, axes: Axes) -> None:
        """Onto axes; names go to their legend."""
        order = list(self.order or self.series)
        for name, points in self.series.items():
            index = order.index(name)
            x, y = _columns(points)
            is_leader = name == self.leader
            axes.plot(
                x,
                y,
                marker=_marker(index),
                markersize=5 if is_leader else 4,
                linewidth=2.6 if is_leader else 1.5,
                linestyle="--" if name in self.beside else "-",
                zorder=3 if is_leader else 2,
                label=name,
                color=_colour(index),
            )
            if self.bands and len(x) > 1:
                low, high = _columns(self.bands[name])
                axes.fill_between(x, low, high, alpha=0.18, linewidth=0, color=_colour(index))
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        lengths = sorted({x for points in self.series.values() for x, _ in points})
        axes.xaxis.set_major_locator(FixedLocator(lengths))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{round(x):,}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        if len(lengths) > 5:
            axes.tick_params(axis="x", rotation=45)
        axes.set_xlabel(self.x_label)
        axes.set_ylabel(self.y_label)


def growth(plot: Growth) -> str:
    """Cost against length."""
    with _figure(4.7, 3.5) as (figure, axes, result):
        plot.draw(axes)
        _legend(figure, axes, n_columns=2)
    return result[0]


@dataclass(frozen=True)
class Ratios:
    """Grouped bars around 1 on a logarithmic axis: how many times as much as ours.

    Attributes:
        groups: names below the groups of bars.
        series: name -> its bar in each group.
        order: names in the order of colours, ours among them.
    """

    groups: Sequence[str]
    series: Mapping[str, Sequence[float | None]]
    x_label: str
    y_label: str
    order: Sequence[str]

    def draw(self, axes: Axes) -> None:
        """Onto axes; names go to their legend."""
        width = 0.84 / max(len(self.series), 1)
        for index, (name, values) in enumerate(self.series.items()):
            known = [(place, value) for place, value in enumerate(values) if value is not None]
            middles = [place - 0.42 + (index + 0.5) * width for place, _ in known]
            colour = list(self.order).index(name)
            heights = [value - 1 for _, value in known]
            axes.bar(middles, heights, width * 0.92, bottom=1, label=name, color=_colour(colour))
            for middle, (_, value) in zip(middles, known, strict=True):
                place, text = ("bottom", f"{value:.1f}") if value >= 1 else ("top", f"{value:.2f}")
                axes.annotate(text, (middle, value), (0, 2 if value >= 1 else -2), textcoords="offset points",
                              ha="center", va=place, fontsize=6.5)  # fmt: skip
        axes.set_yscale("log")
        axes.axhline(1, color=_RULE, linewidth=1)
        axes.margins(y=0.12)
        axes.set_xticks(range(len(self.groups)), self.groups)
        axes.tick_params(axis="x", length=0)
        axes.grid(axis="x", visible=False)
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        axes.set_xlabel(self.x_label)
        axes.set_ylabel(self.y_label)


def ratios(plot: Ratios) -> str:
    """How many times as much as ours."""
    with _figure(7.6, 3.0) as (figure, axes, result):
        plot.draw(axes)
        _legend(figure, axes, n_columns=3)
    return result[0]


def save_picture(plots: Sequence[Growth | Ratios], path: str | Path, title: str) -> Path:
    """Plots side by side as one picture on white, PNG or SVG by the name, with one legend for all.

    Raises:
        InputError: the path cannot be written.
    """
    path = Path(path)
    settings = {**_SETTINGS, "savefig.transparent": False, "text.color": "#1d2127"}
    for name, value in settings.items():
        if value in (_INK, _RULE):
            settings[name] = "#1d2127" if value == _INK else "#c3c9d0"
    with mpl.rc_context(settings):
        figure = Figure(figsize=(max(8.5, 4.9 * len(plots)), 4.2))
        FigureCanvasAgg(figure)
        named: dict[str, Any] = {}
        for place, plot in enumerate(plots):
            axes = figure.add_subplot(1, len(plots), place + 1)
            plot.draw(axes)
            handles, labels = axes.get_legend_handles_labels()
            named = dict(zip(labels, handles, strict=True)) | named
        figure.suptitle(title, x=0.01, ha="left", fontsize=10)
        figure.legend(
            list(named.values()), list(named), loc="outside lower left", ncols=3, columnspacing=1.4, handlelength=2.4
        )
        with replace_file(path) as temporary:
            figure.savefig(
                temporary, format=path.suffix.removeprefix("."), dpi=150, facecolor="white", metadata=_undated(path)
            )
    return path


def _undated(path: Path) -> dict[str, None]:
    """Metadata that would differ from one drawing to the next."""
    return {"Date": None} if path.suffix == ".svg" else {"Software": None}


@contextmanager
def _figure(width: float, height: float) -> Iterator[tuple[Figure, Axes, list[str]]]:
    """A figure of so many inches; when the block ends its SVG element is in the list."""
    result: list[str] = []
    # Settings and warning filters are put back on leaving. A glyph that is missing here is drawn by the browser.
    with mpl.rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font|Matplotlib currently does not support")
        figure = Figure(figsize=(width, height))
        FigureCanvasSVG(figure)
        yield figure, figure.add_subplot(), result
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    result.append(_for_page(buffer.getvalue()))


def _for_page(svg: str) -> str:
    """Only the SVG element, in the page's colours and font, with ids of its own."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg [^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg [^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = svg.replace(_INK, "var(--ink)").replace(_RULE, "var(--rule)")
    # Groups' names (figure_1, axes_1) would stand several times on one page.
    return re.sub(r'<g id="[^"]*">', "<g>", svg)


def _legend(figure: Figure, axes: Axes, *, n_columns: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if len(handles) > 1 or (handles and not labels[0].startswith("_")):
        figure.legend(handles, labels, loc="outside upper left", ncols=n_columns, columnspacing=1.2, handlelength=1.6)


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _colour(index: int) -> str:
    return PALETTE[index % len(PALETTE)]


def _marker(index: int) -> str:
    return MARKERS[index % len(MARKERS)]
