"""`longspan bench`."""

from longspan.cli.main import main
from longspan.records import read_record

TINY = ["--lengths", "16", "--window", "4", "--heads", "2", "--width", "4", "--repeats", "1"]


def test_it_writes_a_record_and_prints_a_table(tmp_path, capsys):
    path = tmp_path / "bench.json"
    assert main(["bench", "attention", *TINY, "--forward-only", "--output", str(path)]) == 0
    assert "transformers Longformer" in capsys.readouterr().out
    assert read_record(path).name == "attention"


def test_explain_prints_a_reason_for_every_backend(capsys):
    assert main(["bench", "--explain", *TINY]) == 0
    printed = capsys.readouterr().out
    assert "blocked    chosen: " in printed and "reference" in printed


def test_a_wrong_setting_is_a_users_mistake(capsys):
    assert main(["bench", *TINY, "--window", "3"]) == 2
    assert "must be even" in capsys.readouterr().err
