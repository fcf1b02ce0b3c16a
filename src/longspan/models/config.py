"""`LongformerConfig`: transformers' keys with their meaning there, more keys, and the attention patterns of both."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import transformers
from huggingface_hub.dataclasses import strict

from longspan.attention import AttentionPattern
from longspan.attention.backends import BACKENDS
from longspan.errors import InputError

# Cache of `attention_patterns`.
_patterns_of: dict[Any, tuple[AttentionPattern, ...]] = {}

CLASSIFIER_ACTIVATIONS = ("tanh", "relu", "gelu")


@strict
class LongformerConfig(transformers.LongformerConfig):
    """The configuration of every model of this room; transformers reads and writes its `config.json` too.

    It is transformers' `LongformerConfig` with two differences: a change of `attention_window` takes effect at the next
    forward of a model, and a list of windows may hold any even numbers.

    Attributes:
        attention_window: tokens on both sides together, even; one number for all layers, or one per layer.
        attention_dilation: positions per step of the window: one number for all layers, one per layer, or one per layer
            and head. 1 means no gaps.
        global_attention_size: number of positions of every row, from its first token that is not padding on, that are
            global beside those of a mask. If it is above 0, the task heads mark no global tokens, and no shape depends
            on the data.
        attention_backend: "auto", or the name of a backend of `longspan.attention`.
        classifier_activation: activation between the two layers of the sequence classification head: "tanh", "relu"
            (DistilBERT) or "gelu" (ELECTRA).
        sparse_prediction: whether the masked language modelling head, in training with labels, scores only the tokens
            with a label and returns no logits (ModernBERT's key, true by default here).

    Raises:
        InputError: a window is odd, zero or negative, a list has the wrong length, a dilation is below 1, the number of
            global tokens is negative, or the backend or activation is unknown.
    """

    # Any: the checks below have clearer messages than those of annotations.
    attention_window: Any = 512
    attention_dilation: Any = 1
    global_attention_size: Any = 0
    attention_backend: Any = "auto"
    classifier_activation: Any = "tanh"
    sparse_prediction: bool = True

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        attention_patterns(self)
        attention_backend(self)
        classifier_activation(self)
        unpad_inputs(self)

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """As in transformers, but the configuration of another kind of model is refused.

        Raises:
            InputError: `model_type` is not "longformer".
        """
        kind = config_dict.get("model_type") or cls.model_type
        if kind != cls.model_type:
            name = config_dict.get("_name_or_path") or kwargs.get("name_or_path") or "this configuration"
            raise InputError(
                f"{name} is of model_type {kind!r}, not {cls.model_type!r}: its weights would not be found, and random "
                "ones taken; longspan.extend (or `longspan extend`) makes a Longformer of it"
            )
        return super().from_dict(config_dict, **kwargs)

    # transformers allows attention weights with its eager kernels only; here every backend can return them.
    @property
    def output_attentions(self) -> bool | None:
        """Whether models return attention weights by default."""
        return self._output_attentions

    @output_attentions.setter
    def output_attentions(self, value: bool | None) -> None:
        self._output_attentions = value

    def validate_output_attentions(self) -> None:
        """Nothing to check: see `output_attentions`."""


def attention_patterns(
    config: transformers.PreTrainedConfig, *, n_global: int | None = None
) -> tuple[AttentionPattern, ...]:
    """The attention pattern of each layer; every forward reads it, so that a changed configuration takes effect.

    Args:
        config: our configuration, or that of transformers' Longformer or LED (for its encoder).
        n_global: number of static global tokens of the patterns; None for that of the configuration.

    Raises:
        InputError: a window or dilation is impossible, or the length of a list is not the number of layers.
    """
    window, dilation = _frozen(config.attention_window), _frozen(getattr(config, "attention_dilation", 1))
    if n_global is None:
        n_global = getattr(config, "global_attention_size", 0)
    # The text tells 8 from 8.0 and 1 from True, which are equal as keys. A dict, because torch.compile warns about
    # lru_cache.
    key = (config.num_hidden_layers, config.num_attention_heads, window, dilation, n_global)
    exact = (key, repr(key))
    if exact in _patterns_of:
        return _patterns_of[exact]
    patterns = _make_patterns(*key)
    if not torch.compiler.is_compiling():  # a traced graph must have no side effect
        _patterns_of[exact] = patterns
    return patterns


def attention_windows(attention_window: Any, n_layers: int) -> tuple[int, ...]:
    """The window of each layer, both sides together, from one number for all layers or a list with one per layer.

    Raises:
        InputError: a window is not an even whole number above 0, or the length of the list is not `n_layers`.
    """
    windows = _one_for_each_layer("attention_window", _frozen(attention_window), n_layers, "even window")
    for layer, window in enumerate(windows):
        if not isinstance(window, int):
            raise InputError(f"attention_window must be a whole number, not {window!r} (layer {layer})")
        AttentionPattern.from_attention_window(window)  # raises if it is no window
    return tuple(windows)


def attention_backend(config: transformers.PreTrainedConfig) -> str:
    """The name of the backend; "auto" if the configuration has none.

    Raises:
        InputError: there is no such backend.
    """
    name = getattr(config, "attention_backend", "auto")
    if name != "auto" and name not in BACKENDS:
        raise InputError(f"attention_backend must be one of {', '.join(['auto', *BACKENDS])}, not {name!r}")
    return name


def classifier_activation(config: transformers.LongformerConfig) -> str:
    """The activation of the sequence classification head.

    Raises:
        InputError: it is not one of `CLASSIFIER_ACTIVATIONS`.
    """
    name = getattr(config, "classifier_activation", "tanh")
    if name not in CLASSIFIER_ACTIVATIONS:
        raise InputError(f"classifier_activation must be one of {', '.join(CLASSIFIER_ACTIVATIONS)}, not {name!r}")
    return name


def unpad_inputs(config: transformers.PreTrainedConfig) -> bool | None:
    """Whether padding is removed from batches: True, False, or None for batches where that is faster.

    Raises:
        InputError: it has another value.
    """
    value = getattr(config, "unpad_inputs", None)
    if value is not None and not isinstance(value, bool):
        raise InputError(f"unpad_inputs must be true, false or null (where it is faster), not {value!r}")
    return value


def count_labels(config: transformers.LongformerConfig) -> int:
    """The number of scores of a classification or question answering head."""
    n_labels = config.num_labels
    assert n_labels is not None, "transformers gives every configuration labels"
    return n_labels


def stock_differences(config: transformers.LongformerConfig) -> list[str]:
    """The differences of stock transformers with a checkpoint of this configuration, one sentence each."""
    patterns = attention_patterns(config)
    found = []
    if any(dilation != 1 for pattern in patterns for dilation in pattern.dilations(config.num_attention_heads)):
        found.append(
            f"`attention_dilation` is {config.attention_dilation}; stock transformers knows no dilation and looks at "
            "neighbouring tokens only."
        )
    if patterns and patterns[0].n_global:
        found.append(
            f"`global_attention_size` is {config.global_attention_size}; stock transformers needs a "
            "`global_attention_mask` that marks these first tokens, or treats them as local."
        )
    if classifier_activation(config) != "tanh":
        found.append(
            f"`classifier_activation` is {config.classifier_activation}; stock transformers uses tanh, so that its "
            "sequence classification logits differ."
        )
    windows = {pattern.left + pattern.right for pattern in patterns}
    if any(max(windows) % window for window in windows):
        found.append(
            f"`attention_window` is {config.attention_window}; stock transformers pads inputs to its largest "
            "window and fails where that is no multiple of the others."
        )
    return found


def _make_patterns(
    n_layers: int, n_heads: int, window: Any, dilation: Any, n_global: Any
) -> tuple[AttentionPattern, ...]:
    windows = attention_windows(window, n_layers)
    dilations = _one_for_each_layer("attention_dilation", dilation, n_layers, "dilation")
    if not _is_whole(n_global, 0):
        raise InputError(f"global_attention_size must be a whole number from 0, not {n_global!r}")
    for layer, of_layer in enumerate(dilations):
        of_heads = of_layer if isinstance(of_layer, tuple) else (of_layer,) * n_heads
        if not all(_is_whole(of_head, 1) for of_head in of_heads):
            raise InputError(f"attention_dilation must hold whole numbers from 1, not {of_layer!r} (layer {layer})")
        if len(of_heads) != n_heads:
            raise InputError(
                f"attention_dilation lists {len(of_heads)} dilations for layer {layer}, but the model has {n_heads} "
                "attention heads; give one dilation for the layer, or one for each head"
            )
    return tuple(
        AttentionPattern.from_attention_window(window, dilation=dilation, n_global=n_global)
        for window, dilation in zip(windows, dilations, strict=True)
    )


def _is_whole(value: Any, at_least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= at_least


def _one_for_each_layer(field: str, value: Any, n_layers: int, what: str) -> Sequence[Any]:
    if not isinstance(value, tuple):
        return (value,) * n_layers
    if len(value) != n_layers:
        raise InputError(
            f"{field} lists {len(value)} values, but the model has {n_layers} layers; "
            f"give one {what}, or one for each layer"
        )
    return value


def _frozen(value: Any) -> Any:
    """Nested lists as tuples, which are hashable."""
    is_list = isinstance(value, Iterable) and not isinstance(value, str)
    return tuple(_frozen(item) for item in value) if is_list else value
