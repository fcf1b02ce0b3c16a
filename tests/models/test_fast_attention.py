"""`use_fast_attention`: longspan's attention in a model of transformers."""

import copy
import pickle

import pytest
import torch
import transformers
from torch import nn

import longspan
from longspan.errors import InputError
from longspan.models import self_attention, stop_fast_attention

pytestmark = pytest.mark.parity

LENGTHS, GLOBALS = [21, 13], [[0, 20], [5]]


@pytest.fixture
def n_attended(monkeypatch):
    """Lengths that `attend` was called with."""
    lengths = []
    attend = self_attention.attend

    def watched(q_BHTD, *arguments, **named):
        lengths.append(q_BHTD.shape[2])
        return attend(q_BHTD, *arguments, **named)

    monkeypatch.setattr(self_attention, "attend", watched)
    return lengths


@pytest.mark.parametrize(
    "head", ["base", "masked lm", "question answering", "sequence classification", "token classification"]
)
def test_outputs_and_gradients_stay(stock_model, batch, assert_same, head, n_attended):
    inputs = batch(LENGTHS, GLOBALS, separators=(3, 4, 12))
    expected, model = stock_model(head), stock_model(head)
    names = [name for name, _ in model.named_parameters()]
    assert longspan.use_fast_attention(model) is model
    targets = {
        "masked lm": {"labels": inputs["input_ids"]},
        "question answering": {"start_positions": torch.tensor([6, 7]), "end_positions": torch.tensor([9, 9])},
        "sequence classification": {"labels": torch.tensor([0, 1])},
        "token classification": {"labels": inputs["input_ids"] % 2},
    }
    assert_same(expected, model, inputs | targets.get(head, {}))
    assert n_attended == [21 + 13 + 1] * 2  # two layers, no padding to the window, nor of the rows but for one token
    assert [name for name, _ in model.named_parameters()] == names
    assert isinstance(model, type(expected))
    assert type(model).__name__ == type(expected).__name__


def test_multiple_choice_stays(stock_model, batch):
    flat = batch([21, 17, 20, 21], [[0], [1], [2], [3]])
    inputs = {name: values.view(2, 2, -1) for name, values in flat.items()}
    expected = stock_model("multiple choice")(**inputs).logits
    found = longspan.use_fast_attention(stock_model("multiple choice"))(**inputs).logits
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_with_statement_and_stop_undo_it(stock_model, batch, n_attended):
    model, inputs = stock_model("masked lm"), batch(LENGTHS, GLOBALS)
    classes = [type(module) for module in model.modules()]
    expected = model(**inputs).logits
    with longspan.use_fast_attention(model) as same:
        assert same is model
        torch.testing.assert_close(model(**inputs).logits, expected, atol=1e-4, rtol=1e-4)
    assert len(n_attended) == 2
    assert [type(module) for module in model.modules()] == classes
    stop_fast_attention(longspan.use_fast_attention(longspan.use_fast_attention(model)))
    assert [type(module) for module in model.modules()] == classes
    model(**inputs)
    assert len(n_attended) == 2


def test_weights_trained_meanwhile_are_kept(stock_model, batch):
    model, inputs = stock_model("masked lm"), batch(LENGTHS, GLOBALS)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with longspan.use_fast_attention(model):
        model(**inputs, labels=inputs["input_ids"]).loss.backward()
        optimizer.step()
        # Replaced, as PEFT does.
        model.longformer.encoder.layer[0].attention.self.query = nn.Linear(8, 8)
        expected = model(**inputs).logits
    torch.testing.assert_close(model(**inputs).logits, expected, atol=1e-4, rtol=1e-4)


def test_windows_that_transformers_cannot_pad_to(stock_model, tiny_model, batch):
    model, inputs = stock_model(), batch(LENGTHS, GLOBALS)
    model.config.attention_window = [6, 8]
    ours = tiny_model(attention_window=[6, 8])
    torch.testing.assert_close(longspan.use_fast_attention(model)(**inputs)[0], ours(**inputs)[0])


def test_checkpointing_attention_weights_and_tuples(stock_model, batch, checkpoint_layers):
    inputs = batch(LENGTHS, GLOBALS)
    expected = stock_model()(**inputs, output_attentions=True, return_dict=False)
    model = longspan.use_fast_attention(stock_model())
    found = model(**inputs, output_attentions=True, return_dict=False)
    assert len(found) == len(expected)
    torch.testing.assert_close(found[2][0], expected[2][0], atol=1e-5, rtol=1e-4)
    checkpoint_layers(model.train())
    model(**inputs)[0].sum().backward()
    assert model.encoder.layer[0].attention.self.query.weight.grad is not None


def test_copies_and_pickles_are_fast_too(stock_model, batch, tmp_path):
    model, inputs = longspan.use_fast_attention(stock_model()), batch(LENGTHS, GLOBALS)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert [type(module) for module in other.modules()] == [type(module) for module in model.modules()]
        torch.testing.assert_close(other(**inputs)[0], model(**inputs)[0])
    model.save_pretrained(tmp_path)
    loaded = transformers.LongformerModel.from_pretrained(tmp_path).eval()
    assert loaded.config.architectures == ["LongformerModel"]
    torch.testing.assert_close(loaded(**inputs)[0], model(**inputs)[0], atol=1e-4, rtol=1e-4)


def test_hooks_of_accelerate_call_the_present_forward(stock_model, batch, n_attended):
    from accelerate.hooks import ModelHook, add_hook_to_module

    model, inputs = stock_model(), batch(LENGTHS, GLOBALS)
    for module in list(model.modules()):
        add_hook_to_module(module, ModelHook())
    expected = model(**inputs)[0]
    with longspan.use_fast_attention(model):
        torch.testing.assert_close(model(**inputs)[0], expected, atol=1e-4, rtol=1e-4)
    assert len(n_attended) == 2
    model(**inputs)
    assert len(n_attended) == 2


def test_models_inside_other_modules(stock_model, batch, n_attended):
    inside = stock_model()
    longspan.use_fast_attention(nn.ModuleDict({"encoder": inside}))
    inside(**batch([21]))
    assert n_attended == [21, 21]


def test_unsupported_models_are_refused(stock_model, tiny_model):
    ours = tiny_model()
    assert longspan.use_fast_attention(ours) is ours
    config = transformers.BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    with pytest.raises(InputError, match="BertModel holds no Longformer"):
        longspan.use_fast_attention(transformers.BertModel(config))

    class Own(transformers.LongformerModel):
        def forward(self, *_, **__):
            return None

    with pytest.raises(InputError, match="Own has a forward of its own"):
        longspan.use_fast_attention(Own(stock_model().config))
