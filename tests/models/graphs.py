"""torch.compile, torch.export and ONNX: one graph with the outputs of the model at every length.

Run by `test_graphs.py`, without the checker of types that the other tests run under: it would be traced along.
"""

import importlib.util
import json
import shutil

import pytest
import torch
import torch._dynamo

from longspan import extend
from longspan.cli.main import main
from longspan.extend.saving import save_extended
from longspan.models.export import export_model, load_model

# Wide and deep enough to go wrong, small enough to trace in seconds.
SMALL = {"num_hidden_layers": 1, "max_position_embeddings": 4098, "sep_token_id": 2}

needs_onnx = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("onnx", "onnxscript", "onnxruntime"))),
    reason="ONNX is an extra: pip install 'longspan[onnx]'",
)
# What torch and its exporter say of their own code while they trace.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def outputs_of(model, inputs) -> list[torch.Tensor]:
    return [x for name, x in model(**inputs).items() if name != "loss"]


def assert_equal_runs(model, compiled, inputs, tolerance=1e-5) -> None:
    """The outputs and, if requested, all gradients."""
    found = {}
    for name, run in (("eager", model), ("compiled", compiled)):
        model.zero_grad()
        outputs = outputs_of(run, inputs)
        if torch.is_grad_enabled():
            sum(x.square().sum() for x in outputs).backward()
        found[name] = [
            *outputs,
            *(parameter.grad for parameter in model.parameters() if parameter.grad is not None),
        ]
    assert len(found["eager"]) == len(found["compiled"])
    for expected, x in zip(found["eager"], found["compiled"], strict=True):
        scale = max(1.0, float(expected.detach().abs().max()))
        torch.testing.assert_close(x, expected, atol=tolerance * scale, rtol=1e-4)


@pytest.mark.parametrize(
    ("n_global", "is_training"),
    [
        (2, True),
        (0, False),
        pytest.param(0, True, marks=pytest.mark.slow),
        pytest.param(2, False, marks=pytest.mark.slow),
    ],
)
def test_model_compiles_to_one_graph(n_global, is_training, tiny_model, batch):
    model = tiny_model(global_attention_size=n_global, **SMALL).train(is_training)
    graphs = []
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend=_counting(graphs))
    with torch.set_grad_enabled(is_training):
        assert_equal_runs(model, compiled, batch([23, 14]))
        n_graphs = len(graphs)
        for lengths in ([90, 60, 31], [17, 16, 5, 5]):
            assert_equal_runs(model, compiled, batch(lengths))
    assert len(graphs) == n_graphs, "another length was compiled anew"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("head", "n_global"),
    [
        ("question answering", 2),
        ("sequence classification", 0),  # its first token is global without looking at the data
        ("masked lm", 0),
        ("token classification", 1),
    ],
)
def test_every_head_compiles_into_one_graph(head, n_global, tiny_model, batch):
    model = tiny_model(head, global_attention_size=n_global, **SMALL)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        assert_equal_runs(model, compiled, batch([23, 14], separators=[4]))


@pytest.mark.slow
def test_multiple_choice_compiles_into_one_graph(tiny_model, batch):
    model = tiny_model("multiple choice", global_attention_size=1, **SMALL)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    inputs = {name: x.view(2, 2, -1) for name, x in batch([23, 14, 20, 23], separators=[4]).items()}
    with torch.no_grad():
        assert_equal_runs(model, compiled, inputs)


@pytest.mark.parametrize("head", ["question answering", pytest.param("base", marks=pytest.mark.slow)])
def test_dynamic_global_tokens_break_the_graph_once(head, tiny_model, batch):
    model = tiny_model(head, **SMALL)
    inputs = batch([23, 14], [[0, 1, 20], [3]] if head == "base" else None, separators=[4])
    graphs = []
    with torch.no_grad():
        assert_equal_runs(model, torch.compile(model, backend=_counting(graphs)), inputs)
    assert 1 <= len(graphs) <= 2


@pytest.mark.slow
def test_dynamic_global_tokens_with_captured_scalars_are_one_graph(tiny_model, batch):
    model = tiny_model("question answering", attention_backend="chunked", **SMALL)
    inputs = batch([23, 14], separators=[4])
    with torch.no_grad(), torch._dynamo.config.patch(capture_scalar_outputs=True):
        assert_equal_runs(model, torch.compile(model, fullgraph=True, backend="aot_eager"), inputs)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
def test_compiled_by_inductor(tiny_model, batch):
    model = tiny_model("sequence classification", **SMALL).train()
    assert_equal_runs(model, torch.compile(model, fullgraph=True), batch([23, 14]))


@pytest.mark.parametrize("strict", [pytest.param(False, marks=pytest.mark.slow), True])
def test_torch_export_as_users_write_it(strict, tiny_model, batch, tmp_path):
    """Plain `torch.export` with dynamic dimensions, saved and loaded, without our own function."""
    model = tiny_model(global_attention_size=2, attention_dilation=[[1, 2]], **SMALL)
    rows, tokens = torch.export.Dim("rows"), torch.export.Dim("tokens", min=3, max=4096)
    example = batch([40, 31])
    program = torch.export.export(
        model, (), example, dynamic_shapes={name: {0: rows, 1: tokens} for name in example}, strict=strict
    )
    torch.export.save(program, tmp_path / "model.pt2")
    loaded = torch.export.load(tmp_path / "model.pt2").module()
    with torch.no_grad():
        for lengths in ([17], [512, 300, 9], [1000, 512], [4096]):
            inputs = batch(lengths)
            for expected, found in zip(outputs_of(model, inputs), loaded(**inputs).values(), strict=True):
                torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_exported_questions_of_any_length_are_global(tiny_model, tmp_path):
    """`export_model` compares at lengths of 17, 512, 1,000 and 4,096, with 1 and 3 rows, and would refuse."""
    model = tiny_model("question answering", attention_backend="blocked", **SMALL).train()
    exported = export_model(model, tmp_path / "qa", format="torch")
    assert exported.largest_difference < 1e-5
    assert exported.outputs == ("start_logits", "end_logits")
    assert model.training and model.config.attention_backend == "blocked"
    loaded = torch.export.load(tmp_path / "qa" / "model.pt2").module()
    ids = torch.randint(5, 60, (2, 300), generator=torch.Generator().manual_seed(3))
    ids[0, 2], ids[1, 250] = 2, 2  # a short question, and a very long one
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with torch.no_grad():
        for expected, found in zip(outputs_of(model.eval(), inputs), loaded(**inputs), strict=True):
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    about = json.loads((tmp_path / "qa" / "export.json").read_text())
    assert about["max_tokens"] == 4096 and about["model"] == "LongformerForQuestionAnswering"


@needs_onnx
def test_onnx_of_question_answering(tiny_model, tmp_path):
    exported = export_model(tiny_model("question answering", **SMALL), tmp_path / "qa")
    assert exported.largest_difference < 1e-5
    _check_axes(tmp_path / "qa" / "model.onnx", ["batch", "tokens"], 20)


@needs_onnx
@pytest.mark.slow
@pytest.mark.parametrize(
    ("head", "overrides", "options"),
    [
        ("base", {"global_attention_size": 2, "attention_dilation": 2}, {}),
        ("base", {}, {"with_global_mask": True}),
        ("sequence classification", {"type_vocab_size": 2}, {"max_tokens": 1000}),
        ("masked lm", {}, {}),
        ("token classification", {"attention_window": 600}, {}),
        ("multiple choice", {}, {}),
    ],
)
def test_onnx_of_every_head(head, overrides, options, tiny_model, tmp_path):
    exported = export_model(tiny_model(head, **(SMALL | overrides)), tmp_path / "it", **options)
    assert exported.largest_difference < 1e-4
    assert exported.max_tokens == options.get("max_tokens", 4096)


@needs_onnx
@pytest.mark.slow
def test_command_exports_an_extended_checkpoint(tmp_path, tiny_qa_folder):
    """BERT of 64 tokens with its question answering head, extended to 4,096, saved, and loaded by `longspan export`."""
    import onnxruntime

    save_extended(extend(str(tiny_qa_folder("bert")), max_tokens=4096, attention_window=8), tmp_path / "long")
    assert main(["export", str(tmp_path / "long"), str(tmp_path / "onnx")]) == 0
    about = json.loads((tmp_path / "onnx" / "export.json").read_text())
    assert about["largest_difference"] < 1e-4 and about["max_tokens"] == 4096
    assert about["inputs"] == ["input_ids", "attention_mask", "token_type_ids"]
    model = load_model(tmp_path / "long")[0]
    session = onnxruntime.InferenceSession(tmp_path / "onnx" / "model.onnx", providers=["CPUExecutionProvider"])
    for n_tokens in (17, 512, 1000, 4096):
        ids = torch.randint(5, 200, (2, n_tokens), generator=torch.Generator().manual_seed(n_tokens))
        ids[:, [0, 7, -1]] = torch.tensor([0, 2, 2])
        mask = (torch.arange(n_tokens) < torch.tensor([[n_tokens], [n_tokens - 5]])).long()
        types = (torch.arange(n_tokens) > 7).long().expand(2, -1).contiguous()
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        found = session.run(about["outputs"], {name: x.numpy() for name, x in inputs.items()})
        with torch.no_grad():
            for expected, x in zip(outputs_of(model, inputs), found, strict=True):
                torch.testing.assert_close(torch.from_numpy(x)[mask > 0], expected[mask > 0], atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_the_command_writes_a_program_beside_its_tokenizer(tmp_path, tiny_qa_folder, capsys):
    words = ["export", str(tiny_qa_folder("longformer")), str(tmp_path / "out"), "--format", "torch"]
    assert main([*words, "--max_tokens", "100"]) == 0
    out = capsys.readouterr().out
    assert "input_ids, attention_mask -> start_logits, end_logits" in out
    assert "any batch, 3 to 100 tokens" in out
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"model.pt2", "config.json", "export.json", "tokenizer.json"} <= names
    assert main(words) == 2
    assert "is not empty" in capsys.readouterr().err


def _counting(graphs: list):
    """aot_eager that counts the graphs it gets."""
    backend = torch._dynamo.lookup_backend("aot_eager")

    def compile_graph(graph, example_inputs):
        graphs.append(graph)
        return backend(graph, example_inputs)

    return compile_graph


def _check_axes(path, names: list[str], opset: int) -> None:
    import onnx

    model = onnx.load(path, load_external_data=False)
    assert [entry.version for entry in model.opset_import if not entry.domain] == [opset]
    for given in model.graph.input:
        assert [dim.dim_param for dim in given.type.tensor_type.shape.dim] == names
