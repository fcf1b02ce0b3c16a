"""What a terminal shows of the line under way."""

import io
import subprocess
import sys

import pytest

import longspan.progress
from longspan.grid import progress

# Draws a bar as a line's process does, and goes on when its bar has been seen.
PROCESS = """
import pathlib, sys, time
from tqdm import tqdm
sys.stderr.isatty = lambda: True
print("a warning", file=sys.stderr)
with tqdm(total=4, desc="xquad.el, window only", disable=None, mininterval=0) as bar:
    bar.update(3)
    while not pathlib.Path(sys.argv[1]).exists():
        time.sleep(0.01)
sys.exit(3)
"""


class Terminal(io.StringIO):
    seen = None

    def isatty(self):
        return True

    def write(self, text):
        if "75%" in text:
            self.seen.touch()
        return super().write(text)


def start(tmp_path):
    log = tmp_path / "evaluate.log"
    log.write_text("earlier:  99%|#########9| 99/100 [00:01<00:00]\n")
    size = log.stat().st_size
    with log.open("a") as file:
        words = [sys.executable, "-c", PROCESS, str(tmp_path / "seen")]
        return subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT), log, size


def test_the_newest_bar_stands_behind_the_line_until_it_ends(tmp_path, monkeypatch):
    terminal = Terminal()
    terminal.seen = tmp_path / "seen"
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(progress, "_EVERY", 0.05)
    monkeypatch.setenv("COLUMNS", "60")
    process, log, size = start(tmp_path)
    assert progress.wait_for(process, log, size, "[1/2] long/42/evaluate") == 3
    lines = [line.removesuffix("\x1b[K") for line in terminal.getvalue().split("\r")[1:]]
    assert any(line.startswith("[1/2] long/42/evaluate xquad.el, window only:  75%|") for line in lines)
    assert max(map(len, lines)) == 59 and lines[-1] == "[1/2] long/42/evaluate "
    assert not any("earlier" in line or "warning" in line for line in lines)


def test_elsewhere_nothing_is_written(tmp_path, capsys):
    (tmp_path / "seen").touch()
    process, log, size = start(tmp_path)
    assert progress.wait_for(process, log, size, "[1/2] long/42/evaluate") == 3
    assert capsys.readouterr().out == ""
    assert progress.newest_bar(log, size).startswith("xquad.el, window only:")


def test_elsewhere_the_bar_is_a_line_a_minute(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "_EVERY_ELSEWHERE", 0.02)
    monkeypatch.setattr(longspan.progress, "_EVERY", 0.05)
    process, log, size = start(tmp_path)
    errors = ""

    def look(path, start):
        nonlocal errors
        errors += capsys.readouterr().err
        if "75%" in errors:
            (tmp_path / "seen").touch()
        return newest_bar(path, start)

    newest_bar = progress.newest_bar
    monkeypatch.setattr(progress, "newest_bar", look)
    assert progress.wait_for(process, log, size, "[1/2] long/42/evaluate") == 3
    lines = [line for line in errors.splitlines() if "75%" in line]
    assert lines[0].startswith("[1/2] long/42/evaluate xquad.el, window only:  75%|") and lines[0].endswith("]")


@pytest.mark.parametrize("said", ["", "Loading\nno bar: 50% of it\n"])
def test_without_a_bar_there_is_none(tmp_path, said):
    log = tmp_path / "evaluate.log"
    log.write_text(said)
    assert progress.newest_bar(log, 0) == ""
