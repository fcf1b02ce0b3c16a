"""Shows the progress bar of the running job, which is at the end of its log."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from longspan.progress import progress_bar

_EVERY = 1.0  # seconds between two looks at the log
_EVERY_ELSEWHERE = 20.0  # the same if there is no terminal, and the bar is printed once a minute
_END_OF_LOG = 4_000  # bytes that are searched for a bar
# tqdm's variable for the seconds between two updates of a bar, because every update is kept in the log.
ENVIRONMENT = {"TQDM_MININTERVAL": "2"}


def wait_for(process: subprocess.Popen[bytes], log: Path, start: int, heading: str) -> int:
    """Wait until `process` ends; returns its exit code.

    Meanwhile a terminal shows the newest bar after `heading`, in one line that is removed at the end. Without a
    terminal both are printed to standard error once a minute.

    Args:
        process: the process, which writes to the log.
        log: the log.
        start: offset in the log at which the output of the process begins.
        heading: text that is already in the terminal's last line.
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
    """The last of tqdm's bars in `log` from byte `start` on; "" if there is none."""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(start, size - _END_OF_LOG))
        said = re.split(r"[\r\n]+", file.read().decode("utf-8", "replace"))
    return next((text.strip() for text in reversed(said) if "%|" in text and "[" in text), "")


def _write_line(text: str) -> None:
    """Replace the terminal's last line by `text`, cut to the width of the terminal."""
    columns = shutil.get_terminal_size().columns
    sys.stdout.write(f"\r{text[: columns - 1]}\x1b[K")
    sys.stdout.flush()
