"""The task of docs/how-to-add-a-task.md, installed as a package of its own, on the whole way to a report."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "how-to-add-a-task.md"


@pytest.fixture
def longspan(tmp_path):
    """Runs `longspan` in an empty folder, where the page's task is installed; returns what it printed."""
    package = tmp_path / "package"
    described = package / "reading_time-1.0.dist-info"
    described.mkdir(parents=True)
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (package / "reading_time.py").write_text(code, encoding="utf-8")
    [points] = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    points = points.replace("project.entry-points.", "").replace('"', "")
    (described / "entry_points.txt").write_text(points, encoding="utf-8")
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: reading-time\nVersion: 1.0\n", encoding="utf-8")
    where = tmp_path / "work"
    where.mkdir()
    paths = os.pathsep.join([str(package), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths, "HF_HUB_OFFLINE": "1"}

    def run(*words, code=0):
        command = [sys.executable, "-m", "longspan", *map(str, words)]
        done = subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    run.folder = where
    return run


def test_page_is_short():
    assert len(PAGE.read_text(encoding="utf-8").splitlines()) < 80


def test_added_task_trains_evaluates_and_reports(longspan, tiny_qa_folder):
    texts = [{"text": "word " * n, "minutes": n / 10} for n in range(1, 13)]
    for name, chosen in {"train": texts, "dev": texts[:4]}.items():
        lines = "\n".join(json.dumps(text) for text in chosen)
        (longspan.folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    encoder = tiny_qa_folder("xlm-roberta encoder")
    training = {
        "task": "reading_time",
        "model": str(encoder),
        "train_data": "train.jsonl",
        "max_tokens": 128,
        "attention_window": 16,
        "proof": "none",
        "max_steps": 2,
        "use_cpu": True,
    }
    grid = {
        "name": "times",
        "output_dir": "out",
        "seeds": [1],
        "runs": [{"name": "long", "finetune": training, "evaluate": {"data": ["dev.jsonl"], "task": "reading_time"}}],
    }
    (longspan.folder / "grid.yaml").write_text(json.dumps(grid), encoding="utf-8")

    assert re.search(r"(?m)^reading_time +longspan finetune +sequence_classification +Error", longspan("ls", "tasks"))
    printed = longspan("run", "grid.yaml")
    assert re.search(r"Error.*minutes", printed, re.IGNORECASE)
    records = sorted(longspan.folder.glob("out/long/*/**/evaluation*.json*"))
    assert records, printed
    longspan("report", "out", "--output", "page")
    report = (longspan.folder / "page" / "report.md").read_text(encoding="utf-8")
    assert "Error" in report
    assert "minutes" in report
    assert "F1" not in report

    refused = longspan("predict", "--task", "reading_time", "out/long/1", "--document", "dev.jsonl", code=2)
    assert "reading_time has no longspan predict" in refused


def test_added_task_that_cannot_be_imported_is_named(longspan):
    (longspan.folder.parent / "package" / "reading_time.py").write_text("import no_such_package\n", encoding="utf-8")

    printed = longspan("ls", "tasks")

    assert "sequence_classification" in printed
    assert "the task reading_time of reading-time cannot be imported (ModuleNotFoundError" in printed
