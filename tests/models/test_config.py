"""The configuration: transformers' keys, our keys, and the errors for wrong values."""

import pytest
import torch
import transformers

import longspan
from longspan.attention import AttentionPattern
from longspan.errors import InputError
from longspan.models.config import attention_patterns, stock_differences

MISTAKES = {
    "odd window": ({"attention_window": 7}, "even and above 0, not 7"),
    "no window": ({"attention_window": 0}, "even and above 0, not 0"),
    "negative window": ({"attention_window": -4}, "even and above 0, not -4"),
    "fraction": ({"attention_window": 8.0}, "whole number, not 8.0"),
    "text": ({"attention_window": "8"}, "whole number, not '8'"),
    "odd window in a list": ({"attention_window": [8] * 11 + [5]}, "not 5"),
    "short list": ({"attention_window": [8, 8]}, "lists 2 values, but the model has 12 layers"),
    "no dilation": ({"attention_dilation": 0}, "attention_dilation must hold whole numbers from 1"),
    "short dilations": ({"attention_dilation": [1, 2]}, "attention_dilation lists 2 values"),
    "dilations of too few heads": ({"attention_dilation": [[1, 2]] * 12}, "lists 2 dilations for layer 0"),
    "negative globals": ({"global_attention_size": -1}, "global_attention_size must be a whole number from 0"),
    "backend": ({"attention_backend": "fastest"}, "one of auto, "),
    "activation": ({"classifier_activation": "swish"}, "one of tanh, relu, gelu, not 'swish'"),
}


@pytest.mark.parametrize("name", list(MISTAKES))
def test_mistakes_are_named(name):
    fields, message = MISTAKES[name]
    # Again with a right one in between: a remembered answer must not stand in for another.
    for _ in range(2):
        with pytest.raises(InputError, match=message):
            longspan.LongformerConfig(**fields)
        longspan.LongformerConfig(attention_window=8, attention_dilation=1)


def test_window_is_translated_in_one_place():
    config = longspan.LongformerConfig(num_hidden_layers=2, attention_window=[8, 512])
    assert attention_patterns(config) == (AttentionPattern(4, 4), AttentionPattern(256, 256))
    assert attention_patterns(config) is attention_patterns(config)


def test_dilation_per_model_layer_or_head():
    def dilations(value):
        config = longspan.LongformerConfig(num_hidden_layers=2, num_attention_heads=2, attention_dilation=value)
        return [pattern.dilations(2) for pattern in attention_patterns(config)]

    assert dilations(3) == [(3, 3), (3, 3)]
    assert dilations([1, 2]) == [(1, 1), (2, 2)]
    assert dilations([1, [1, 4]]) == [(1, 1), (1, 4)]


def test_json_round_trip(tmp_path):
    config = longspan.LongformerConfig(
        num_hidden_layers=2, num_attention_heads=2, attention_window=[8, 6], attention_dilation=[[1, 2], 3],
        global_attention_size=5, attention_backend="reference", classifier_activation="relu",
    )  # fmt: skip
    config.save_pretrained(tmp_path)
    assert longspan.LongformerConfig.from_pretrained(tmp_path).to_dict() == config.to_dict()


@pytest.mark.parity
def test_defaults_are_those_of_transformers():
    ours, stock = longspan.LongformerConfig().to_dict(), transformers.LongformerConfig().to_dict()
    assert ours == stock | {
        "attention_dilation": 1,
        "global_attention_size": 0,
        "attention_backend": "auto",
        "classifier_activation": "tanh",
        "sparse_prediction": True,
    }


def test_stock_differences_are_empty_by_default():
    def differences(**fields):
        return " ".join(stock_differences(longspan.LongformerConfig(num_hidden_layers=2, **fields)))

    assert differences() == differences(attention_window=[8, 4]) == differences(attention_dilation=[1, 1]) == ""
    assert "attention_dilation" in differences(attention_dilation=[1, 2])
    assert "global_attention_size" in differences(global_attention_size=4)
    assert "classifier_activation" in differences(classifier_activation="gelu")
    assert "no multiple" in differences(attention_window=[8, 6])


def test_attention_weights_work_with_any_attn_implementation(tiny_model):
    model = tiny_model(attn_implementation="sdpa", output_attentions=True)
    assert model(torch.tensor([[5, 6, 7]])).attentions[0].shape == (1, 2, 3, 9)
    model.config.output_attentions = False
    assert model(torch.tensor([[5, 6, 7]])).attentions is None


@pytest.mark.parametrize("name", ["sdpa", "eager"])
def test_attn_implementation_of_transformers_changes_nothing(tiny_model, batch, name):
    expected, model = tiny_model(), tiny_model(attn_implementation=name)
    torch.testing.assert_close(model(**batch([9]))[0], expected(**batch([9]))[0])
    model.set_attn_implementation("eager")
    torch.testing.assert_close(model(**batch([9]))[0], expected(**batch([9]))[0])


def test_unknown_attn_implementation_is_refused(tiny_model):
    with pytest.raises(ValueError, match="does not support"):
        tiny_model(attn_implementation="flex_attention")
