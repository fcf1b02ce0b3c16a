import json
import shutil

from longspan.cli.main import main
from longspan.records import read_record


def test_writes_a_record_and_prints_a_table(tiny_qa_folder, tiny_squad, tmp_path, capsys):
    for language in ("el", "en"):
        shutil.copy(tiny_squad, tmp_path / f"people.{language}.json")
    argv = ["evaluate", str(tiny_qa_folder("longformer")), "--short_model", str(tiny_qa_folder("xlm-roberta"))]
    argv += ["--data", str(tmp_path / "people.el.json"), str(tmp_path / "people.en.json"), "--n_concat", "3"]
    argv += ["--limit", "4", "--gold_slot", "0", "--shuffle_seed", "0", "--output", str(tmp_path / "out")]
    argv += ["--device", "cpu"]
    assert main(argv) == 0
    printed = capsys.readouterr().out
    assert "window + global question" in printed and "first 4 questions" in printed
    record = read_record(tmp_path / "out" / "evaluation.json")
    assert record.kind == "evaluation" and record.settings["limit"] == 4 and "first 4" in record.protocol
    assert record.settings["gold_slot"] == record.settings["shuffle_seed"] == 0
    assert {score.language for score in record.scores} == {"el", "en"} and len(record.scores) == 10
    assert all(score.n_questions == 4 for score in record.scores)
    assert any(name.endswith("model.safetensors") for name in record.made.data)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["evaluation.json"]
    # A second start does not write over what is there, and says how it would.
    assert main(argv) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_a_users_mistakes_have_exit_code_2(tiny_qa_folder, tiny_squad, tmp_path, capsys):
    model, output = str(tiny_qa_folder("longformer")), str(tmp_path / "out")
    for argv, message in (
        ([model, "--data", "nosuch.json"], "nosuch.json"),
        ([model, "--data", str(tiny_squad), "--limit", "0"], "--limit"),
        ([model, "--data", str(tiny_squad), "--systems", "magic"], "magic"),
        ([model, "--data", str(tiny_squad), "--gold_slot", "0"], "--gold_slot is of no effect without --n_concat"),
        ([model, "--data", str(tiny_squad), "--device", "gpu"], "there is no device 'gpu'"),
        ([model, "--data", str(tiny_squad), "--languages", "en", "de"], "--languages"),
        ([str(tmp_path), "--data", str(tiny_squad)], "holds no model"),
    ):
        assert main(["evaluate", *argv, "--output", output]) == 2
        assert message in capsys.readouterr().err


def test_names_of_the_catalogue_take_languages(tiny_qa_folder, tmp_path):
    argv = ["evaluate", str(tiny_qa_folder("xlm-roberta")), "--data", "packaged/xquad", "--languages", "el", "zh"]
    argv += ["--limit", "2", "--output", str(tmp_path / "out"), "--device", "cpu"]
    assert main(argv) == 0
    record = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert {score["language"] for score in record["scores"]} == {"el", "zh"}
