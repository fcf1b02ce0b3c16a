"""A folder of sentence-transformers keeps its modules when its encoder gets long."""

import json

import pytest
import torch
from safetensors.torch import save_file

from longspan.errors import InputError
from longspan.extend import extend, load_source, save_extended, sentence_modules

TYPES = "sentence_transformers.models."
# What versions 5 and 6 write.
NEW_TYPES = {
    "Transformer": "sentence_transformers.base.modules.transformer.Transformer",
    "Pooling": "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
    "Dense": "sentence_transformers.base.modules.dense.Dense",
    "Normalize": "sentence_transformers.base.modules.normalize.Normalize",
}


def write(path, value):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def as_sentence_model(folder, *, types=None, extra=()):
    """Adds pooling, a dense layer and normalisation to a checkpoint's folder."""
    names = ["Transformer", "Pooling", "Dense", "Normalize"]
    types = types or {name: TYPES + name for name in names}
    modules = [
        {"idx": i, "name": str(i), "path": f"{i}_{name}" if i else "", "type": types[name]}
        for i, name in enumerate(names)
    ]
    write(folder / "modules.json", [*modules, *extra])
    pooling = {"word_embedding_dimension": 32, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
    write(folder / "1_Pooling" / "config.json", pooling)
    dense = {
        "in_features": 32,
        "out_features": 8,
        "bias": True,
        "activation_function": "torch.nn.modules.linear.Identity",
    }
    write(folder / "2_Dense" / "config.json", dense)
    weights = {
        "linear.weight": torch.randn(8, 32, generator=torch.Generator().manual_seed(0)),
        "linear.bias": torch.zeros(8),
    }
    save_file(weights, folder / "2_Dense" / "model.safetensors")
    write(folder / "sentence_bert_config.json", {"max_seq_length": 40, "do_lower_case": False})
    write(folder / "config_sentence_transformers.json", {"prompts": {"query": "query: "}})
    return folder


def lengthen(folder, destination):
    extended = extend(str(folder), max_tokens=100, attention_window=80, proof="none")
    return save_extended(extended, destination)


@pytest.mark.parametrize("types", [None, NEW_TYPES], ids=["old names", "new names"])
def test_modules_are_copied_and_their_length_raised(make_model, saved, tmp_path, types):
    source = as_sentence_model(saved(make_model("xlm-roberta")), types=types)
    long = lengthen(source, tmp_path / "long")
    for name in ("modules.json", "1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors"):
        assert (long / name).read_bytes() == (source / name).read_bytes()
    assert (long / "3_Normalize").is_dir()  # it has no files
    assert json.loads((long / "sentence_bert_config.json").read_text()) == {
        "max_seq_length": 100,
        "do_lower_case": False,
    }
    assert json.loads((long / "config_sentence_transformers.json").read_text())["prompts"] == {"query": "query: "}
    card = (long / "README.md").read_text()
    assert "1_Pooling, 2_Dense, 3_Normalize" in card and "sentence-transformers" in card.split("---")[1]


def test_sentence_transformers_loads_the_long_folder(make_model, saved, tmp_path):
    library = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    source = as_sentence_model(saved(make_model("xlm-roberta")))
    long = library.SentenceTransformer(str(lengthen(source, tmp_path / "long")), device="cpu")
    short = library.SentenceTransformer(str(source), device="cpu")
    assert (short.max_seq_length, long.max_seq_length) == (40, 100)
    texts = ["the man", "the man with the dog and the house"]
    expected = torch.from_numpy(short.encode(texts))
    torch.testing.assert_close(torch.from_numpy(long.encode(texts)), expected, atol=1e-4, rtol=0)
    # What follows 40 tokens counts for the long one alone.
    ends = ["the man with " * 20, "the man with " * 20 + "question and answer " * 5]
    for model, is_equal in ((short, True), (long, False)):
        first, second = model.encode(ends)
        assert (abs(first - second).max() < 1e-6) == is_equal


@pytest.mark.parametrize(
    "module",
    [
        {"type": "my_code.Attention", "path": "4_Attention"},
        {"type": TYPES + "Router", "path": "4_Router"},
        {"type": TYPES + "Dense", "path": "../other"},
    ],
)
def test_modules_that_cannot_be_kept_are_named(make_model, saved, tmp_path, caplog, module):
    source = as_sentence_model(saved(make_model("xlm-roberta")), extra=[module])
    long = lengthen(source, tmp_path / "long")
    assert "are left behind" in caplog.text and module["type"] in caplog.text
    assert not (long / "modules.json").exists() and not (long / "1_Pooling").exists()
    assert "sentence" not in (long / "README.md").read_text()


def test_an_encoder_in_a_folder_of_its_own_is_named(make_model, saved, tmp_path):
    root = tmp_path / "root"
    saved(make_model("bert"), "root/0_Transformer")
    write(root / "modules.json", [{"type": TYPES + "Transformer", "path": "0_Transformer"}])
    with pytest.raises(InputError, match=r"keeps its encoder in 0_Transformer.*extend .*0_Transformer"):
        load_source(root)


def test_a_damaged_list_of_modules_is_named(make_model, saved, tmp_path):
    source = saved(make_model("bert"))
    (source / "modules.json").write_text("[")
    with pytest.raises(InputError, match=r"modules\.json cannot be read as JSON"):
        lengthen(source, tmp_path / "long")
    assert not (tmp_path / "long").exists()


def test_module_files_of_a_hub_name_are_downloaded(make_model, saved, tmp_path, monkeypatch):
    source = as_sentence_model(saved(make_model("bert")))
    asked = []

    def snapshot(name, *, allow_patterns, local_files_only=False):
        asked.append((name, local_files_only))
        assert "*_Pooling/*" in allow_patterns and "modules.json" in allow_patterns
        return str(source)

    monkeypatch.setattr(sentence_modules, "snapshot_download", snapshot)
    assert sentence_modules.find_modules("someone/encoder").paths == ["1_Pooling", "2_Dense", "3_Normalize"]
    assert asked == [("someone/encoder", True), ("someone/encoder", False)]
