import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import longspan
from longspan.errors import InputError
from longspan.tasks.open_model import load_qa_model


@pytest.fixture
def folder(tiny_qa_folder, tmp_path):
    return shutil.copytree(tiny_qa_folder("xlm-roberta"), tmp_path / "model")


def test_a_longformer_becomes_longspans(tiny_qa_folder):
    model, tokenizer = load_qa_model(tiny_qa_folder("longformer"))
    assert type(model) is longspan.LongformerForQuestionAnswering
    assert isinstance(model.config, longspan.LongformerConfig)
    assert not model.training
    assert tokenizer.is_fast


def test_a_fresh_head_only_where_it_is_asked_for(tiny_qa_folder):
    with pytest.raises(InputError, match=r"no trained question answering head.*finetune"):
        load_qa_model(tiny_qa_folder("xlm-roberta encoder"))
    model, _ = load_qa_model(tiny_qa_folder("xlm-roberta encoder"), needs_head=False)
    assert torch.isfinite(model.qa_outputs.weight).all()


def test_a_missing_folder():
    with pytest.raises(InputError, match="nowhere: no such folder"):
        load_qa_model("./nowhere")


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(InputError, match="is missing"):
        load_qa_model(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(InputError, match="not finished"):
        load_qa_model(tmp_path)


def test_a_file(tiny_squad):
    with pytest.raises(InputError, match="is a file"):
        load_qa_model(tiny_squad)


def test_a_folder_without_weights(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match="no model"):
        load_qa_model(folder)


def test_a_folder_without_a_tokenizer(folder):
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(InputError, match="has no tokenizer"):
        load_qa_model(folder)


def test_pickles_need_insisting(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"pickle.*--allow_pickle"):
        load_qa_model(folder)
    load_qa_model(folder, allow_pickle=True)


def test_damaged_weights(folder):
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="cut off or damaged"):
        load_qa_model(folder)


def test_a_missing_tensor_is_named(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["roberta.encoder.layer.1.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lacks tensor roberta\.encoder\.layer\.1\.output\.dense\.weight"):
        load_qa_model(folder)


def test_a_misshapen_tensor_is_named(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 300}))
    with pytest.raises(InputError, match=r"word_embeddings.weight has shape \(200, 16\)"):
        load_qa_model(folder)


def test_a_damaged_configuration(folder):
    (folder / "config.json").write_text("{")
    with pytest.raises(InputError, match="cannot load"):
        load_qa_model(folder)
