"""Checkpoints load in both directions between transformers and longspan, also after changes by users."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
import torch
import transformers
from safetensors.torch import load_file

import longspan
from longspan.errors import InputError

HEADS = {
    "base": "LongformerModel",
    "masked lm": "LongformerForMaskedLM",
    "question answering": "LongformerForQuestionAnswering",
    "sequence classification": "LongformerForSequenceClassification",
    "token classification": "LongformerForTokenClassification",
    "multiple choice": "LongformerForMultipleChoice",
}


def inputs_for(head, batch):
    inputs = batch([21, 13], separators=(3, 4, 12))
    return {name: x[:, None] for name, x in inputs.items()} if head == "multiple choice" else inputs


@pytest.mark.parity
@pytest.mark.parametrize("head", list(HEADS))
def test_checkpoints_load_in_both_directions(tiny_model, stock_model, batch, tmp_path, head):
    inputs = inputs_for(head, batch)
    for made, other in ((stock_model(head), longspan), (tiny_model(head), transformers)):
        made.save_pretrained(tmp_path)
        loaded, report = getattr(other, HEADS[head]).from_pretrained(tmp_path, output_loading_info=True)
        assert not any(report.values())
        loaded.eval()
        torch.testing.assert_close(loaded(**inputs)[0], made(**inputs)[0], atol=1e-4, rtol=1e-4)
        assert sorted(loaded.state_dict()) == sorted(made.state_dict())


@pytest.mark.parity
def test_a_process_without_longspan_loads_the_checkpoint(tiny_model, batch, tmp_path):
    model, inputs = tiny_model("question answering"), batch([21], separators=(3, 4, 20))
    model.save_pretrained(tmp_path / "model")
    torch.save(inputs, tmp_path / "inputs.pt")
    script = (
        "import sys, torch, transformers\n"
        "model = transformers.AutoModelForQuestionAnswering.from_pretrained('model')\n"
        "torch.save(model.eval()(**torch.load('inputs.pt')).start_logits, 'logits.pt')\n"
        "assert 'longspan' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True)
    logits = torch.load(tmp_path / "logits.pt")
    torch.testing.assert_close(logits, model(**inputs).start_logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parity
def test_signatures_are_those_of_transformers():
    import inspect

    for name in HEADS.values():
        ours, stock = (inspect.signature(getattr(room, name).forward) for room in (longspan, transformers))
        assert [(p.name, p.kind, p.default) for p in ours.parameters.values()] == [
            (p.name, p.kind, p.default) for p in stock.parameters.values()
        ]


def test_saved_weights_are_safetensors_with_tied_ones_once(tiny_model, tmp_path):
    tiny_model("masked lm").save_pretrained(tmp_path)
    names = set(load_file(tmp_path / "model.safetensors"))
    assert "longformer.encoder.layer.0.attention.self.query_global.weight" in names
    assert "lm_head.decoder.weight" not in names
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "longformer"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_dtype_and_device_map(tiny_model, batch, tmp_path, dtype):
    made, inputs = tiny_model(), batch([21, 13], [[0], [5]])
    made.save_pretrained(tmp_path)
    loaded = longspan.LongformerModel.from_pretrained(tmp_path, dtype=dtype, device_map="cpu")
    assert loaded.dtype == dtype
    assert loaded(**inputs)[0].dtype == dtype
    tolerance = 1e-4 if dtype == torch.float64 else 0.1
    torch.testing.assert_close(loaded(**inputs)[0].float(), made(**inputs)[0], atol=tolerance, rtol=tolerance)
    assert longspan.LongformerModel.from_pretrained(tmp_path, torch_dtype=dtype).dtype == dtype


def test_missing_head_is_initialised(tiny_model, tmp_path):
    tiny_model("base").save_pretrained(tmp_path)
    loaded = longspan.LongformerForMaskedLM.from_pretrained(tmp_path)
    assert not loaded.lm_head.bias.any()  # transformers leaves what was in memory
    assert loaded.lm_head.decoder.bias is loaded.lm_head.bias
    assert loaded.lm_head.decoder.weight is loaded.longformer.embeddings.word_embeddings.weight
    assert (loaded.lm_head.layer_norm.weight == 1).all()


@pytest.mark.parity
def test_initial_weights_are_those_of_transformers():
    config = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    for name in ("LongformerForMaskedLM", "LongformerForQuestionAnswering"):
        models = []
        for room in (transformers, longspan):
            torch.manual_seed(0)
            models.append(getattr(room, name)(room.LongformerConfig(**config)))
        stock, ours = (dict(model.named_parameters()) for model in models)
        assert list(stock) == list(ours)
        for key, weight in stock.items():
            torch.testing.assert_close(ours[key].mean(), weight.mean(), atol=2e-3, rtol=0)
            torch.testing.assert_close(ours[key].std(), weight.std(), atol=2e-3, rtol=0)


def test_resized_vocabulary_keeps_tied_weights_and_bias(tiny_model, batch, tmp_path):
    model, inputs = tiny_model("masked lm"), batch([9])
    with torch.no_grad():
        before = model(**inputs).logits
    model.resize_token_embeddings(70)
    assert model.config.vocab_size == 70
    assert model.lm_head.bias.shape == (70,)
    assert model.lm_head.decoder.bias is model.lm_head.bias
    torch.testing.assert_close(model(**inputs).logits[..., :60], before)
    inputs["input_ids"][0, 3] = 69
    model(**inputs, labels=inputs["input_ids"]).loss.backward()
    model.save_pretrained(tmp_path)
    loaded = transformers.LongformerForMaskedLM.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(loaded(**inputs).logits, model(**inputs).logits, atol=1e-4, rtol=1e-4)


def test_push_to_hub_prepares_the_files(tiny_model, monkeypatch):
    """The client of the hub is replaced, and the test checks the files to upload."""
    uploaded = {}

    class Hub:
        def create_repo(self, repo_id, **_):
            return huggingface_hub.RepoUrl(f"https://huggingface.co/{repo_id}")

        def create_commit(self, repo_id, operations, **_):
            for operation in operations:
                uploaded[operation.path_in_repo] = Path(operation.path_or_fileobj).read_bytes()
            return "done"

        def create_branch(self, *_, **__):
            raise AssertionError("no branch was asked for")

    monkeypatch.setattr(transformers.utils.hub, "hf_api", Hub, raising=False)
    for name in ("create_repo", "create_commit"):
        monkeypatch.setattr(transformers.utils.hub, name, getattr(Hub(), name), raising=False)
    card = huggingface_hub.ModelCard("---\ntags: []\n---\n# A model\n")
    monkeypatch.setattr(transformers.utils.hub, "create_and_tag_model_card", lambda *_, **__: card)
    tiny_model("question answering", attention_dilation=2).push_to_hub("someone/something")
    assert {"config.json", "model.safetensors", "README.md"} <= set(uploaded)
    text = uploaded["README.md"].decode()
    assert text.startswith("---\ntags: []\n---\n")
    assert "attention_dilation" in text
    assert "# A model" in text


def test_model_card_warns_where_stock_transformers_would_differ(tiny_model, tmp_path, caplog):
    model = tiny_model("sequence classification")
    card = tmp_path / "README.md"
    model.save_pretrained(tmp_path)
    assert not card.exists()

    model.config.global_attention_size = 2
    with caplog.at_level(logging.WARNING, "longspan"):
        model.save_pretrained(tmp_path)
    assert "global_attention_size" in caplog.text
    assert "**Load this model with longspan.**" in card.read_text()
    assert card.read_text().startswith("---\nlibrary_name: transformers\n")

    card.write_text("---\nlicense: mit\n---\n\n# Mine\n\nText.\n")
    for _ in range(2):
        model.save_pretrained(tmp_path)
    text = card.read_text()
    assert text.startswith("---\nlicense: mit\n---\n")
    assert text.endswith("# Mine\n\nText.\n")
    assert text.count("global_attention_size") == 1

    model.config.global_attention_size = 0
    model.save_pretrained(tmp_path)
    assert card.read_text().split() == ["---", "license:", "mit", "---", "#", "Mine", "Text."]


def test_other_ranks_write_no_model_card(tiny_model, tmp_path):
    tiny_model(attention_dilation=2).save_pretrained(tmp_path, is_main_process=False)
    assert not (tmp_path / "README.md").exists()


def test_uploaded_card_warns_about_stock_transformers(tiny_model, batch, tmp_path):
    """All three differences are real: the same files give other numbers."""
    inputs = batch([21], separators=(3,))
    for difference in (
        {"attention_dilation": 2},
        {"global_attention_size": 2},
        {"classifier_activation": "relu"},
    ):
        ours = tiny_model("sequence classification", **difference)
        ours.save_pretrained(tmp_path)
        stock = transformers.LongformerForSequenceClassification.from_pretrained(tmp_path).eval()
        assert not torch.allclose(stock(**inputs).logits, ours(**inputs).logits, atol=1e-5)
        assert next(iter(difference)) in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize("kind", ["XLMRoberta", "Bert"])
def test_other_model_type_is_refused(tmp_path, kind):
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=60, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    getattr(transformers, f"{kind}Model")(config).save_pretrained(tmp_path)
    for load in (longspan.LongformerModel.from_pretrained, longspan.LongformerConfig.from_pretrained):
        with pytest.raises(InputError, match=rf"is of model_type '{config.model_type}'.*longspan\.extend"):
            load(tmp_path)
