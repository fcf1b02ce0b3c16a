import pytest

from longspan.cli.main import main
from longspan.records import read_record


def test_the_command_extends_prints_the_proof_and_saves(make_model, saved, tmp_path, capsys):
    source, destination = saved(make_model("roberta", "masked_lm")), tmp_path / "new"
    text = tmp_path / "text.txt"
    text.write_text("the man with the dog " * 30, encoding="utf-8")
    arguments = ["--max_tokens", "100", "--attention_window", "4,6", "--text", str(text), "--seed", "3"]
    assert main(["extend", str(source), str(destination), *arguments]) == 0
    out = capsys.readouterr().out
    assert "RoBERTa, 40 -> 100 tokens" in out
    assert "attention_window 80, inputs of at most 40 tokens: every hidden state" in out
    assert "drift on text of" in out
    assert f"saved in {destination}" in out
    proof = read_record(destination / "proof.json")
    assert proof.kind == "proof"
    assert (proof.attention_window, proof.made.seed, proof.drift[0].n_texts) == ([4, 6], 3, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--max_tokens", "30"], "max_tokens is 30, below the 40 tokens"),
        (["--attention_window", "5"], "must be even"),
        (["--attention_window", "4,6,8"], "lists 3 values, but the model has 2 layers"),
        (["--attention_window", "wide"], "--attention_window takes a number"),
        (["--positions", "rope"], "positions must be one of"),
        (["--proof", "much"], "proof must be one of"),
        (["--text", "/no/such/file"], "/no/such/file"),
    ],
)
def test_a_wrong_argument_exits_with_2_and_writes_nothing(make_model, saved, tmp_path, capsys, arguments, words):
    source = saved(make_model("bert"))
    assert main(["extend", str(source), str(tmp_path / "new"), *arguments]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_full_folder_is_refused_before_anything_is_loaded(tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("old")
    assert main(["extend", "/no/such/source", str(tmp_path / "full")]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert main(["extend", "/no/such/source", str(tmp_path / "full"), "--overwrite"]) == 2
    assert "no such folder" in capsys.readouterr().err
