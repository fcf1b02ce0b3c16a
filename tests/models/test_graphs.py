"""Graphs, in a separate process (`graphs.py`), and refusals of export before tracing."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from longspan.errors import InputError
from longspan.models.export import _largest_difference, _require_written, export_model, load_model
from longspan.models.tracing import Traced, trace_model

needs_onnx = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("onnx", "onnxscript", "onnxruntime"))),
    reason="ONNX is an extra: pip install 'longspan[onnx]'",
)
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


@needs_onnx
@pytest.mark.parametrize("opset", [9, 17, 99])
def test_an_opset_that_cannot_be_written_is_refused(opset, tiny_model, tmp_path):
    with pytest.raises(InputError, match=rf"opset is {opset}; the installed onnxscript writes 18 to \d+: choose one"):
        export_model(tiny_model(**SMALL), tmp_path / "it", opset=opset)
    assert not (tmp_path / "it").exists()


@needs_onnx
def test_an_opset_is_read_back_from_the_file(tmp_path):
    import onnx

    graph = onnx.helper.make_graph([], "empty", [], [])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)]), tmp_path / "it.onnx")
    _require_written(tmp_path / "it.onnx", 18)
    with pytest.raises(InputError, match="opset is 20, but the exporter can write this model as 18 only"):
        _require_written(tmp_path / "it.onnx", 20)


@needs_onnx
def test_a_graph_that_onnxruntime_cannot_open(tiny_model, tmp_path):
    (tmp_path / "it.onnx").write_bytes(b"no graph")
    traced = Traced(None, (), (), {}, 3, 100)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="cannot open the graph"):
        _largest_difference(tiny_model(**SMALL), traced, tmp_path / "it.onnx")


def test_an_opset_needs_onnx(tiny_model, tmp_path):
    with pytest.raises(InputError, match="opset 20 is of no effect with the format torch"):
        export_model(tiny_model(**SMALL), tmp_path / "it", format="torch", opset=20)


def test_checkpoint_is_loaded_with_its_head(tiny_model, tiny_tokenizer, tmp_path):
    tiny_model("question answering", **SMALL).save_pretrained(tmp_path)
    model, tokenizer = load_model(tmp_path)
    assert type(model).__name__ == "LongformerForQuestionAnswering" and tokenizer is None
    tiny_tokenizer.save_pretrained(tmp_path)
    assert load_model(tmp_path)[1] is not None
    with pytest.raises(InputError, match="no such folder"):
        load_model(tmp_path / "nothing")
