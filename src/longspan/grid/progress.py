"""How far the line under way is: the bar at the end of its log, shown on the terminal that the grid was started on."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from longspan.progress import progress_bar

_EVERY = 1.0  # seconds between two looks at the log
_EVERY_ELSEWHERE = 20.0  # the same, where what it says is printed once a minute
_END_OF_LOG = 4_000  # bytes that are searched for a bar
# tqdm's variable for the seconds between two movements of a bar: a log keeps every one of them.
ENVIRONMENT = {"TQDM_MININTERVAL": "2"}


def wait_for(process: subprocess.Popen[bytes], log: Path, start: int, heading: str) -> int:
    """Wait until `process` ends; returns its exit code.

    On a terminal, its newest bar stands behind `heading` meanwhile, in one line, and is gone at the end. Elsewhere the
    two are a line on standard error, once a minute.

    Args:
        process: writes to the log.
        log: what it has said.
        start: byte from which on it is its own.
        heading: what stands in the terminal's last line already.
    """
    if not sys.stdout.isatty():
        return _wait_elsewhere(process, log, start, heading)
    try:
        while True:
            try:
                return process.wait(_EVERY)
            except subprocess.TimeoutExpired:
                _write_line(f"{heading} {newest_bar(log, start)}")
    finally:
        _write_line(f"{heading} ")


def _wait_elsewhere(process: subprocess.Popen[bytes], log: Path, start: int, heading: str) -> int:
    with progress_bar(is_shown=not sys.stderr.isatty(), desc=heading, bar_format="{desc} [{elapsed}]") as bar:
        while True:
            try:
                return process.wait(_EVERY_ELSEWHERE)
            except subprocess.TimeoutExpired:
                bar.set_description_str(f"{heading} {newest_bar(log, start)}".rstrip(), refresh=False)


def newest_bar(log: Path, start: int) -> str:
    """The last of tqdm's bars in `log` from byte `start` on; nothing where there is none."""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(start, size - _END_OF_LOG))
        said = re.split(r"[\r\n]+", file.read().decode("utf-8", "replace"))
    return next((text.strip() for text in reversed(said) if "%|" in text and "[" in text), "")


def _write_line(text: str) -> None:
    """Put `text` in the place of the terminal's last line, cut so that it stays one."""
    columns = shutil.get_terminal_size().columns
    sys.stdout.write(f"\r{text[: columns - 1]}\x1b[K")
    sys.stdout.flush()
