import pytest
import torch

from longspan.errors import InputError
from longspan.evaluation import SYSTEM_NAMES, systems_for
from longspan.tasks.open_model import load_qa_model


@pytest.fixture
def long(tiny_qa_folder):
    return load_qa_model(tiny_qa_folder("longformer"))


@pytest.fixture
def short(tiny_qa_folder):
    return load_qa_model(tiny_qa_folder("xlm-roberta"))


def test_all_five_around_a_long_model(long, short):
    systems = systems_for(*long, short_model=short[0], short_tokenizer=short[1])
    # The short model takes 64 tokens, and the names say so.
    assert list(systems) == [name.replace("512", "64") for name in SYSTEM_NAMES]
    truncate, windows, full, window_only, window_global = systems.values()
    assert truncate.model is windows.model is short[0] and truncate.truncate and not windows.truncate
    assert truncate.max_length == 64 and windows.overlap == 16
    assert window_only.model is window_global.model is long[0]
    assert (window_only.global_tokens, window_global.global_tokens) == ("none", "question")
    assert full.max_length == window_global.max_length == 192


def test_full_attention_shares_weights_and_leaves_the_model_as_it_was(long):
    model = long[0]
    full = systems_for(*long, names=["full attention"])["full attention"].model
    assert full is not model
    assert model.config.attention_window == [8, 8] and full.config.attention_window == [384, 384]
    for one, other in zip(model.parameters(), full.parameters(), strict=True):
        assert one is other
    ids = torch.arange(4, 104)[None]
    with torch.no_grad():
        before = model(ids).start_logits
        wide = full(ids).start_logits
        assert torch.equal(model(ids).start_logits, before)
    assert not torch.allclose(before, wide, atol=1e-6), "the wide window takes effect"


def test_full_attention_lets_every_token_see_every_other(long):
    full = systems_for(*long, names=["full attention"])["full attention"].model
    ids = torch.arange(4, 104)[None].repeat(2, 1)
    ids[1, 99] = 150
    no_global = torch.zeros_like(ids)
    with torch.no_grad():
        first, second = full(ids, global_attention_mask=no_global).start_logits
    assert (first != second).all()


def test_a_model_without_a_window_has_no_systems_with_one(short):
    assert list(systems_for(*short)) == ["truncate 64", "windows of 64"]
    with pytest.raises(InputError, match="needs a Longformer"):
        systems_for(*short, names=["window only"])


@pytest.mark.parametrize("name", ["trunkate", "window only 5", ""])
def test_unknown_names_are_refused(long, name):
    with pytest.raises(InputError, match="no system"):
        systems_for(*long, names=[name])


def test_a_length_beyond_the_short_model_is_refused(long, short):
    with pytest.raises(InputError, match=r"512.*64"):
        systems_for(*long, names=["truncate 512"], short_model=short[0], short_tokenizer=short[1])
