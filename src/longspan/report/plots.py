"""The page's plots of scores and losses: bars, lines, intervals, quality against cost."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from longspan.report.canvas import INK, RULE, colour, columns, drawn, legend, marker

# Inches; the letters of a wider figure would be too small at a phone's width.
_SMALL = (4.1, 2.9)
# Of the names of ticks under such a figure.
_LETTERS_SIDE_BY_SIDE = 45


class Bar(NamedTuple):
    """A bar's height, and its standard deviation if there are several seeds."""

    height: float
    deviation: float | None = None


def bars(groups: Sequence[str], series: Mapping[str, Sequence[Bar | None]], *, x_label: str, y_label: str) -> str:
    """Grouped vertical bars: one group per name in `groups`, with one bar per series."""
    with drawn(*((7.6, 3.0) if are_wide(groups, series) else _SMALL)) as (figure, axes, result):
        width = 0.84 / max(len(series), 1)
        for index, (name, values) in enumerate(series.items()):
            known = [(place - 0.42 + (index + 0.5) * width, bar) for place, bar in enumerate(values) if bar is not None]
            middles = [middle for middle, _ in known]
            axes.bar(middles, [bar.height for _, bar in known], width * 0.92, label=name, color=colour(index))
            spread = [(middle, bar.height, bar.deviation) for middle, bar in known if bar.deviation is not None]
            if spread:
                x, y, deviation = zip(*spread, strict=True)
                axes.errorbar(x, y, yerr=deviation, fmt="none", ecolor=INK, elinewidth=1, capsize=2)
        axes.set_xticks(range(len(groups)), groups)
        axes.tick_params(axis="x", length=0)
        axes.grid(axis="x", visible=False)
        axes.set_ylim(bottom=0)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        legend(figure, axes)
    return result[0]


def are_wide(groups: Sequence[str], series: Mapping[str, object]) -> bool:
    """Whether these bars need the page's whole width."""
    return len(groups) * len(series) > 16


class Line(NamedTuple):
    """One line of a plot; the lines of a series share its colour and name."""

    points: Sequence[tuple[float, float]]
    is_dashed: bool = False
    hollow: Collection[float] = ()
    """x values of points that are drawn hollow, because they are from too few items."""


def lines(
    series: Mapping[str, Sequence[Line]],
    *,
    x_label: str,
    y_label: str,
    x_ticks: Sequence[tuple[float, str]] | None = None,
    y_range: tuple[float, float] | None = None,
    is_log: bool = False,
    from_zero: bool = False,
    with_markers: bool = True,
    order: Sequence[str] = (),
) -> str:
    """Lines on plain axes.

    Args:
        series: name -> its lines.
        x_label: what goes to the right.
        y_label: what goes up.
        x_ticks: (place, label), where places have names.
        y_range: lowest and highest value shown, for plots that are seen together.
        is_log: doubles are equally far apart on the x axis, and every x has its tick.
        from_zero: the y axis starts there.
        with_markers: mark each point.
        order: names in the order of colours, for plots that are seen together; that of `series` where empty.
    """
    with drawn(*_SMALL) as (figure, axes, result):
        names = list(order or series)
        for name, own in series.items():
            index = names.index(name)
            for place, line in enumerate(own):
                has_markers = with_markers or len(line.points) < 3
                filled = [number for number, (x, _) in enumerate(line.points) if x not in line.hollow]
                axes.plot(
                    *columns(line.points),
                    marker=marker(index) if has_markers else "",
                    markevery=filled,
                    markersize=4,
                    linewidth=1.6 if len(own) < 3 else 1.1,
                    linestyle="--" if line.is_dashed else "-",
                    label="_" if place else name,
                    color=colour(index),
                )
                hollow = columns([point for point in line.points if point[0] in line.hollow])
                axes.plot(*hollow, marker(index), markersize=6, markerfacecolor="none", color=colour(index))
        if is_log:
            _doubling(axes, sorted({x for own in series.values() for line in own for x, _ in line.points}))
        elif x_ticks is not None:
            labels = [label for _, label in x_ticks]
            axes.set_xticks([place for place, _ in x_ticks], labels)
            if sum(map(len, labels)) > _LETTERS_SIDE_BY_SIDE:
                axes.tick_params(axis="x", rotation=30)
        else:
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
        if y_range is not None:
            axes.set_ylim(*y_range)
        elif from_zero:
            axes.set_ylim(bottom=0)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        legend(figure, axes)
    return result[0]


def _doubling(axes: Axes, lengths: Sequence[float]) -> None:
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(list(lengths)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{round(x):,}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    if len(lengths) > 6:
        axes.tick_params(axis="x", rotation=45)


class Interval(NamedTuple):
    """A named value with its interval."""

    name: str
    middle: float
    low: float
    high: float


def intervals(found: Sequence[Interval], *, x_label: str) -> str:
    """One row per interval, with zero marked; hollow if the interval contains zero."""
    # Long names are above their lines, because beside them they would leave no room on a narrow page.
    are_short = max((len(interval.name) for interval in found), default=0) <= 22
    with drawn(_SMALL[0], 0.7 + (0.24 if are_short else 0.36) * len(found)) as (_, axes, result):
        for place, interval in enumerate(found):
            is_sure = interval.low > 0 or interval.high < 0
            ink = colour(0) if is_sure else colour(6)
            axes.plot([interval.low, interval.high], [place, place], color=ink, linewidth=2)
            axes.plot(interval.middle, place, "o", color=ink, markersize=5, markerfacecolor=ink if is_sure else "none")
            if not are_short:
                axes.text(0, place - 0.2, interval.name, fontsize=8, transform=axes.get_yaxis_transform())
        axes.axvline(0, color=INK, linewidth=0.8, linestyle=":")
        axes.set_ylim(len(found) - 0.5, -0.6 if are_short else -0.85)
        axes.set_yticks(range(len(found)) if are_short else [], [i.name for i in found] if are_short else None)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(x_label)
    return result[0]


def costs(points: Mapping[str, tuple[float, float]], *, x_label: str, y_label: str) -> str:
    """One point per system: its score against its cost on a logarithmic axis."""
    with drawn(*_SMALL) as (figure, axes, result):
        for index, (name, (x, y)) in enumerate(points.items()):
            axes.plot(x, y, marker(index), markersize=8, label=name, color=colour(index), linestyle="none")
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.3g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.margins(0.15)
        axes.set_xlim(*_around([x for x, _ in points.values()]))
        axes.grid(color=RULE)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        legend(figure, axes)
    return result[0]


def _around(values: Sequence[float]) -> tuple[float, float]:
    """Limits of a logarithmic axis that keep points away from its edges."""
    low, high = min(values), max(values)
    room = max((high / low) ** 0.2, 1.3)
    return low / room, high * room
