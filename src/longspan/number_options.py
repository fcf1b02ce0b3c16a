"""Argparse actions that check the range of number options when the command line is parsed."""

import argparse
import functools
import math
from collections.abc import Sequence
from typing import Any

from longspan.errors import InputError


class _InRange(argparse.Action):
    """Stores a number, or a list of numbers, that lies in a range."""

    def __init__(self, *args: Any, smallest: float, largest: float, is_above: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._smallest, self._largest, self._is_above = smallest, largest, is_above

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        for value in values if isinstance(values, Sequence) else [values]:
            # Written as "not in range", because all comparisons with NaN are False.
            is_large_enough = value > self._smallest if self._is_above else value >= self._smallest
            if not is_large_enough or not value <= self._largest or not math.isfinite(value):
                raise InputError(f"{option_string} is {value}; it must be {self._describe_range()}")
        setattr(namespace, self.dest, values)

    def _describe_range(self) -> str:
        if not math.isinf(self._largest):
            return f"from {self._smallest:g} to {self._largest:g}"
        return f"above {self._smallest:g}" if self._is_above else f"at least {self._smallest:g}"


def at_least(smallest: float) -> Any:
    """Return the action for an option whose number, or each number of its list, is finite and at least `smallest`."""
    return functools.partial(_InRange, smallest=smallest, largest=math.inf, is_above=False)


def above(bound: float) -> Any:
    """Return the action for an option whose number is finite and above `bound`."""
    return functools.partial(_InRange, smallest=bound, largest=math.inf, is_above=True)


def between(smallest: float, largest: float) -> Any:
    """Return the action for an option whose number, or each number of its list, is in [`smallest`, `largest`]."""
    return functools.partial(_InRange, smallest=smallest, largest=largest, is_above=False)
