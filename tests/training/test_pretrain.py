import pytest
import torch
from transformers import AutoTokenizer

import longspan
from longspan.errors import InputError
from longspan.records import read_record
from longspan.training.pretrain import pretrain
from longspan.training.pretrain_preparation import plan_pretraining


def losses(record):
    return {log.step: log.values["loss"] for log in record.steps if "loss" in log.values}


def test_a_run_leaves_a_model_its_card_and_a_record_of_before_and_after(tiny_pretrain, tiny_text, tmp_path):
    recipe = tiny_pretrain(eval_data=[str(tiny_text)], eval_strategy="steps", eval_steps=3)
    record = pretrain(recipe)
    assert read_record(tmp_path / "run/training.json") == record
    assert sorted(losses(record)) == [1, 2, 3, 4, 5, 6]
    assert [log.step for log in record.steps if "eval_bits_per_token" in log.values] == [3, 6]
    rows = {(score.when, score.n_tokens): score for score in record.language_model}
    assert set(rows) == {("initial", 32), ("initial", 96), ("final", 32), ("final", 96)}
    # The same tokens at every length, before and after.
    assert len({score.n_predicted for score in rows.values()}) == 1
    assert rows["final", 96].loss < rows["initial", 96].loss
    assert rows["final", 96].bits_per_token == pytest.approx(rows["final", 96].loss / 0.6931, rel=1e-3)
    assert 0 < rows["final", 96].bits_per_character < rows["final", 96].bits_per_token
    assert len(rows["final", 96].loss_by_position) == 8
    assert "| 96 | " in (tmp_path / "run/README.md").read_text(encoding="utf-8")

    model = longspan.LongformerForMaskedLM.from_pretrained(tmp_path / "run")
    assert AutoTokenizer.from_pretrained(tmp_path / "run").model_max_length == 96
    for layer in model.longformer.encoder.layer:
        attention = layer.attention.self
        assert torch.equal(attention.query.weight, attention.query_global.weight)
        assert torch.equal(attention.value.bias, attention.value_global.bias)
    assert plan_pretraining(tiny_pretrain(output_dir=str(tmp_path / "other")))["training"].startswith("6 steps of 2")
