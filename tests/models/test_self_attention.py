"""Folded global projections: the same numbers for less work, and only for plain modules."""

import pytest
import torch
from torch import nn

from longspan.attention import FoldedGlobalRows, GlobalSlots
from longspan.models import self_attention
from longspan.models.plan import AttentionPlan

LENGTHS, GLOBALS = [21, 13], [[0, 20], [5]]


@pytest.fixture
def is_folded(monkeypatch):
    """For each call of `attend`, whether its global rows were folded."""
    folded = []
    attend = self_attention.attend

    def watched(*arguments, global_rows, **named):
        folded.append(isinstance(global_rows, FoldedGlobalRows))
        return attend(*arguments, global_rows=global_rows, **named)

    monkeypatch.setattr(self_attention, "attend", watched)
    return folded


def project_all(model):
    """Make folding impossible."""
    for layer in model.encoder.layer:
        layer.attention.self.key_global.register_forward_hook(lambda *_: None)
    return model


@pytest.mark.parametrize("static", [0, 2])
@pytest.mark.parametrize("unpad", [False, True])
def test_folded_projections_change_no_output_and_no_gradient(tiny_model, batch, is_folded, unpad, static):
    results = []
    for change in (lambda model: model, project_all):
        model = change(tiny_model(unpad_inputs=unpad, global_attention_size=static).double())
        inputs = batch(LENGTHS, None if static else GLOBALS)
        model(**inputs)[0].square().sum().backward()
        results.append({name: x.grad for name, x in model.named_parameters() if "pooler" not in name})
    assert is_folded == [True, True, False, False]
    for name, gradient in results[1].items():
        torch.testing.assert_close(results[0][name], gradient, atol=1e-10, rtol=1e-10, msg=name)
        if "key_global.bias" in name:
            assert torch.equal(results[0][name], torch.zeros(8)), "there, and exactly zero: softmax does not see it"


def test_folded_projections_in_half_precision(tiny_model, batch, is_folded):
    inputs = batch(LENGTHS, GLOBALS)
    expected = tiny_model()(**inputs)[0]
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype=dtype):
            found = tiny_model()(**inputs)[0]
        torch.testing.assert_close(found, expected, atol=0.05, rtol=0.05)
        torch.testing.assert_close(tiny_model().to(dtype)(**inputs)[0].float(), expected, atol=0.1, rtol=0.1)
    assert all(is_folded)


class Doubled(nn.Linear):
    """A layer that computes more than a product with its weight, as an adapter does."""

    def forward(self, x):
        return 2 * super().forward(x)


def own_forward(attention):
    attention.key_global.forward = lambda x: 2 * nn.functional.linear(x, attention.key_global.weight)


def own_class(attention):
    attention.key_global.__class__ = Doubled


def parametrized(attention):
    nn.utils.parametrizations.weight_norm(attention.key_global)


def no_bias(attention):
    attention.key_global = nn.Linear(8, 8, bias=False)


def hooked_value(attention):
    attention.value_global.register_forward_pre_hook(lambda *_: None)


@pytest.mark.parametrize("change", [own_forward, own_class, parametrized, no_bias, hooked_value])
def test_modules_that_are_not_plain_are_called(tiny_model, batch, is_folded, change):
    model = tiny_model()
    change(model.encoder.layer[0].attention.self)
    model(**batch(LENGTHS, GLOBALS))
    assert is_folded == [False, True]


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # PEFT asks for it
def test_adapters_on_global_projections_are_trained(tiny_model, batch, is_folded):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(target_modules=["key_global", "value_global"], init_lora_weights=False)
    model = peft.get_peft_model(tiny_model(), config)
    model(**batch(LENGTHS, GLOBALS))[0].square().sum().backward()
    assert is_folded == [False, False]
    assert all(x.grad.any() for name, x in model.named_parameters() if "lora" in name and "key_global" in name)


@pytest.mark.parametrize(
    ("n_slots", "n_tokens", "less_work"), [(1, 40, True), (1, 1, False), (60, 4096, True), (80, 4096, False)]
)
def test_folding_is_chosen_by_its_work(n_slots, n_tokens, less_work):
    slots = GlobalSlots.first(n_slots, torch.ones(1, max(n_slots, n_tokens), dtype=torch.bool))
    plan = AttentionPlan((), "auto", None, slots)
    assert self_attention._folding_is_less_work(torch.Size((1, n_tokens, 768)), (12, 64), plan) is less_work
