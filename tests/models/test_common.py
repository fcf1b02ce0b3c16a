"""Points of transformers' common model tests that no other test here covers.

`common_suite.py` runs those tests themselves. Covered elsewhere: saving and loading in both directions, tied weights
and resized vocabularies (test_loading.py), rows in batches and chunked layers (test_model.py), tuples, problem types
and the layout of attention weights (test_parity.py), recomputed activations, autocast and adapters (test_training.py),
compilation (test_graphs.py), `attn_implementation` (test_config.py). Not for an encoder: generation, rotary positions,
experts, images and sound, tensor parallel plans.
"""

import copy
import inspect

import pytest
import torch
from torch import nn

import longspan

from .conftest import CLASS_OF_HEAD, HEADS

KINDS = list(CLASS_OF_HEAD)
TARGETS = {
    "masked lm": {"labels": torch.full((2, 9), 7)},
    "question answering": {"start_positions": torch.tensor([1, 2]), "end_positions": torch.tensor([3, 2])},
    "sequence classification": {"labels": torch.tensor([0, 1])},
    "token classification": {"labels": torch.ones(2, 9, dtype=torch.long)},
    "multiple choice": {"labels": torch.tensor([0, 1])},
}


@pytest.fixture
def inputs(batch):
    def make(kind="base"):
        made = batch([9, 6], [[0], [0, 1]], separators=(2, 3, 4))
        if kind == "multiple choice":
            made = {name: tensor[:, None].expand(-1, 3, -1).contiguous() for name, tensor in made.items()}
        return made

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_forward_names_its_inputs_as_transformers_asks(tiny_model, kind):
    model = tiny_model(kind)
    assert next(iter(inspect.signature(model.forward).parameters)) == model.main_input_name == "input_ids"
    assert model.base_model is (model if kind == "base" else model.longformer)


@pytest.mark.parametrize("kind", KINDS)
def test_two_calls_in_evaluation_are_the_same(tiny_model, inputs, kind):
    model = tiny_model(kind, hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.3)
    first, second = (model(**inputs(kind)).to_tuple() for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_states_and_attentions_by_argument_and_configuration(tiny_model, inputs, kind):
    model = tiny_model(kind)
    assert model(**inputs(kind)).hidden_states is None and model(**inputs(kind)).attentions is None
    asked = model(**inputs(kind), output_hidden_states=True, output_attentions=True)
    model.config.output_hidden_states = model.config.output_attentions = True
    configured = model(**inputs(kind))
    n_rows = 6 if kind == "multiple choice" else 2
    for output in (asked, configured):
        assert [tuple(state.shape) for state in output.hidden_states] == [(n_rows, 9, 8)] * 3
        assert len(output.attentions) == len(output.global_attentions) == 2
        # Two global slots, and the window with the token itself.
        assert all(weights.shape == (n_rows, 2, 9, 2 + 8 + 1) for weights in output.attentions)
        assert all(weights.shape == (n_rows, 2, 9, 2) for weights in output.global_attentions)


@pytest.mark.parametrize("kind", KINDS)
def test_a_configured_tuple_holds_the_same_tensors(tiny_model, inputs, kind):
    model = tiny_model(kind)
    asked = {"output_hidden_states": True, "output_attentions": True}
    expected = model(**inputs(kind), **asked).to_tuple()
    model.config.return_dict = False
    for found in (model(**inputs(kind), **asked), model(**inputs(kind), **asked, return_dict=False)):
        torch.testing.assert_close(found, expected, atol=0, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_embeddings_of_the_caller_give_the_same(tiny_model, inputs, kind):
    model = tiny_model(kind)
    given = inputs(kind)
    ids = given.pop("input_ids")
    expected = model(input_ids=ids, **given)[0]
    found = model(inputs_embeds=model.get_input_embeddings()(ids), **given)[0]
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", HEADS)
def test_every_parameter_gets_a_gradient(tiny_model, inputs, kind):
    model = tiny_model(kind).train()
    model(**inputs(kind), **TARGETS[kind]).loss.backward()
    missing = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert not missing


def test_activations_are_recomputed_where_that_is_on(tiny_model, checkpoint_layers):
    model = tiny_model("masked lm")
    assert model.supports_gradient_checkpointing
    layers = model.longformer.encoder
    checkpoint_layers(model)
    assert layers.gradient_checkpointing
    # transformers 5.23 gave it another name.
    getattr(model, "activation_checkpointing_disable", model.gradient_checkpointing_disable)()
    assert not layers.gradient_checkpointing


@pytest.mark.parametrize("recompute", [False, True])
def test_frozen_embeddings_can_require_gradients(tiny_model, inputs, checkpoint_layers, recompute):
    model = tiny_model("sequence classification").train()
    model.requires_grad_(False)
    model.classifier.requires_grad_(True)
    model.enable_input_require_grads()
    if recompute:
        checkpoint_layers(model, use_reentrant=True)
    seen = []
    model.get_input_embeddings().register_forward_hook(lambda module, args, output: seen.append(output))
    model(**inputs(), **TARGETS["sequence classification"]).loss.backward()
    assert seen[0].requires_grad and model.classifier.dense.weight.grad is not None
    model.disable_input_require_grads()


@pytest.mark.parametrize("kind", KINDS)
def test_all_tensors_of_a_module_move_with_it(tiny_model, kind):
    model = tiny_model(kind)
    known = {id(tensor) for tensor in (*model.parameters(), *model.buffers())}
    for name, module in model.named_modules():
        for attribute, value in vars(module).items():
            assert not isinstance(value, torch.Tensor) or id(value) in known, f"{name}.{attribute}"


@pytest.mark.parametrize("kind", KINDS)
def test_weights_missing_in_a_checkpoint_are_all_initialised(tiny_model, kind, tmp_path):
    model = tiny_model(kind)
    found, info = type(model).from_pretrained(
        None, config=copy.deepcopy(model.config), state_dict={}, output_loading_info=True
    )
    assert info["missing_keys"]
    for name, tensor in found.state_dict().items():
        assert tensor.device.type == "cpu" and tensor.isfinite().all(), name
        is_norm = "LayerNorm.weight" in name or "layer_norm.weight" in name
        if name.endswith("bias") or is_norm:
            assert (tensor == (1 if is_norm else 0)).all(), name
        elif tensor.is_floating_point():
            assert abs(tensor.std() - model.config.initializer_range) < 0.15, name


def test_a_state_dict_alone_makes_a_model(tiny_model):
    model = tiny_model("question answering")
    found = type(model).from_pretrained(None, config=model.config, state_dict=model.state_dict())
    for name, tensor in found.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])


def test_weights_that_are_not_contiguous_are_loaded_contiguous(tiny_model, tmp_path):
    model = tiny_model()
    weight = model.encoder.layer[0].attention.self.query.weight
    weight.data = weight.data.t().contiguous().t()
    expected = weight.data.clone()
    model.save_pretrained(tmp_path)
    found = type(model).from_pretrained(tmp_path).encoder.layer[0].attention.self.query.weight
    assert found.is_contiguous() and torch.equal(found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_the_vocabulary_grows_and_shrinks(tiny_model, inputs, kind):
    model = tiny_model(kind)
    old = model.get_input_embeddings().weight.clone()
    for size in (70, 60):
        model.resize_token_embeddings(size)
        assert model.config.vocab_size == model.get_input_embeddings().num_embeddings == size
        torch.testing.assert_close(model.get_input_embeddings().weight[:60], old)
        assert model(**inputs(kind))[0].isfinite().all()
    if kind == "masked lm":
        assert model(**inputs(kind)).logits.shape[-1] == 60


def test_untied_embeddings_are_resized_apart(tiny_model, inputs, tmp_path):
    model = tiny_model("masked lm", tie_word_embeddings=False)
    with torch.no_grad():
        model.get_output_embeddings().weight.add_(1)
    head = model.get_output_embeddings().weight.clone()
    model.resize_token_embeddings(70)
    assert model.get_output_embeddings().weight.shape[0] == model.get_output_embeddings().bias.shape[0] == 70
    torch.testing.assert_close(model.get_output_embeddings().weight[:60], head)
    model.post_init()  # initialises nothing again
    torch.testing.assert_close(model.get_output_embeddings().weight[:60], head)
    with torch.no_grad():
        model.get_output_embeddings().bias.add_(1)
    expected = model(**inputs()).logits
    model.save_pretrained(tmp_path)
    found, info = type(model).from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    torch.testing.assert_close(found(**inputs()).logits, expected)
    assert found.get_output_embeddings().weight is not found.get_input_embeddings().weight


def test_tied_weights_are_the_ones_named(tiny_model):
    model = tiny_model("masked lm")
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    pointers: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        pointers.setdefault(parameter.data_ptr(), []).append(name)
    shared = {name for names in pointers.values() if len(names) > 1 for name in names}
    assert shared == {*model.all_tied_weights_keys, *model.all_tied_weights_keys.values()}


@pytest.mark.parametrize("kind", KINDS)
def test_input_embeddings_can_be_replaced(tiny_model, inputs, kind):
    model = tiny_model(kind)
    assert isinstance(model.get_input_embeddings(), nn.Embedding)
    new = nn.Embedding(60, 8)
    before = model(**inputs(kind))[0]
    model.set_input_embeddings(new)
    assert model.get_input_embeddings() is new
    assert not torch.allclose(model(**inputs(kind))[0], before)
    head = model.get_output_embeddings()
    assert head is None or isinstance(head, nn.Linear)


@pytest.mark.parametrize("kind", HEADS)
def test_an_encoder_and_a_headed_model_load_each_other(tiny_model, tmp_path, kind):
    model = tiny_model(kind)
    model.save_pretrained(tmp_path / "head")
    base, info = longspan.LongformerModel.from_pretrained(tmp_path / "head", output_loading_info=True)
    assert all("pooler" in key for key in info["missing_keys"])
    for name, tensor in model.base_model.state_dict().items():
        assert torch.equal(base.state_dict()[name], tensor)
    base.save_pretrained(tmp_path / "base")
    again, info = type(model).from_pretrained(tmp_path / "base", output_loading_info=True)
    expected = {name for name in model.state_dict() if not name.startswith("longformer.")}
    assert info["missing_keys"] <= expected
    for name, tensor in base.state_dict().items():
        if name in again.base_model.state_dict():
            assert torch.equal(again.base_model.state_dict()[name], tensor)


def test_a_head_of_another_size_is_refused_or_made_anew(tiny_model, inputs, tmp_path):
    model = tiny_model("sequence classification")
    model.save_pretrained(tmp_path)
    with pytest.raises(RuntimeError, match="mismatch"):
        type(model).from_pretrained(tmp_path, num_labels=5)
    found = type(model).from_pretrained(tmp_path, num_labels=5, ignore_mismatched_sizes=True)
    assert found(**inputs()).logits.shape == (2, 5)
    torch.testing.assert_close(found.longformer.state_dict(), model.longformer.state_dict())


@pytest.mark.parametrize("kind", KINDS)
def test_models_are_made_without_memory_on_meta(tiny_model, kind):
    model = tiny_model(kind)
    with torch.device("meta"):
        made = type(model)(copy.deepcopy(model.config))
    assert {parameter.device.type for parameter in made.parameters()} == {"meta"}
    assert made.state_dict().keys() == model.state_dict().keys()


def test_loading_under_a_device_context(tiny_model, inputs, tmp_path):
    model = tiny_model("question answering")
    model.save_pretrained(tmp_path)
    with torch.device("cpu"):
        found = type(model).from_pretrained(tmp_path)
    assert torch.equal(found(**inputs()).start_logits, model(**inputs()).start_logits)
    with torch.device("meta"), pytest.raises(RuntimeError, match="meta"):
        type(model).from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["dtype", "torch_dtype"])
def test_a_precision_is_taken_by_either_name(tiny_model, tmp_path, name):
    tiny_model().save_pretrained(tmp_path)
    found = longspan.LongformerModel.from_pretrained(tmp_path, **{name: torch.float16})
    assert {parameter.dtype for parameter in found.parameters()} == {torch.float16}
    assert found.config.dtype == found.dtype == torch.float16


def test_a_saved_state_and_a_deep_copy_compute_the_same(tiny_model, inputs, tmp_path):
    model = tiny_model("token classification")
    expected = model(**inputs()).logits
    torch.save(model.state_dict(), tmp_path / "state.pt")
    other = type(model)(model.config).eval()
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for found in (other, copy.deepcopy(model)):
        assert torch.equal(found(**inputs()).logits, expected)


def test_another_attention_is_set_after_a_model_is_made(tiny_model, inputs):
    model = tiny_model()
    expected = model(**inputs()).last_hidden_state
    for name in ("eager", "sdpa"):
        model.set_attn_implementation(name)
        assert model.config._attn_implementation == name
        assert torch.equal(model(**inputs()).last_hidden_state, expected)


def test_heads_are_not_pruned():
    """transformers 5 dropped it."""
    assert not hasattr(longspan.LongformerModel, "prune_heads")
