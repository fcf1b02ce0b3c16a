import json
import subprocess
import sys

from longspan.cli.main import main
from longspan.records import write_record


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


def test_a_users_mistakes_have_exit_code_2(records, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    good = write_record(records[0], tmp_path / "good.json")
    data = json.loads(good.read_text())
    data["scores"][1]["n_questions"] = "many"
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text(json.dumps(data))
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "run.json").write_bytes(good.read_bytes()[:300])
    for place, messages in (
        ("empty", ["holds no record"]),
        ("missing", ["no such file"]),
        ("broken", ["run.json", "scores.1.n_questions"]),
        ("cut", ["run.json", "EOF"]),
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
