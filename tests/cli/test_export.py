"""The command around `export_model`; what it writes is under test in `tests/models/graphs.py`."""

import torch

from longspan.cli.main import main
from longspan.models import export
from longspan.tasks.adapters import extract_adapter, save_adapter
from longspan.tasks.open_model import load_qa_model


def test_options_are_handed_on_and_the_difference_is_printed(tmp_path, tiny_qa_folder, capsys, monkeypatch):
    given = {}

    def pretend(model, destination, **options):
        given.update(options, model=type(model).__name__)
        return export.Exported(tmp_path, "model.onnx", ("input_ids",), ("start_logits",), 3, 100, 2.5e-7)

    monkeypatch.setattr(export, "export_model", pretend)
    words = ["export", str(tiny_qa_folder("longformer")), str(tmp_path / "out"), "--max_tokens", "100"]
    assert main([*words, "--opset", "18", "--with_global_mask"]) == 0
    out = capsys.readouterr().out
    assert "LongformerForQuestionAnswering: input_ids -> start_logits" in out
    assert "any batch, 3 to 100 tokens" in out
    assert "largest difference from the model: 2.5e-07" in out
    assert given["tokenizer"] is not None
    assert (given["max_tokens"], given["opset"], given["with_global_mask"]) == (100, 18, True)


def test_another_family_is_refused(tmp_path, tiny_qa_folder, capsys):
    assert main(["export", str(tiny_qa_folder("xlm-roberta")), str(tmp_path / "out")]) == 2
    assert "make it a Longformer with `longspan extend`" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_adapter_is_exported_as_a_model(tmp_path, tiny_qa_folder, capsys, monkeypatch):
    kinds = []

    def pretend(model, destination, **options):
        kinds.append(type(model).__name__)
        return export.Exported(tmp_path, "model.onnx", ("input_ids",), ("start_logits",), 3, 100, 2.5e-7)

    monkeypatch.setattr(export, "export_model", pretend)
    adapter = _adapter_of(tiny_qa_folder("longformer"), tmp_path)
    assert main(["export", str(adapter), str(tmp_path / "out")]) == 0
    assert kinds == ["LongformerForQuestionAnswering"]


def test_an_adapter_is_extended_as_a_model(tmp_path, tiny_qa_folder, capsys):
    adapter = _adapter_of(tiny_qa_folder("bert"), tmp_path)
    words = ["--max_tokens", "96", "--attention_window", "16", "--proof", "quick"]
    assert main(["extend", str(adapter), str(tmp_path / "out"), *words]) == 0
    assert (tmp_path / "out/tokenizer.json").is_file()
    assert "LongformerForQuestionAnswering" in (tmp_path / "out/config.json").read_text()


def _adapter_of(base, tmp_path):
    tuned, _ = load_qa_model(base)
    with torch.no_grad():
        next(one for name, one in tuned.named_parameters() if name.endswith("query.weight")).add_(0.1)
    folder = tmp_path / "adapter"
    folder.mkdir()
    save_adapter(extract_adapter(base, tuned, rank=2), folder)
    return folder
