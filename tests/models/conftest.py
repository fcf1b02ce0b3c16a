"""Pairs of equal random Longformers, transformers' and ours, and inputs for them."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from transformers.utils import logging

import longspan

TINY = {
    "vocab_size": 60,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 140,
    "attention_window": 8,
    "type_vocab_size": 1,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.2,
    "layer_norm_eps": 1e-5,
    "num_labels": 2,
}

CLASS_OF_HEAD = {
    "base": "LongformerModel",
    "masked lm": "LongformerForMaskedLM",
    "question answering": "LongformerForQuestionAnswering",
    "sequence classification": "LongformerForSequenceClassification",
    "token classification": "LongformerForTokenClassification",
    "multiple choice": "LongformerForMultipleChoice",
}
HEADS = list(CLASS_OF_HEAD)[1:]


@pytest.fixture(autouse=True)
def _quiet_transformers():
    """Silence loading bars and reports of missing heads."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    yield
    logging.enable_progress_bar()
    logging.set_verbosity(before)


@pytest.fixture(scope="session")
def tiny_model() -> Callable[..., Any]:
    """`tiny_model("question answering", attention_window=4)`: a random model of ours, in evaluation mode."""

    def make(head: str = "base", **overrides: Any):
        torch.manual_seed(0)
        model = getattr(longspan, CLASS_OF_HEAD[head])(longspan.LongformerConfig(**(TINY | overrides))).eval()
        _roughen(model)
        return model

    return make


@pytest.fixture(scope="session")
def stock_model() -> Callable[..., Any]:
    """The same model of transformers' class."""

    def make(head: str = "base", **overrides: Any):
        torch.manual_seed(0)
        model = getattr(transformers, CLASS_OF_HEAD[head])(transformers.LongformerConfig(**(TINY | overrides))).eval()
        _roughen(model)
        return model

    return make


@pytest.fixture(scope="session")
def pair(tiny_model, stock_model) -> Callable[..., tuple[Any, Any]]:
    """transformers' model and ours, with the same weights."""

    def make(head: str = "base", **overrides: Any):
        stock, ours = stock_model(head, **overrides), tiny_model(head, **overrides)
        ours.load_state_dict(stock.state_dict())
        return stock, ours

    return make


@pytest.fixture(scope="session")
def batch() -> Callable[..., dict[str, torch.Tensor]]:
    """`batch([9, 5], global_tokens=[[0], [2, 3]])`: random rows of these lengths, padded on the right."""

    def make(
        lengths: Sequence[int],
        global_tokens: Sequence[Sequence[int]] | None = None,
        *,
        separators: Sequence[int] = (),
        n_types: int = 1,
        left: bool = False,
        seed: int = 0,
    ) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        B, T = len(lengths), max(lengths)
        ids = torch.randint(5, TINY["vocab_size"], (B, T), generator=generator)
        real = torch.zeros(B, T, dtype=torch.long)
        is_global = torch.zeros(B, T, dtype=torch.long)
        for row, length in enumerate(lengths):
            start = T - length if left else 0
            real[row, start : start + length] = 1
            for position in separators:
                ids[row, start + position] = 2
            for position in (global_tokens or [[]] * B)[row]:
                is_global[row, start + position] = 1
        made = {"input_ids": ids.masked_fill(real == 0, 1), "attention_mask": real}
        if global_tokens is not None:
            made["global_attention_mask"] = is_global
        if n_types > 1:
            made["token_type_ids"] = torch.randint(0, n_types, (B, T), generator=generator) * real
        return made

    return make


@pytest.fixture(scope="session")
def assert_same() -> Callable[..., None]:
    """Compare two models: outputs, loss and every gradient."""

    def compare(stock: Any, ours: Any, inputs: dict[str, torch.Tensor], tolerance: float = 1e-4) -> SimpleNamespace:
        outputs = []
        for model in (stock, ours):
            model.zero_grad()
            output = model(**inputs, output_hidden_states=True)
            loss = output.get("loss")
            if loss is None:
                weights = torch.linspace(-1, 1, output.last_hidden_state.numel()).view_as(output.last_hidden_state)
                # Padding rows hold nothing that anyone may use.
                weights = weights * inputs["attention_mask"][:, :, None]
                loss = (output.last_hidden_state * weights).sum() + output.pooler_output.sum()
            loss.backward()
            outputs.append(output)
        expected, found = outputs
        assert list(expected) == list(found)
        for name in expected:
            if name == "hidden_states" or isinstance(expected[name], torch.Tensor):
                torch.testing.assert_close(found[name], expected[name], atol=tolerance, rtol=tolerance)
        gradients = dict(stock.named_parameters())
        for name, parameter in ours.named_parameters():
            grad = gradients[name].grad
            assert (grad is None) == (parameter.grad is None), name
            if grad is not None:
                scale = max(1.0, float(grad.abs().max()))
                torch.testing.assert_close(parameter.grad, grad, atol=tolerance * scale, rtol=tolerance, msg=name)
        return SimpleNamespace(stock=expected, ours=found)

    return compare


@pytest.fixture(scope="session")
def checkpoint_layers() -> Callable[..., None]:
    """Turn gradient checkpointing on; transformers 5.23 gave it another name."""

    def enable(model: Any, **kwargs: Any) -> None:
        if hasattr(model, "activation_checkpointing_enable"):
            model.activation_checkpointing_enable(kwargs or None)
        else:
            model.gradient_checkpointing_enable(kwargs or None)

    return enable


def _roughen(model: torch.nn.Module) -> None:
    """Move biases and norms away from zero and one, so that the tests notice a missing one."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
