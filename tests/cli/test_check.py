import json

import pytest

from longspan.cli.main import main


def test_a_recipe_says_what_would_run_and_writes_nothing(tmp_path, tiny_squad, tiny_qa_folder, capsys):
    words = ["--model", str(tiny_qa_folder("xlm-roberta encoder")), "--train_data", str(tiny_squad)]
    words += ["--max_tokens", "192", "--attention_window", "16", "--output_dir", str(tmp_path / "run")]
    assert main(["check", "xquad-demo", *words]) == 0
    out = capsys.readouterr().out
    assert "24 questions" in out
    assert "40 steps of 4 windows" in out
    assert "extended to 192 tokens" in out
    assert not (tmp_path / "run").exists()


def test_a_data_file(tiny_squad, capsys):
    assert main(["check", str(tiny_squad)]) == 0
    assert "24 questions" in capsys.readouterr().out


def test_data_of_another_task(tmp_path, capsys):
    path = tmp_path / "posts.csv"
    path.write_text("text,topic\nBees fly.,bees\nAnts walk.,ants\n")
    assert main(["check", str(path), "--task", "sequence_classification", "--label_column", "topic"]) == 0
    out = capsys.readouterr().out
    assert "2 documents" in out and "label        bees: 1" in out and "9 to 10 characters" in out
    assert main(["check", str(path), "--task", "sequence_classification", "--label_column", "topik"]) == 2
    assert "has no column 'topik'; it has 'text', 'topic'" in capsys.readouterr().err


def test_every_answer_that_is_nowhere_is_named(tiny_squad, tmp_path, capsys):
    path = tmp_path / "lost.json"
    content = json.loads(tiny_squad.read_text())
    for paragraph in content["data"][0]["paragraphs"]:
        paragraph["qas"][0]["answers"] = [{"text": "nowhere", "answer_start": 0}]
    path.write_text(json.dumps(content))
    assert main(["check", str(path)]) == 0
    assert ", ".join(f"{i}-0" for i in range(12)) in capsys.readouterr().out


def test_text_that_no_tokenizer_takes(tiny_squad, tmp_path, capsys):
    path = tmp_path / "cut.json"
    content = json.loads(tiny_squad.read_text())
    content["data"][0]["paragraphs"][3]["qas"][1]["question"] += "\ud83d"
    path.write_text(json.dumps(content))
    assert main(["check", str(path)]) == 2
    error = capsys.readouterr().err
    assert "cut.json: data[0].paragraphs[3].qas[1].question is not valid text: character" in error
    assert "U+D83D" in error


@pytest.mark.parametrize(("kind", "limit"), [("bert", "64 tokens"), ("longformer", "192 tokens")])
def test_a_model(tiny_qa_folder, capsys, kind, limit):
    assert main(["check", str(tiny_qa_folder(kind))]) == 0
    assert limit in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["xquad-demo", "--model", "./nowhere"], "nowhere"),
        (["nowhere.yaml"], "no such recipe"),
        (["./nowhere.json"], "nowhere.json"),
        (["squad", "--seed", "1"], "only a recipe has fields"),
    ],
)
def test_what_is_wrong_is_said_with_code_2(words, message, capsys):
    assert main(["check", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_that_holds_no_model(tmp_path, capsys):
    assert main(["check", str(tmp_path)]) == 2
    assert "holds no model" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["finetune", "pretrain"])
def test_a_recipe_that_the_trainer_would_refuse(verb, tmp_path, tiny_squad, tiny_qa_folder, capsys):
    task = "masked_lm" if verb == "pretrain" else "question_answering"
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(f"task: {task}\nmodel: {tiny_qa_folder('bert')}\ntrain_data: {tiny_squad}\noutput_dir: out\n")
    assert main(["check", str(recipe), "--optim", "adamw_8bit"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("longspan check: tiny: optim is 'adamw_8bit'") and error.count("\n") == 1
