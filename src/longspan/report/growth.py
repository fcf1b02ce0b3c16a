"""Plots of cost against length, for the page and as a picture file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from longspan.files import replace_file
from longspan.report.canvas import INK, RULE, SETTINGS, colour, columns, drawn, legend, marker

Series = Mapping[str, Sequence[tuple[float, float]]]
"""Name of a line -> its points (x, y)."""


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
            x, y = columns(points)
            is_leader = name == self.leader
            axes.plot(
                x,
                y,
                marker=marker(index),
                markersize=5 if is_leader else 4,
                linewidth=2.6 if is_leader else 1.5,
                linestyle="--" if name in self.beside else "-",
                zorder=3 if is_leader else 2,
                label=name,
                color=colour(index),
            )
            if self.bands and len(x) > 1:
                low, high = columns(self.bands[name])
                axes.fill_between(x, low, high, alpha=0.18, linewidth=0, color=colour(index))
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
    with drawn(4.1, 3.2) as (figure, axes, result):
        plot.draw(axes)
        legend(figure, axes)
    return result[0]


@dataclass(frozen=True)
class Ratios:
    """Grouped bars around 1 on a logarithmic axis: ratios to longspan.

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
            own = list(self.order).index(name)
            heights = [value - 1 for _, value in known]
            axes.bar(middles, heights, width * 0.92, bottom=1, label=name, color=colour(own))
            for middle, (_, value) in zip(middles, known, strict=True):
                place, text = ("bottom", f"{value:.1f}") if value >= 1 else ("top", f"{value:.2f}")
                axes.annotate(text, (middle, value), (0, 2 if value >= 1 else -2), textcoords="offset points",
                              ha="center", va=place, fontsize=6.5)  # fmt: skip
        axes.set_yscale("log")
        axes.axhline(1, color=RULE, linewidth=1)
        axes.margins(y=0.12)
        axes.set_xticks(range(len(self.groups)), self.groups)
        axes.tick_params(axis="x", length=0)
        axes.grid(axis="x", visible=False)
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        axes.set_xlabel(self.x_label)
        axes.set_ylabel(self.y_label)


def ratios(plot: Ratios) -> str:
    """Return the plot of ratios to longspan."""
    with drawn(7.6, 3.0) as (figure, axes, result):
        plot.draw(axes)
        legend(figure, axes)
    return result[0]


def save_picture(plots: Sequence[Growth | Ratios], path: str | Path, title: str) -> Path:
    """Save plots side by side as one picture on white, PNG or SVG by the name, with a common legend.

    Raises:
        InputError: the path cannot be written.
    """
    path = Path(path)
    settings = {**SETTINGS, "savefig.transparent": False, "text.color": "#1d2127"}
    for name, value in settings.items():
        if value in (INK, RULE):
            settings[name] = "#1d2127" if value == INK else "#c3c9d0"
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
    """Settings that remove metadata which differs between drawings."""
    return {"Date": None} if path.suffix == ".svg" else {"Software": None}
