"""How values of a metric are shown: digits, axis labels, scales and colours, by its unit and direction."""

from collections.abc import Iterable, Sequence
from statistics import fmean, stdev

from longspan.records import Difference, Metric
from longspan.report.blocks import Cell, number


def digits(metric: Metric) -> int:
    """Return the decimals shown: one for per cent, three for other units."""
    return 1 if metric.is_per_cent else 3


def value_text(metric: Metric, value: float) -> str:
    """Return `61.2`, or `1.234` if the metric is not in per cent."""
    return f"{value:.{digits(metric)}f}"


def signed_text(metric: Metric, value: float) -> str:
    """Return a difference with its sign; a value that rounds to zero has a plus."""
    n = digits(metric)
    return f"{round(value, n) + 0.0:+.{n}f}"


def mean_and_deviation(metric: Metric, values: Sequence[float]) -> str:
    """Return `61.2`, or `61.2 ± 0.8` with the sample standard deviation of several values."""
    text = value_text(metric, fmean(values))
    return f"{text} ± {value_text(metric, stdev(values))}" if len(values) > 1 else text


def value_cell(metric: Metric, value: float | None, *, top: float | None = None) -> Cell:
    """Return a cell with one value; shaded by how good it is if the scale's end `top` is given."""
    shade = None if value is None or top is None else goodness(metric, value, top)
    return number(value, digits(metric), shade=shade)


def mean_cell(metric: Metric, values: Sequence[float], *, is_best: bool = False, top: float | None = None) -> Cell:
    """Return a cell with the mean over seeds; a dash if there is no value."""
    if not values:
        return number(None)
    shade = None if top is None else goodness(metric, fmean(values), top)
    return Cell(mean_and_deviation(metric, values), is_best, shade, is_number=True)


def axis_label(metric: Metric) -> str:
    """Return the label of an axis: `F1, per cent`."""
    unit = "per cent" if metric.is_per_cent else metric.unit
    return f"{metric.label}, {unit}" if unit else metric.label


def scale_top(metric: Metric, values: Iterable[float]) -> float:
    """Return the end of a scale: 100 for per cent, else the largest value."""
    return 100.0 if metric.is_per_cent else max(values, default=1.0) or 1.0


def goodness(metric: Metric, value: float, top: float) -> float:
    """Return how good a value is on a scale from 0 to `top`: 0 is the worst, 1 the best."""
    share = min(max(value / top, 0.0), 1.0) if top > 0 else 0.0
    return share if metric.higher_is_better else 1.0 - share


def best_of(metric: Metric, values: Iterable[float]) -> float | None:
    """Return the best of some values; None if there are none."""
    return min(values, key=metric.rank, default=None)


def unnamed(name: str) -> Metric:
    """Return a metric for a name without further facts, as in records before version 3."""
    return Metric(name=name, label=name)


def metric_of(difference: Difference, metrics: Iterable[Metric]) -> Metric:
    """Return the metric that a difference is in."""
    return next((metric for metric in metrics if metric.name == difference.metric), unnamed(difference.metric))
