"""One bar: a promised value, and the value in the newest record of its run."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runs import newest

from longspan.records import BenchmarkRecord, Record, read_record


class NotMeasuredError(Exception):
    """The value was not measured; the message is the reason."""


@dataclass(frozen=True)
class Bar:
    """A promised value.

    Attributes:
        what: description of the value.
        run: name in runs.py of the run with the value.
        bar: largest allowed value, or with `at_least` the smallest.
        measure: computes the value from a record of type `kind`.
        at_least: whether the value must not be below the bar, instead of not above.
        is_ratio: told as 1/7 where below 1.
        kind: what the record has to be.
    """

    what: str
    run: str
    bar: float
    measure: Callable[[Any], float]
    at_least: bool = False
    is_ratio: bool = True
    kind: type[Record] = BenchmarkRecord

    def row(self) -> list[str]:
        """The cells of the table: description, bar, measured value, met or missed, record."""
        sign = ">=" if self.at_least else "<="
        bar = f"{sign} {_told(self.bar, self.is_ratio)}"
        path = newest(self.run)
        if path is None:
            return [self.what, bar, "not measured yet", "", ""]
        record = read_record(path)
        assert isinstance(record, self.kind), f"{path} is no {self.kind.__name__}"
        try:
            value = self.measure(record)
        except NotMeasuredError as error:
            return [self.what, bar, f"not measured: {error}", "", path.stem]
        is_met = value >= self.bar if self.at_least else value <= self.bar
        return [self.what, bar, _told(value, self.is_ratio), "met" if is_met else "**missed**", path.stem]


def _told(value: float, is_ratio: bool) -> str:
    if not is_ratio:
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    if 0 < value < 0.75:
        return f"1/{1 / value:.3g}"
    return f"{value:.3g}"
