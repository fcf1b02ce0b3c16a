import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from longspan.cli.main import main
from longspan.errors import InputError
from longspan.records import read_record, write_record
from longspan.report import find_records


def test_finds_records_in_folders_and_passes_over_other_json(records, tmp_path, capsys):
    runs = tmp_path / "runs"
    for i, record in enumerate(records):
        write_record(record, runs / str(i) / "record.json")
    (runs / "0" / "config.json").write_text('{"model_type": "longformer"}')
    (runs / "0" / "list.json").write_text("[1]")
    (runs / ".cells").mkdir()
    (runs / ".cells" / "x.json").write_text('{"kind": "evaluation"}')
    argv = ["report", str(runs), str(runs / "0" / "record.json"), "--output", str(tmp_path / "out"), "--title", "Ours"]
    assert main(argv) == 0
    assert "4 records" in capsys.readouterr().out
    assert '<h1 dir="auto">Ours</h1>' in (tmp_path / "out" / "report.html").read_text()


@pytest.fixture
def closed(tmp_path, monkeypatch):
    """Folders and files named "closed" may not be read, by root neither."""

    def guard(function):
        def call(path, *args, **kwargs):
            if os.path.basename(os.fspath(path)).startswith("closed"):
                raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
            return function(path, *args, **kwargs)

        return call

    monkeypatch.setattr(os, "scandir", guard(os.scandir))
    monkeypatch.setattr(Path, "open", guard(Path.open))
    return tmp_path


def test_folders_that_may_not_be_read_are_named(records, closed, caplog):
    for name in ("open/record.json", "deep/closed-folder/record.json", "open/closed.json"):
        write_record(records[1], closed / "runs" / name)
    assert len(find_records([closed / "runs"])) == 1
    assert "deep/closed-folder cannot be read (Permission denied)" in caplog.text
    assert "open/closed.json cannot be read (Permission denied)" in caplog.text
    caplog.clear()
    assert len(find_records([closed / "runs" / "**" / "*.json"])) == 1
    assert "deep/closed-folder cannot be read" in caplog.text


def test_a_named_place_that_may_not_be_read_is_refused(records, closed, caplog):
    write_record(records[1], closed / "runs" / "closed.json")
    with pytest.raises(InputError, match=r"closed\.json may not be read"):
        find_records([closed / "runs" / "closed.json"])
    (closed / "closed").mkdir()
    with pytest.raises(InputError, match="holds no record"):
        find_records([closed / "closed"])
    assert "closed cannot be read" in caplog.text


def test_linked_folders_are_searched_once(records, tmp_path):
    write_record(records[1], tmp_path / "disk" / "run" / "record.json")
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "run").symlink_to(tmp_path / "disk" / "run")
    (runs / "circle").symlink_to(runs)
    (found,) = find_records([runs])
    assert found.record == records[1]


def test_patterns_find_records_alone(records, tmp_path, capsys):
    for i, record in enumerate(records[1:3]):
        write_record(record, tmp_path / "runs" / str(i) / "record.json")
    (tmp_path / "runs" / "1" / "config.json").write_text("{}")
    assert main(["report", str(tmp_path / "runs" / "**" / "*.json"), "--output", str(tmp_path / "page.html")]) == 0
    assert "2 records" in capsys.readouterr().out and (tmp_path / "page.html").exists()
    for pattern, message in (("no*thing", "nothing matches"), ("runs/1/conf*", "holds no record")):
        assert main(["report", str(tmp_path / pattern), "--output", str(tmp_path / "out")]) == 2
        assert message in capsys.readouterr().err


def test_runs_are_compared_and_the_comparison_is_kept(evaluation, tmp_path, capsys):
    for name, shift in (("short", 0.0), ("long", 5.0)):
        write_record(evaluation(shift=shift).model_copy(update={"model": name}), tmp_path / name / "evaluation.json")
    argv = ["report", "--compare", str(tmp_path / "short"), str(tmp_path / "long"), "--system", "truncate 512"]
    assert main([*argv, "--output", str(tmp_path / "out")]) == 0
    record = read_record(tmp_path / "out" / "comparison.json")
    assert record.name == "short against long"
    whole = next(row for row in record.differences if row.dataset == "all")
    assert whole.mean == pytest.approx(5.0) and whole.n_units == 30
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Run against run" in text and 'href="comparison.json"' in text
    for wrong, message in (
        (["report", "--compare", str(tmp_path / "short")], "two runs, and there is 1"),
        (["report", "--output", "x"], "nothing to report on"),
        (["report", str(tmp_path / "short"), "--system", "a"], "--system has no effect"),
    ):
        capsys.readouterr()
        assert main(wrong) == 2
        assert message in capsys.readouterr().err


def test_versions(records, tmp_path, capsys):
    data = json.loads(write_record(records[2], tmp_path / "record.json").read_text())
    del data["schema_version"]
    (tmp_path / "old.json").write_text(json.dumps(data))
    assert main(["report", str(tmp_path / "old.json"), "--output", str(tmp_path / "out")]) == 0
    for name, update in (("later", {}), ("strange", {"kind": "dream"})):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "run.json").write_text(json.dumps(data | {"schema_version": 99} | update))
        capsys.readouterr()
        assert main(["report", str(folder), "--output", str(tmp_path / "out")]) == 2
        assert "run.json" in (printed := capsys.readouterr().err)
        assert ("schema version 99" in printed) == (name == "later")


def test_a_users_mistakes_have_exit_code_2(records, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    good = write_record(records[0], tmp_path / "good.json")
    data = json.loads(good.read_text())
    data["scores"][1]["n_items"] = "many"
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text(json.dumps(data))
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "run.json").write_bytes(good.read_bytes()[:300])
    for place, messages in (
        ("empty", ["holds no record"]),
        ("missing", ["no such file"]),
        ("broken", ["run.json", "scores.1.n_items"]),
        ("cut", ["run.json", "not JSON"]),
    ):
        assert main(["report", str(tmp_path / place), "--output", str(tmp_path / "out")]) == 2
        printed = capsys.readouterr().err
        assert all(message in printed for message in messages), printed
    assert not (tmp_path / "out").exists()


def test_the_verb_loads_no_torch(records, tmp_path):
    path = write_record(records[3], tmp_path / "record.json")
    code = (
        "import sys; from longspan.cli.main import main;"
        f"main(['report', {str(path)!r}, '--output', {str(tmp_path / 'out')!r}]);"
        "print({'torch', 'transformers'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "set()"
