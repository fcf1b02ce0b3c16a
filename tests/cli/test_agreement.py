"""A tokenizer that does not belong to its model: every verb says so."""

import copy
import json
import shutil

import pytest

from longspan.cli.main import main


@pytest.fixture
def larger(tiny_qa_folder, tiny_tokenizer, tmp_path):
    """Copies a tiny model, and gives its tokenizer one piece more than the model has rows."""

    def make(kind):
        folder = shutil.copytree(tiny_qa_folder(kind), tmp_path / kind.replace(" ", "-"))
        tokenizer = copy.deepcopy(tiny_tokenizer)
        tokenizer.add_tokens(["Uppsala"])
        tokenizer.save_pretrained(folder)
        return str(folder)

    return make


@pytest.mark.parametrize("kind", ["bert", "longformer", "xlm-roberta encoder"])
@pytest.mark.parametrize("verb", ["check", "predict", "evaluate", "finetune", "pretrain", "export", "extend"])
def test_a_larger_tokenizer_is_refused_by(verb, kind, larger, tmp_path, tiny_squad, capsys):
    is_long, has_head = kind == "longformer", kind != "xlm-roberta encoder"
    if not {"export": is_long, "extend": not is_long, "predict": has_head, "evaluate": has_head}.get(verb, True):
        pytest.skip("the verb does not take that kind")
    document = tmp_path / "document.txt"
    document.write_text("Anna was born in Uppsala. " * 50, encoding="utf-8")
    out = str(tmp_path / "out")
    extension = [] if is_long else ["--max_tokens", "96", "--attention_window", "16"]
    run = ["--output_dir", out, "--use_cpu", "true", "--max_steps", "1", "--report_to", "none", *extension]
    words = {
        "check": [],
        "predict": ["--document", str(document), "--question", "Where?"],
        "evaluate": ["--data", str(tiny_squad), "--output", out],
        "export": [out],
        "extend": [out, "--proof", "none", "--max_tokens", "96"],
    }
    folder = larger(kind)
    if verb in ("finetune", "pretrain"):
        recipe = tmp_path / "recipe.yaml"
        task, data = ("masked_lm", document) if verb == "pretrain" else ("question_answering", tiny_squad)
        recipe.write_text(json.dumps({"task": task, "model": folder, "train_data": [str(data)]}))
        arguments = [verb, str(recipe), *run]
    else:
        arguments = [verb, folder, *words[verb]]
    assert main(arguments) == 2
    assert "has 201 pieces, the model 200 rows" in capsys.readouterr().err


def test_check_names_what_was_set_right(tiny_qa_folder, tmp_path, capsys):
    folder = shutil.copytree(tiny_qa_folder("longformer"), tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"sep_token_id": 7}))
    assert main(["check", str(folder)]) == 0
    assert "sep_token_id was 7; it is the tokenizer's now, 2 (</s>)" in capsys.readouterr().out


def test_export_takes_the_tokenizers_separator(tiny_qa_folder, tmp_path, monkeypatch):
    from longspan.models import export

    folder = shutil.copytree(tiny_qa_folder("longformer"), tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"sep_token_id": 7}))
    seen = []

    def pretend(model, *_, **__):
        seen.append(model.config.sep_token_id)
        return export.Exported(tmp_path, "model.onnx", ("input_ids",), ("start_logits",), 3, 100, 0.0)

    monkeypatch.setattr(export, "export_model", pretend)
    assert main(["export", str(folder), str(tmp_path / "out")]) == 0
    assert seen == [2]


@pytest.mark.parametrize(("role", "kind", "task"), [("mask", "xlm-roberta", "masked_lm"), ("pad", "bert", None)])
def test_check_asks_for_tokens_that_training_needs(role, kind, task, tiny_qa_folder, tmp_path, tiny_squad, capsys):
    folder = shutil.copytree(tiny_qa_folder(kind), tmp_path / "model")
    path = folder / "tokenizer_config.json"
    values = json.loads(path.read_text())
    del values[f"{role}_token"]
    path.write_text(json.dumps(values))
    recipe = tmp_path / "recipe.yaml"
    text = tmp_path / "text.txt"
    text.write_text("Anna was born in Lund. " * 50, encoding="utf-8")
    data = [str(text if task else tiny_squad)]
    fields = {"task": task or "question_answering", "model": str(folder), "train_data": data}
    recipe.write_text(json.dumps(fields | {"output_dir": str(tmp_path / "out"), "use_cpu": True}))
    assert main(["check", str(recipe), "--max_tokens", "96", "--attention_window", "16", "--proof", "none"]) == 2
    assert f"has no {'padding' if role == 'pad' else role} token" in capsys.readouterr().err


def test_check_looks_at_a_classifiers_own_head(tiny_tokenizer, tmp_path, capsys):
    import transformers

    from longspan.extend import extend, save_extended

    shape = {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 32, "max_position_embeddings": 64}
    config = transformers.DistilBertConfig(vocab_size=200, num_labels=3, pad_token_id=1, **shape)
    model = transformers.DistilBertForSequenceClassification(config)
    extended = extend(model, tiny_tokenizer, max_tokens=96, attention_window=16, proof="none")
    save_extended(extended, tmp_path / "long")
    assert main(["check", str(tmp_path / "long")]) == 0
    out = capsys.readouterr().out
    assert "`classifier_activation` is relu" in out
    assert "its head and labels are left behind" in out
