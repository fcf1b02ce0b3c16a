"""The models of the benchmarks, with random weights: ours, transformers' Longformer, XLM-R, a ModernBERT shape.

Models share the parameters that have equal names and shapes.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from longspan.errors import InputError
from longspan.limits import load_json

OURS = "longspan"
LONGFORMER = "transformers Longformer"
FULL = "XLM-R, SDPA full attention"
MODERNBERT = "ModernBERT-shaped"
SYSTEMS = (OURS, LONGFORMER, FULL, MODERNBERT)
PAD, FIRST_WORD = 1, 5
_SDPA: dict[str, Any] = {"attn_implementation": "sdpa"}


@dataclass(frozen=True)
class Size:
    """The dimensions of an encoder, with transformers' names."""

    num_hidden_layers: int
    hidden_size: int
    num_attention_heads: int
    intermediate_size: int
    vocab_size: int

    def n_parameters(self) -> int:
        """The approximate number of weights of an encoder, without global projections."""
        of_layer = 4 * self.hidden_size**2 + 2 * self.hidden_size * self.intermediate_size
        return self.num_hidden_layers * of_layer + self.vocab_size * self.hidden_size


SIZES = {
    "tiny": Size(2, 64, 4, 256, 1000),
    "small": Size(12, 384, 12, 1536, 250_002),
    "base": Size(12, 768, 12, 3072, 250_002),
}


def read_size(name: str) -> Size:
    """The size with a name in `SIZES`, or of a `config.json` or a folder with one.

    Raises:
        InputError: there is neither, or a field is missing.
    """
    if name in SIZES:
        return SIZES[name]
    path = Path(name) / "config.json" if Path(name).is_dir() else Path(name)
    try:
        config = load_json(path)
    except (OSError, ValueError) as error:
        known = ", ".join(SIZES)
        raise InputError(f"size {name!r} is none of {known}, nor a readable config.json ({error})") from None
    fields = Size.__dataclass_fields__
    missing = [field for field in fields if not isinstance(config.get(field), int)]
    if missing:
        raise InputError(f"{path} has no whole number for {', '.join(missing)}; pass a transformer encoder's config")
    return Size(**{field: config[field] for field in fields})


class Models:
    """Makes each model on first use.

    Args:
        size: dimensions of the models.
        n_positions: length of the longest row.
        window: attention window, both sides together.
        dropout: dropout of hidden states and attention.
        backend: backend of longspan's attention.
        device: device of the models.
        for_masked_lm: masked language models in training mode; else bare encoders in evaluation mode.
    """

    def __init__(
        self,
        size: Size,
        *,
        n_positions: int,
        window: int,
        dropout: float,
        backend: str,
        device: str,
        for_masked_lm: bool,
    ) -> None:
        self._size, self._n_positions, self._window = size, n_positions, window
        self._dropout, self._backend, self._device = dropout, backend, device
        self._for_masked_lm = for_masked_lm
        self._weights: dict[tuple[str, tuple[int, ...], str], Tensor] = {}
        self._models: dict[tuple[str, str], Any] = {}

    def get(self, system: str, dtype: str) -> Any:
        """The model of a system with weights in `dtype`."""
        if (system, dtype) not in self._models:
            make = {
                OURS: self._ours,
                LONGFORMER: self._longformer,
                FULL: self._xlm_roberta,
                MODERNBERT: self._modernbert,
            }[system]
            with _without_memory():
                model = make()
            self._fill(model, dtype)
            model.to(self._device)
            self._models[system, dtype] = model.train(self._for_masked_lm)
        return self._models[system, dtype]

    def _ours(self) -> Any:
        from longspan.models import LongformerConfig, LongformerForMaskedLM, LongformerModel

        config = LongformerConfig(**self._longformer_fields(), attention_backend=self._backend)
        return LongformerForMaskedLM(config) if self._for_masked_lm else LongformerModel(config, False)

    def _longformer(self) -> Any:
        import transformers

        config = transformers.LongformerConfig(**self._longformer_fields())
        if self._for_masked_lm:
            return transformers.LongformerForMaskedLM(config)
        return transformers.LongformerModel(config, add_pooling_layer=False)

    def _xlm_roberta(self) -> Any:
        import transformers

        config = transformers.XLMRobertaConfig(**self._roberta_fields(), **_SDPA)
        if self._for_masked_lm:
            return transformers.XLMRobertaForMaskedLM(config)
        return transformers.XLMRobertaModel(config, add_pooling_layer=False)

    def _modernbert(self) -> Any:
        import transformers

        s = self._size
        config = transformers.ModernBertConfig(
            vocab_size=s.vocab_size,
            hidden_size=s.hidden_size,
            # Its feed-forward has three matrices, the others' has two: this gives the same number of weights.
            intermediate_size=2 * s.intermediate_size // 3,
            num_hidden_layers=s.num_hidden_layers,
            num_attention_heads=s.num_attention_heads,
            max_position_embeddings=self._n_positions,
            attention_dropout=self._dropout,
            embedding_dropout=self._dropout,
            mlp_dropout=self._dropout,
            pad_token_id=PAD,
            bos_token_id=0,
            eos_token_id=2,
            cls_token_id=0,
            sep_token_id=2,
            **_SDPA,
        )
        return (
            transformers.ModernBertForMaskedLM(config) if self._for_masked_lm else transformers.ModernBertModel(config)
        )

    def _longformer_fields(self) -> dict[str, Any]:
        return self._roberta_fields() | {"attention_window": [self._window] * self._size.num_hidden_layers}

    def _roberta_fields(self) -> dict[str, Any]:
        return vars(self._size) | {
            # RoBERTa's positions start after the padding id; transformers' Longformer pads to the window.
            "max_position_embeddings": -(-self._n_positions // self._window) * self._window + PAD + 1,
            "type_vocab_size": 1,
            "pad_token_id": PAD,
            "bos_token_id": 0,
            "eos_token_id": 2,
            "sep_token_id": 2,
            "layer_norm_eps": 1e-5,
            "hidden_dropout_prob": self._dropout,
            "attention_probs_dropout_prob": self._dropout,
        }

    def _fill(self, model: Any, dtype: str) -> None:
        """Give every parameter its weights; equal names and shapes get the same weights in every model."""
        state = {}
        for name, parameter in model.named_parameters():
            known = name.removeprefix("longformer.").removeprefix("roberta.").removeprefix("model.")
            key = (known, tuple(parameter.shape), dtype)
            if key not in self._weights:
                self._weights[key] = self._draw(known, tuple(parameter.shape)).to(getattr(torch, dtype))
            state[name] = self._weights[key]
        model.load_state_dict(state, strict=False, assign=True)
        model.tie_weights()
        left = [name for name, parameter in model.named_parameters() if parameter.is_meta]
        assert not left, f"no weights for {left}"

    def _draw(self, name: str, shape: tuple[int, ...]) -> Tensor:
        if len(shape) == 1:
            is_scale = name.endswith("weight")  # of a norm
            return torch.ones(shape, device=self._device) if is_scale else torch.zeros(shape, device=self._device)
        draw = torch.Generator(self._device).manual_seed(sum(name.encode()))
        return torch.randn(shape, generator=draw, device=self._device).mul_(0.02)


def _without_memory() -> contextlib.AbstractContextManager[Any]:
    """A context in which modules are made without memory for their parameters."""
    from accelerate import init_empty_weights

    return init_empty_weights(include_buffers=False)


def masked_lm_step(
    model: Any, inputs: dict[str, Tensor], optimizer: torch.optim.Optimizer | None, autocast: torch.dtype | None
) -> Callable[[], None]:
    """A call that makes one training step: forward, backward, optimizer step if there is one; gradients are freed."""
    device = inputs["input_ids"].device.type

    def step() -> None:
        with torch.autocast(device, dtype=autocast, enabled=autocast is not None):
            loss = model(**inputs).loss
        loss.backward()
        if optimizer is not None:
            optimizer.step()
        model.zero_grad(set_to_none=True)

    return step
