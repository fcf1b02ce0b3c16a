"""`use_fast_attention` on LED: longspan's attention in the encoder; decoder and weights do not change."""

import pytest
import torch
import transformers

import longspan
from longspan.errors import InputError
from longspan.models import self_attention

pytestmark = pytest.mark.parity

LENGTHS, GLOBALS = [21, 13], [[0, 20], [5]]


@pytest.fixture
def make_led():
    """A random LED of transformers; the same one each time."""

    def make(name="LEDForConditionalGeneration", **overrides):
        torch.manual_seed(0)
        config = transformers.LEDConfig(
            vocab_size=60, d_model=8, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2,
            decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_encoder_position_embeddings=64,
            max_decoder_position_embeddings=32, attention_window=[8, 4], init_std=0.3, dropout=0.0,
            **({"attention_dropout": 0.0} | overrides),
        )  # fmt: skip
        return getattr(transformers, name)(config).eval()

    return make


@pytest.fixture
def n_attended(monkeypatch):
    """Lengths that `attend` was called with, and with which dropout."""
    calls = []
    attend = self_attention.attend

    def watched(q_BHTD, *arguments, dropout_p, **named):
        calls.append((q_BHTD.shape[2], dropout_p))
        return attend(q_BHTD, *arguments, dropout_p=dropout_p, **named)

    monkeypatch.setattr(self_attention, "attend", watched)
    return calls


@pytest.mark.parametrize("global_tokens", [None, [[0, 7], [5]]], ids=["local", "global"])
@pytest.mark.parametrize(("lengths", "n_tokens"), [([21, 13], 35), ([21, 20], 21), ([8, 8], 8)], ids=str)
def test_outputs_and_gradients_stay(make_led, batch, n_attended, lengths, n_tokens, global_tokens):
    inputs = batch(lengths, global_tokens) | {"labels": torch.randint(3, 60, (2, 7))}
    results = []
    for model in (make_led(), longspan.use_fast_attention(make_led())):
        output = model(**inputs, output_hidden_states=True)
        output.loss.backward()
        results.append((output, {name: x.grad for name, x in model.named_parameters()}))
    (expected, gradients), (found, fast_gradients) = results
    assert n_attended == [(n_tokens, 0.0)] * 2
    torch.testing.assert_close(found.loss, expected.loss, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.logits, expected.logits, atol=1e-4, rtol=1e-4)
    is_token = inputs["attention_mask"].bool()
    states = [(*output.encoder_hidden_states, output.encoder_last_hidden_state) for output in (found, expected)]
    for x, y in zip(*states, strict=True):
        torch.testing.assert_close(x[is_token], y[is_token], atol=1e-4, rtol=1e-4)
    for name, gradient in gradients.items():
        assert (gradient is None) == (fast_gradients[name] is None), name
        if gradient is not None:
            torch.testing.assert_close(fast_gradients[name], gradient, atol=1e-4, rtol=1e-4, msg=name)


def test_generate_and_undo(make_led, batch, n_attended):
    model, inputs = make_led(), batch(LENGTHS, GLOBALS)
    classes = [type(module) for module in model.modules()]
    options = {"max_new_tokens": 6, "do_sample": False}
    expected = model.generate(**inputs, **options), model.generate(**inputs, num_beams=2, **options)
    with longspan.use_fast_attention(model):
        assert torch.equal(model.generate(**inputs, **options), expected[0])
        assert torch.equal(model.generate(**inputs, num_beams=2, **options), expected[1])
    assert [n for n, _ in n_attended] == [35] * 4  # the encoder runs once a call
    assert [type(module) for module in model.modules()] == classes
    model.generate(**inputs, **options)
    assert len(n_attended) == 4


@pytest.mark.parametrize("name", ["LEDModel", "LEDForQuestionAnswering", "LEDForConditionalGeneration"])
def test_tuples_stay(make_led, batch, name):
    inputs = batch([24, 16], [[0, 10], [3]])
    inputs["decoder_input_ids"] = inputs["input_ids"][:, :4]
    models = make_led(name), longspan.use_fast_attention(make_led(name))
    expected, found = (model(**inputs, output_attentions=True, return_dict=False) for model in models)
    assert [type(x) for x in found] == [type(x) for x in expected]
    torch.testing.assert_close(found[0], expected[0], atol=1e-4, rtol=1e-4)


def test_attention_weights_and_embeddings(make_led, batch):
    inputs = batch([24, 16], [[0, 10], [3]])
    encoders = make_led().get_encoder(), longspan.use_fast_attention(make_led()).get_encoder()
    embeds = encoders[0].embed_tokens(inputs.pop("input_ids"))
    expected, found = (encoder(inputs_embeds=embeds, **inputs, output_attentions=True) for encoder in encoders)
    for layer in range(2):
        assert found.attentions[layer].shape == expected.attentions[layer].shape
        torch.testing.assert_close(found.attentions[layer], expected.attentions[layer], atol=1e-5, rtol=1e-4)
        assert found.global_attentions[layer].shape == expected.global_attentions[layer].shape


def test_training_dropout_equals_led(make_led, batch, n_attended, checkpoint_layers):
    model = longspan.use_fast_attention(make_led(attention_dropout=0.3, encoder_layerdrop=1.0)).train()
    inputs = batch(LENGTHS, GLOBALS) | {"labels": torch.randint(3, 60, (2, 7))}
    model(**inputs)
    assert n_attended == []  # every layer was left out
    model.get_encoder().layerdrop = 0.0
    checkpoint_layers(model)
    model(**inputs).loss.backward()
    assert {dropout_p for _, dropout_p in n_attended} == {0.3}
    assert model.get_encoder().layers[0].self_attn.longformer_self_attn.query.weight.grad is not None


def test_input_that_is_too_long_is_named(make_led):
    model = longspan.use_fast_attention(make_led())
    with pytest.raises(InputError, match="has 65 tokens, but this model's encoder takes at most 64"):
        model(torch.full((1, 65), 5))
    with pytest.raises(InputError, match="attention_mask has shape"):
        model(torch.full((1, 20), 5), attention_mask=torch.ones(1, 21))
