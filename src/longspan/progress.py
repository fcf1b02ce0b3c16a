"""Progress of what takes long: a bar on a terminal, one line a minute in a log, in a file or behind a pipe."""

import sys
import threading
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

_EVERY = 60.0  # seconds between two lines


def progress_bar(iterable: Iterable[Any] | None = None, *, is_shown: bool = True, **options: Any) -> tqdm:
    """A tqdm bar where standard error is a terminal or a notebook's, else one that prints a line a minute.

    Of several that are open at once in a log, the last one speaks. What takes less than a minute prints nothing there.

    Args:
        iterable: to show the progress of; or call `update`.
        is_shown: False to print nothing anywhere.
        options: as tqdm takes.
    """
    kind = tqdm if not is_shown or sys.stderr.isatty() else _notebook_bar() or MinuteBar
    return kind(iterable, disable=not is_shown, **options)


def show_running(what: str) -> tqdm:
    """A line a minute that `what` is running, where no other bar is open; nothing on a terminal."""
    return progress_bar(is_shown=not sys.stderr.isatty(), desc=what, bar_format="{desc}: running for {elapsed}")


class MinuteBar(tqdm):
    """Prints its state as a line once a minute, moved or not, and at its end if it lasted so long."""

    monitor_interval = 0  # tqdm's own thread redraws bars of terminals

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.n_lines = 0
        # Every step counts at once: tqdm skips some between two drawings.
        super().__init__(*args, **({"miniters": 1, "mininterval": 0} | kwargs))
        if not self.disable:
            _lines.add(self)

    def print_line(self) -> None:
        """Print the state."""
        self.n_lines += 1
        self.fp.write(f"{self}\n")
        self.fp.flush()

    def display(self, *_: Any, **__: Any) -> None:
        """Nothing: lines are printed by the clock."""

    def clear(self, *_: Any, **__: Any) -> None:
        """Nothing: a line stays."""

    def close(self) -> None:
        """Print the last state, if it printed any before."""
        if self.disable:
            return
        _lines.remove(self)
        self.disable = True
        if self.n_lines and self.n:
            self.print_line()
        type(self)._decr_instances(self)  # pyright: ignore[reportAttributeAccessIssue] - tqdm's own list of bars


class _Lines:
    """The open bars, and a thread that prints the newest one's line each minute while there is any."""

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


_lines = _Lines()


def _notebook_bar() -> Any:
    """Tqdm's bar for notebooks, in one."""
    from tqdm.auto import tqdm as chosen

    return chosen if any(kind.__module__ == "tqdm.notebook" for kind in chosen.__mro__) else None
