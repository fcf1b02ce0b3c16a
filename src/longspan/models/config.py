"""`LongformerConfig`: transformers' keys with transformers' meaning, and more; and the patterns they stand for."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import transformers
from huggingface_hub.dataclasses import strict

from longspan.attention import AttentionPattern
from longspan.attention.backends import BACKENDS
from longspan.errors import InputError

# What `attention_patterns` has made already.
_patterns_of: dict[Any, tuple[AttentionPattern, ...]] = {}

CLASSIFIER_ACTIVATIONS = ("tanh", "relu", "gelu")


@strict
class LongformerConfig(transformers.LongformerConfig):
    """Configuration of every model of this room; a checkpoint's `config.json` is read and written by transformers too.

    All of transformers' `LongformerConfig` holds, with two freedoms: `attention_window` may be changed after a model
    is made and takes effect at its next forward, and a list of windows may hold any even numbers.

    Attributes:
        attention_window: both sides together, even; one for all layers, or one for each.
        attention_dilation: positions per step of the window: one for all layers, or for each layer one, or for each
            layer one for each head. 1 means no gaps.
        global_attention_size: so many positions of every row, from its first token on, are global, beside those of a
            mask (padding counts for nothing). With it the task heads mark no global tokens of their own, and no shape
            depends on the data.
        attention_backend: "auto", or the name of one of `longspan.attention`'s backends.
        classifier_activation: between the two layers of the sequence classification head: "tanh", "relu" (DistilBERT)
            or "gelu" (ELECTRA).
        sparse_prediction: the masked language modelling head scores, in training with labels, only the tokens that are
            asked for, and gives no logits (ModernBERT's key, on by default here).

    Raises:
        InputError: an odd, zero or negative window, a list of the wrong length, a dilation below 1, a negative number
            of global tokens, an unknown backend or activation.
    """

    # Checked here, with messages of our own, rather than by their annotations.
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
        """As in transformers, but the configuration of another kind of model is refused rather than misread.

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

    # transformers ties attention weights to its eager kernels; here they are computed beside any backend.
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
    """Who sees whom in each layer; read anew at each forward, so that a changed configuration takes effect.

    Args:
        config: ours, or transformers' of a Longformer or LED (whose encoder has these layers).
        n_global: static global tokens of the patterns; the configuration's where None.

    Raises:
        InputError: a window or dilation that cannot be, or a list of another length than the model's layers.
    """
    window, dilation = _frozen(config.attention_window), _frozen(getattr(config, "attention_dilation", 1))
    if n_global is None:
        n_global = getattr(config, "global_attention_size", 0)
    # The text tells 8 from 8.0 and 1 from True, which are the same key. A dict rather than lru_cache, which
    # torch.compile warns of.
    key = (config.num_hidden_layers, config.num_attention_heads, window, dilation, n_global)
    exact = (key, repr(key))
    if exact in _patterns_of:
        return _patterns_of[exact]
    patterns = _make_patterns(*key)
    if not torch.compiler.is_compiling():  # a graph leaves nothing behind
        _patterns_of[exact] = patterns
    return patterns


def attention_windows(attention_window: Any, n_layers: int) -> tuple[int, ...]:
    """The window of each layer, both sides together, from one number for all or a list with one for each.

    Raises:
        InputError: a window that is not an even whole number above 0, or a list of another length.
    """
    windows = _one_for_each_layer("attention_window", _frozen(attention_window), n_layers, "even window")
    for layer, window in enumerate(windows):
        if not isinstance(window, int):
            raise InputError(f"attention_window must be a whole number, not {window!r} (layer {layer})")
        AttentionPattern.from_attention_window(window)  # the one place that knows what a window may be
    return tuple(windows)


def attention_backend(config: transformers.PreTrainedConfig) -> str:
    """The backend's name, "auto" where the configuration has none.

    Raises:
        InputError: there is no such backend.
    """
    name = getattr(config, "attention_backend", "auto")
    if name != "auto" and name not in BACKENDS:
        raise InputError(f"attention_backend must be one of {', '.join(['auto', *BACKENDS])}, not {name!r}")
    return name


def classifier_activation(config: transformers.LongformerConfig) -> str:
    """The sequence classification head's activation.

    Raises:
        InputError: it is none of `CLASSIFIER_ACTIVATIONS`.
    """
    name = getattr(config, "classifier_activation", "tanh")
    if name not in CLASSIFIER_ACTIVATIONS:
        raise InputError(f"classifier_activation must be one of {', '.join(CLASSIFIER_ACTIVATIONS)}, not {name!r}")
    return name


def unpad_inputs(config: transformers.PreTrainedConfig) -> bool | None:
    """Whether padding is taken out of batches: True, False, or None for where it pays.

    Raises:
        InputError: it is something else.
    """
    value = getattr(config, "unpad_inputs", None)
    if value is not None and not isinstance(value, bool):
        raise InputError(f"unpad_inputs must be true, false or null (where it pays), not {value!r}")
    return value


def count_labels(config: transformers.LongformerConfig) -> int:
    """How many scores a classification or question answering head gives."""
    n_labels = config.num_labels
    assert n_labels is not None, "transformers gives every configuration labels"
    return n_labels


def stock_differences(config: transformers.LongformerConfig) -> list[str]:
    """What stock transformers would do otherwise with a checkpoint of this configuration, one sentence each."""
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
    """Lists within lists as tuples, so that they can be looked up."""
    is_list = isinstance(value, Iterable) and not isinstance(value, str)
    return tuple(_frozen(item) for item in value) if is_list else value
