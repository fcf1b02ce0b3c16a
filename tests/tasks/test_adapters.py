import json
import shutil
from argparse import Namespace
from dataclasses import replace

import pytest
import torch
from transformers import AutoTokenizer

import longspan
from longspan.cli.evaluate import weight_hashes
from longspan.errors import InputError
from longspan.records import hash_file
from longspan.tasks.adapter_files import find_adapter, is_adapter
from longspan.tasks.adapters import (
    extract_adapter,
    fingerprint,
    load_adapter,
    read_adapter,
    save_adapter,
    truncate_adapter,
)
from longspan.tasks.open_model import load_qa_model
from longspan.tasks.start_model import build_qa_model

EXTENSION = {"max_tokens": 192, "attention_window": 16}


def moved(model, *, frozen=("word_embeddings",)):
    """Every parameter but the frozen ones a little away from where it was, as a fine-tuning leaves them."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not any(part in name for part in frozen):
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.fixture
def base(tiny_qa_folder):
    return str(tiny_qa_folder("xlm-roberta encoder"))


@pytest.fixture
def tuned(base):
    return moved(build_qa_model(base, **EXTENSION).model)


@pytest.fixture
def saved(base, tuned, tmp_path):
    folder = tmp_path / "adapter"
    folder.mkdir()
    save_adapter(extract_adapter(base, tuned, 4), folder)
    return folder


def logits(model, folder):
    inputs = AutoTokenizer.from_pretrained(folder)(
        "Where was Anna born?", "Anna was born in Lund.", return_tensors="pt"
    )
    with torch.no_grad():
        return torch.stack(model.eval()(**inputs)[:2])


def test_full_rank_is_the_tuned_model(base, tuned, tmp_path):
    adapter = extract_adapter(base, tuned, 1000)
    assert adapter.description.rank == 16
    assert min(adapter.description.kept.values()) == pytest.approx(1)
    save_adapter(adapter, tmp_path)
    model, tokenizer = load_adapter(tmp_path)
    assert type(model) is longspan.LongformerForQuestionAnswering
    assert tokenizer.model_max_length == 192
    assert model.config.attention_window == [16, 16]
    for name, value in tuned.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, atol=1e-5, rtol=1e-5, msg=name)
    torch.testing.assert_close(logits(model, base), logits(tuned, base), atol=1e-5, rtol=1e-4)


def test_a_lower_rank_holds_less_and_says_how_much(base, tuned):
    shares = [extract_adapter(base, tuned, rank).description.kept for rank in (1, 4, 8)]
    for few, some, many in zip(*(one.values() for one in shares), strict=True):
        assert 0 < few < some < many < 1
    assert len(shares[0]) == 2 * 9, "q, k, v, each twice, and three maps more, in two layers"


def test_cut_to_a_lower_rank_it_is_the_adapter_of_that_rank(base, tuned):
    cut = truncate_adapter(extract_adapter(base, tuned, 8, position_rank=5), 3)
    expected = extract_adapter(base, tuned, 3, position_rank=5)
    assert cut.description.kept == pytest.approx(expected.description.kept, abs=1e-6)
    assert cut.description.model_copy(update={"kept": {}}) == expected.description.model_copy(update={"kept": {}})
    for name, (a, b) in expected.factors.items():
        torch.testing.assert_close(cut.factors[name].b @ cut.factors[name].a, b @ a, atol=1e-5, rtol=1e-4)
    with pytest.raises(InputError, match="only an adapter that was extracted"):
        truncate_adapter(replace(cut, description=cut.description.model_copy(update={"kept": {}})), 2)


def test_position_rows_whole_or_by_factors(base, tuned, tmp_path):
    name = "longformer.embeddings.position_embeddings.weight"
    adapter = extract_adapter(base, tuned, 4, position_rank=16)
    assert name in adapter.factors
    assert name not in adapter.whole
    save_adapter(adapter, tmp_path)
    model, _ = load_adapter(tmp_path)
    torch.testing.assert_close(model.get_parameter(name), tuned.get_parameter(name), atol=1e-5, rtol=1e-5)


def test_half_precision_takes_less_room_and_spares_what_is_small(base, tuned, saved, tmp_path):
    adapter = read_adapter(saved)
    save_adapter(adapter, tmp_path, half=True)
    assert len({path.stat().st_mode for path in saved.iterdir()}) == 1, "who reads one file may read all"
    halves, singles = ((f / "adapter_model.safetensors").stat().st_size for f in (tmp_path, saved))
    assert halves < 0.8 * singles
    again = read_adapter(tmp_path)
    assert torch.equal(again.whole["qa_outputs.weight"], adapter.whole["qa_outputs.weight"])
    torch.testing.assert_close(
        logits(load_adapter(tmp_path)[0], base), logits(load_adapter(saved)[0], base), atol=2e-2, rtol=0
    )


# peft 0.21 asks by the name that transformers 5.23 deprecates.
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_peft_puts_it_on_the_extended_base_as_well(base, saved):
    peft = pytest.importorskip("peft")
    wrapped = peft.PeftModel.from_pretrained(build_qa_model(base, **EXTENSION).model, saved)
    torch.testing.assert_close(logits(wrapped, base), logits(load_adapter(saved)[0], base), atol=1e-5, rtol=1e-4)


def test_a_short_model_and_a_model_object(tiny_qa_folder, tmp_path):
    short, _ = load_qa_model(tiny_qa_folder("bert"))
    tuned = moved(load_qa_model(tiny_qa_folder("bert"))[0])
    before = {name: value.clone() for name, value in short.state_dict().items()}
    save_adapter(extract_adapter(short, tuned, 16), tmp_path)
    model, tokenizer = load_adapter(tmp_path, short)
    assert tokenizer is None
    torch.testing.assert_close(logits(model, tiny_qa_folder("bert")), logits(tuned, tiny_qa_folder("bert")))
    assert all(torch.equal(value, before[name]) for name, value in short.state_dict().items()), "left as it was"


def test_a_folder_is_loaded_wherever_a_model_is(saved):
    assert is_adapter(saved)
    model, tokenizer = load_qa_model(saved, dtype=torch.bfloat16)
    assert model.dtype == torch.bfloat16
    assert tokenizer.is_fast


def test_another_base_of_the_same_shape_is_refused(base, saved, tmp_path):
    other = moved(build_qa_model(base).model)
    other.save_pretrained(tmp_path / "other")
    AutoTokenizer.from_pretrained(base).save_pretrained(tmp_path / "other")
    with pytest.raises(InputError, match=r"adapter for .*other has other weights \(fingerprint \w{12}, not"):
        load_adapter(saved, tmp_path / "other")


def test_another_kind_of_base_is_refused(saved, tiny_qa_folder):
    with pytest.raises(InputError, match=r"is an adapter for .*, not for .*: .* has shape .* there and .* here"):
        load_adapter(saved, tiny_qa_folder("bert"))


def test_a_base_that_is_gone(saved):
    text = (saved / "adapter.json").read_text()
    fields = json.loads(text)
    (saved / "adapter.json").write_text(json.dumps(fields | {"base": "./gone/base"}))
    with pytest.raises(InputError, match=r"adapter for \./gone/base, which cannot be loaded \(\./gone/base: no such"):
        load_qa_model(saved)


def test_the_fingerprint_is_the_encoders_alone(base):
    one, other = (build_qa_model(base, seed=seed).model for seed in (1, 2))
    assert not torch.equal(one.qa_outputs.weight, other.qa_outputs.weight)
    assert fingerprint(one) == fingerprint(other)
    with torch.no_grad():
        other.base_model.encoder.layer[1].output.dense.bias[0] += 1e-3
    assert fingerprint(one) != fingerprint(other)


def test_what_an_adapter_cannot_hold(base, tuned, tiny_qa_folder, monkeypatch):
    with pytest.raises(InputError, match=r"was not made from .* has shape"):
        extract_adapter(str(tiny_qa_folder("bert")), build_qa_model(base).model, 4)
    monkeypatch.setattr("longspan.tasks.adapters._MOST_WHOLE", 2000)
    with pytest.raises(InputError, match=r"changed.*fine-tune with freeze: position_embeddings"):
        extract_adapter(base, tuned, 4)
    with pytest.raises(InputError, match="the rank is 0"):
        extract_adapter(base, tuned, 0)


def test_damaged_files(saved, tmp_path):
    weights = (saved / "adapter_model.safetensors").read_bytes()
    (saved / "adapter_model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(InputError, match=r"adapter_model.safetensors is cut off or damaged"):
        load_qa_model(saved)
    (saved / "adapter_model.safetensors").unlink()
    with pytest.raises(InputError, match=r"lacks adapter_model.safetensors"):
        load_qa_model(saved)
    (saved / "adapter.json").write_text('{"format": 2}')
    with pytest.raises(InputError, match=r"adapter.json does not describe an adapter .*: format"):
        load_qa_model(saved)
    (saved / "adapter.json").unlink()
    with pytest.raises(InputError, match=r"adapter.json is missing \(PEFT alone wrote it"):
        load_qa_model(saved)
    with pytest.raises(InputError, match="no such folder"):
        find_adapter(tmp_path / "nowhere")


def test_the_packaged_one(saved, tmp_path, monkeypatch):
    monkeypatch.setattr("longspan.tasks.adapter_files.packaged_folder", lambda: tmp_path / "packaged")
    with pytest.raises(InputError, match=r"no trained model comes with.*longspan finetune squad-e5-adapter-"):
        load_qa_model("packaged")
    shutil.copytree(saved, tmp_path / "packaged")
    assert load_qa_model("packaged")[0].config.model_type == "longformer"
    hashes = weight_hashes(Namespace(model="packaged", short_model=None))
    assert hashes == {"packaged/adapter_model.safetensors": hash_file(saved / "adapter_model.safetensors")}
