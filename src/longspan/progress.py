"""Progress bars: a tqdm bar on a terminal, one line per minute in a log, a file or a pipe."""

import sys
import threading
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

_EVERY = 60.0  # seconds between two lines


def progress_bar(iterable: Iterable[Any] | None = None, *, is_shown: bool = True, **options: Any) -> tqdm:
    """Return a tqdm bar on a terminal or in a notebook, else a bar that prints a line per minute.

    If several bars of the second kind are open, only the newest prints. Work of less than a minute prints nothing.

    Args:
        iterable: the iterable to wrap; None if the caller calls `update`.
        is_shown: False for a bar that prints nothing anywhere.
        options: tqdm's options.
    """
    kind = tqdm if not is_shown or sys.stderr.isatty() else _notebook_bar() or MinuteBar
    return kind(iterable, disable=not is_shown, **options)


def show_running(what: str) -> tqdm:
    """Return a bar that prints once a minute that `what` runs, unless a newer bar is open; silent on a terminal."""
    return progress_bar(is_shown=not sys.stderr.isatty(), desc=what, bar_format="{desc}: running for {elapsed}")


class MinuteBar(tqdm):
    """A tqdm bar that prints its state once a minute, and at its end if it has printed before."""

    monitor_interval = 0  # switches off tqdm's thread that redraws bars on terminals

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.n_lines = 0
        # By default tqdm counts several steps together between two drawings.
        super().__init__(*args, **({"miniters": 1, "mininterval": 0} | kwargs))
        if not self.disable:
            _printer.add(self)

    def print_line(self) -> None:
        """Print the state as a line."""
        self.n_lines += 1
        self.fp.write(f"{self}\n")
        self.fp.flush()

    def display(self, *_: Any, **__: Any) -> None:
        """Do nothing; a thread prints the lines."""

    def clear(self, *_: Any, **__: Any) -> None:
        """Do nothing; printed lines stay."""

    def close(self) -> None:
        """Print the last state, if a line was printed before."""
        if self.disable:
            return
        _printer.remove(self)
        self.disable = True
        if self.n_lines and self.n:
            self.print_line()
        type(self)._decr_instances(self)  # pyright: ignore[reportAttributeAccessIssue] - tqdm's own list of bars


class _LinePrinter:
    """The open bars, and a thread that prints the newest bar's line once a minute while a bar is open."""

    def __init__(self) -> None:
        self._bars: list[MinuteBar] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def add(self, bar: MinuteBar) -> None:
        with self._lock:
            self._bars.append(bar)
            if len(self._bars) == 1:
                self._ended = threading.Event()
                threading.Thread(target=self._print, args=(self._ended,), name="progress", daemon=True).start()

    def remove(self, bar: MinuteBar) -> None:
        with self._lock:
            self._bars = [other for other in self._bars if other is not bar]
            if not self._bars:
                self._ended.set()

    def _print(self, ended: threading.Event) -> None:
        while not ended.wait(_EVERY):
            with self._lock:
                if self._bars and not ended.is_set():
                    self._bars[-1].print_line()


_printer = _LinePrinter()


def _notebook_bar() -> Any:
    """The notebook bar of tqdm if this is a notebook, else None."""
    from tqdm.auto import tqdm as chosen

    return chosen if any(kind.__module__ == "tqdm.notebook" for kind in chosen.__mro__) else None
