import copy
import subprocess
import sys

import pytest
import torch
import transformers
import yaml
from safetensors import SafetensorError
from tokenizers import processors
from transformers import AutoTokenizer

import longspan
from longspan.errors import InputError
from longspan.extend import extend, save_extended, saving
from longspan.records import read_record

WINDOW = 16
FILES = {"README.md", "config.json", "model.safetensors", "proof.json", "tokenizer.json", "tokenizer_config.json"}


@pytest.fixture
def extended(make_model, tokenizer):
    return extend(make_model("roberta", "question_answering"), tokenizer, max_tokens=100, attention_window=WINDOW)


def answers_of(model, ids):
    mask = torch.zeros_like(ids)
    mask[:, :3] = 1
    with torch.no_grad():
        output = model(ids, global_attention_mask=mask)
    return torch.stack([output.start_logits, output.end_logits])


@pytest.mark.parity
def test_transformers_and_longspan_load_what_was_saved_with_equal_outputs(extended, tmp_path):
    folder = save_extended(extended, tmp_path / "new")
    ids = torch.randint(5, 400, (2, 90), generator=torch.Generator().manual_seed(0))
    expected = answers_of(extended.model, ids)
    for library in (transformers, longspan):
        model = library.LongformerForQuestionAnswering.from_pretrained(folder).eval()
        torch.testing.assert_close(answers_of(model, ids), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("n_separators", "kind"), [(2, "question_answering"), (3, "question_answering"), (2, "base")])
def test_the_card_says_what_stock_separators_need(make_model, tokenizer, tmp_path, n_separators, kind):
    tokenizer = copy.deepcopy(tokenizer)
    pair = "<s> $A </s> $B </s>" if n_separators == 2 else "<s> $A </s> </s> $B </s>"
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair=pair, special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    made = extend(make_model("bert", kind), tokenizer, max_tokens=100, attention_window=WINDOW, proof="none")
    folder = save_extended(made, tmp_path / "new")
    needs_mask = n_separators == 2 and kind == "question_answering"
    assert (
        "In stock transformers, give it a `global_attention_mask`" in (folder / "README.md").read_text()
    ) == needs_mask
    if kind == "base":
        return
    # It is true of stock transformers.
    stock = transformers.LongformerForQuestionAnswering.from_pretrained(folder)
    rows = AutoTokenizer.from_pretrained(folder)("where", "the man with the dog", return_tensors="pt")
    assert longspan.LongformerForQuestionAnswering.from_pretrained(folder)(**rows).start_logits.isfinite().all()
    if not needs_mask:
        assert stock(**rows).start_logits.isfinite().all()
        return
    with pytest.raises(AssertionError, match="exactly three separator tokens"):
        stock(**rows)
    mask = (rows["input_ids"] == tokenizer.sep_token_id).cumsum(-1) == 0
    assert stock(**rows, global_attention_mask=mask.long()).start_logits.isfinite().all()


@pytest.mark.parity
def test_a_process_without_longspan_loads_it_with_equal_outputs(extended, tmp_path):
    folder = save_extended(extended, tmp_path / "new")
    program = """
import sys, torch, transformers
sys.modules["longspan"] = None
transformers.logging.disable_progress_bar()
folder, out = sys.argv[1:]
model = transformers.AutoModelForQuestionAnswering.from_pretrained(folder).eval()
tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
ids = torch.tensor([tokenizer("the man with the dog " * 40, truncation=True)["input_ids"]])
mask = torch.zeros_like(ids)
mask[:, :3] = 1
with torch.no_grad():
    output = model(ids, global_attention_mask=mask)
torch.save({"ids": ids, "logits": torch.stack([output.start_logits, output.end_logits])}, out)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder), str(tmp_path / "out.pt")],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    found = torch.load(tmp_path / "out.pt")
    assert found["ids"].shape == (1, 100)
    torch.testing.assert_close(answers_of(extended.model, found["ids"]), found["logits"], atol=1e-4, rtol=0)


def test_the_folder_holds_the_model_the_tokenizer_the_card_and_the_proof(extended, tmp_path):
    folder = save_extended(extended, str(tmp_path / "a" / "new"))
    assert {path.name for path in folder.iterdir()} == FILES
    assert read_record(folder / "proof.json") == extended.proof
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.model_max_length == 100
    assert tokenizer("the man", "with a dog")["input_ids"] == extended.tokenizer("the man", "with a dog")["input_ids"]


def test_the_card_has_tags_recipe_proof_and_use(make_model, tokenizer, saved, tmp_path):
    source = saved(make_model("bert", "sequence_classification"))
    tags = "---\nlicense: cc0-1.0\nlanguage: sv\nbase_model: kb/bert\n---\n# Source\n"
    (source / "README.md").write_text(tags, encoding="utf-8")
    folder = save_extended(extend(str(source), max_tokens=100, attention_window=[4, 6]), tmp_path / "new-100")
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert yaml.safe_load(card.split("---")[1]) == {
        "library_name": "transformers",
        "tags": ["longspan", "longformer", "long-context"],
        "pipeline_tag": "text-classification",
        "base_model": "kb/bert",
        "license": "cc0-1.0",
        "language": ["sv"],
    }
    for words in (
        "# new-100",
        "A BERT encoder of 40 tokens, extended to a Longformer of 100 tokens",
        "source: `source`",
        "4, 6 (layer by layer [4, 6])",
        "repeated over the new length",
        "| inputs of at most 3 tokens: every hidden state | 3 |",
        "| 40 tokens |",
        'LongformerForSequenceClassification.from_pretrained("new-100")',
    ):
        assert words in card
    assert str(tmp_path) not in card


def test_the_card_warns_where_stock_transformers_differs(make_model, tmp_path):
    folder = save_extended(
        extend(make_model("electra", "sequence_classification"), max_tokens=64, attention_window=WINDOW),
        tmp_path / "new",
    )
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "`classifier_activation` is gelu; stock transformers uses tanh" in card
    assert "Stock transformers loads it as" not in card
    assert "model.safetensors" in {path.name for path in folder.iterdir()}


def test_a_folder_that_is_not_empty_is_kept_unless_told(extended, tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "old.txt").write_text("old")
    with pytest.raises(InputError, match="is not empty"):
        save_extended(extended, tmp_path / "new")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["old.txt"]
    save_extended(extended, tmp_path / "new", overwrite=True)
    assert {path.name for path in (tmp_path / "new").iterdir()} == FILES


def test_a_killed_save_leaves_the_old_folder(extended, tmp_path, monkeypatch):
    folder = save_extended(extended, tmp_path / "new")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def die(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(saving, "extension_card", die)
    with pytest.raises(KeyboardInterrupt):
        save_extended(extended, folder, overwrite=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_the_working_folder_may_be_the_destination(extended, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for overwrite in (False, True):
        save_extended(extended, ".", overwrite=overwrite)
        assert {path.name for path in tmp_path.iterdir()} == FILES
        assert f"# {tmp_path.name}\n" in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize("size", ["32k", "64k"])
def test_weights_on_a_disk_without_room(extended, mounted, size):
    folder = mounted(size)
    with pytest.raises(InputError, match=r"cannot write .*disk: No space left on device"):
        save_extended(extended, folder)
    assert not list(folder.iterdir())
    with pytest.raises(OSError, match="No space left on device"):
        extended.model.save_pretrained(folder / "model")


def test_a_full_disk_is_named_and_leaves_nothing(extended, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(extended.model, "save_pretrained", refuse)
    with pytest.raises(InputError, match=r"cannot write .*new: .*No space left on device.*choose another place"):
        save_extended(extended, tmp_path / "new")
    assert not list(tmp_path.iterdir())
