"""Lines a minute where standard error is no terminal; the minute is short here."""

import ast
import io
import sys
import time
from pathlib import Path

import pytest

import longspan
from longspan import progress
from longspan.cli.main import main


@pytest.fixture
def minute(monkeypatch):
    monkeypatch.setattr(progress, "_EVERY", 0.02)
    return 0.02


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Log(io.StringIO):
    def __init__(self, is_terminal=False):
        super().__init__()
        self.isatty = lambda: is_terminal


def test_a_log_gets_lines_while_nothing_moves(minute, monkeypatch):
    log = Log()
    monkeypatch.setattr(sys, "stderr", log)
    with progress.progress_bar(total=8, desc="reading", unit="page") as bar:
        bar.update(2)
        wait_for(lambda: log.getvalue().count("\n") >= 2)
        bar.update(6)
    lines = log.getvalue().split("\n")
    assert lines.pop() == "" and "\r" not in log.getvalue()
    assert all(line.startswith("reading:") and "/8 [" in line for line in lines)
    assert "2/8" in lines[0] and "8/8" in lines[-1]


def test_only_the_newest_open_bar_speaks(minute, monkeypatch):
    log = Log()
    monkeypatch.setattr(sys, "stderr", log)
    with progress.show_running("longspan run"):
        wait_for(lambda: "longspan run: running for 00:00" in log.getvalue())
        with progress.progress_bar([1], desc="inner") as bar:
            before = log.getvalue()
            for _ in bar:
                wait_for(lambda: log.getvalue().count("inner") >= 2)
        assert "longspan run" not in log.getvalue()[len(before) + 1 :].partition("inner")[2].rpartition("inner")[0]
        after = len(log.getvalue())
        wait_for(lambda: "longspan run" in log.getvalue()[after:])


def test_a_short_task_prints_nothing_in_a_log(monkeypatch):
    log = Log()
    monkeypatch.setattr(sys, "stderr", log)
    assert list(progress.progress_bar(range(3), desc="short")) == [0, 1, 2]
    with progress.show_running("longspan ls"):
        pass
    assert log.getvalue() == ""


def test_a_terminal_gets_a_moving_bar(monkeypatch):
    terminal = Log(is_terminal=True)
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.show_running("longspan run"), progress.progress_bar(total=2, desc="reading", mininterval=0) as bar:
        bar.update()
    assert "\rreading:  50%" in terminal.getvalue() and "running for" not in terminal.getvalue()


def test_no_line_is_printed_where_none_is_wanted(minute, monkeypatch):
    log = Log()
    monkeypatch.setattr(sys, "stderr", log)
    with progress.progress_bar(total=2, is_shown=False) as bar:
        bar.update()
        time.sleep(3 * minute)
    assert log.getvalue() == ""


def test_every_bar_is_made_in_one_place():
    root = Path(longspan.__file__).parent
    makers = set()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and "tqdm" in node.func.id:
                makers.add(path.relative_to(root).as_posix())
    assert makers == set()  # progress.py chooses the class and calls it by another name


def test_predict_says_how_many_windows_it_read(minute, tiny_qa_folder, tmp_path, monkeypatch, capsys):
    from longspan.tasks.question_answering.predictor import QaPredictor

    logits = QaPredictor._logits

    def slowly(self, features):
        time.sleep(3 * minute)
        return logits(self, features)

    monkeypatch.setattr(QaPredictor, "_logits", slowly)
    document = tmp_path / "book.txt"
    document.write_text("Anna was born in Lund in 1901, and wrote 2 books about bees.\n" * 30, encoding="utf-8")
    words = ["--document", str(document), "--question", "Where?", "--batch_size", "2"]
    assert main(["predict", str(tiny_qa_folder("longformer")), *words]) == 0
    printed = capsys.readouterr()
    assert "0/1 [" in printed.err and "2 of " in printed.err and " windows" in printed.err
    assert len(printed.out.splitlines()) == 1


def test_a_command_without_a_bar_says_it_runs(minute, monkeypatch, capsys):
    from longspan.cli import ls

    monkeypatch.setattr(ls, "run", lambda arguments: time.sleep(5 * minute) or 0)
    assert main(["ls", "recipes"]) == 0
    assert "longspan ls: running for 00:00\n" in capsys.readouterr().err
