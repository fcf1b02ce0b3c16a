import json

import pytest

from longspan.cli.main import main


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of torch's exporter
def test_a_checkpoint_becomes_a_program_beside_its_tokenizer(tmp_path, tiny_qa_folder, capsys):
    words = ["export", str(tiny_qa_folder("longformer")), str(tmp_path / "out"), "--format", "torch"]
    assert main([*words, "--max_tokens", "100"]) == 0
    out = capsys.readouterr().out
    assert "input_ids, attention_mask -> start_logits, end_logits" in out
    assert "any batch, 3 to 100 tokens" in out
    assert "largest difference from the model" in out
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"model.pt2", "config.json", "export.json", "tokenizer.json"} <= names
    assert json.loads((tmp_path / "out" / "export.json").read_text())["max_tokens"] == 100
    assert main(words) == 2
    assert "is not empty" in capsys.readouterr().err


def test_another_family_is_refused(tmp_path, tiny_qa_folder, capsys):
    assert main(["export", str(tiny_qa_folder("xlm-roberta")), str(tmp_path / "out")]) == 2
    assert "make it a Longformer with `longspan extend`" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
