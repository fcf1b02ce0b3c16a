"""The command around `export_model`; what it writes is under test in `tests/models/graphs.py`."""

from longspan.cli.main import main
from longspan.models import export


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
