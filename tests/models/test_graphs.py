"""Graphs, in a separate process (`graphs.py`), and refusals of export before tracing."""

import subprocess
import sys
from pathlib import Path

import pytest

from longspan.errors import InputError
from longspan.models.export import export_model, load_model
from longspan.models.tracing import trace_model

SMALL = {"num_hidden_layers": 1, "max_position_embeddings": 4098, "sep_token_id": 2}


@pytest.mark.parametrize("marked", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
def test_graphs(marked, request):
    if marked == "slow" and request.config.option.markexpr != "slow":
        pytest.skip("every head and format takes minutes: pytest -m slow tests/models/test_graphs.py")
    file = Path(__file__).parent / "graphs.py"
    options = ["-q", "-m", marked, "-p", "no:cacheprovider", "-o", "addopts=--strict-markers --import-mode=importlib"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", str(file), "--show-capture=no", *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]


def test_what_cannot_be_exported(tiny_model, stock_model, tmp_path, monkeypatch):
    model = tiny_model(**SMALL)
    with pytest.raises(InputError, match="export takes one of LongformerModel"):
        export_model(stock_model(), tmp_path / "it")
    with pytest.raises(InputError, match="the format is one of onnx, torch, not 'tf'"):
        export_model(model, tmp_path / "it", format="tf")
    with pytest.raises(InputError, match="max_tokens must be from 6 to the model's 4,096, not 5000"):
        trace_model(model, max_tokens=5000)
    with pytest.raises(InputError, match=r"load it with dtype=torch\.float32"):
        export_model(tiny_model(**SMALL).half(), tmp_path / "it")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'longspan\[onnx\]'"):
        export_model(model, tmp_path / "it")
    assert not (tmp_path / "it").exists()


def test_checkpoint_is_loaded_with_its_head(tiny_model, tiny_tokenizer, tmp_path):
    tiny_model("question answering", **SMALL).save_pretrained(tmp_path)
    model, tokenizer = load_model(tmp_path)
    assert type(model).__name__ == "LongformerForQuestionAnswering" and tokenizer is None
    tiny_tokenizer.save_pretrained(tmp_path)
    assert load_model(tmp_path)[1] is not None
    with pytest.raises(InputError, match="no such folder"):
        load_model(tmp_path / "nothing")
