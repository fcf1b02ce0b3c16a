"""The loss of masked language modelling without all scores in memory equals the plain loss."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

import longspan
from longspan.models.heads.losses import linear_cross_entropy, linear_log_probabilities

N, C, V = 37, 16, 211


def inputs(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(N, C, generator=generator, dtype=torch.float64)
    weight = torch.randn(V, C, generator=generator, dtype=torch.float64) * 0.3
    bias = torch.randn(V, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, V, (N,), generator=generator)
    return [x.to(dtype).requires_grad_() for x in (hidden, weight, bias)], labels


@pytest.mark.parametrize("chunk_bytes", [1, V * 4 * 10, 2**28])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_loss_and_gradients_equal_the_plain_loss(dtype, tolerance, chunk_bytes):
    leaves, labels = inputs(dtype)
    plain = F.cross_entropy(leaves[0] @ leaves[1].T + leaves[2], labels)
    expected = torch.autograd.grad(plain * 3, leaves)
    loss = linear_cross_entropy(*leaves, labels, chunk_bytes=chunk_bytes)
    found = torch.autograd.grad(loss * 3, leaves)
    torch.testing.assert_close(loss, plain, atol=tolerance, rtol=tolerance)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=tolerance)
    log_p = linear_log_probabilities(*leaves, labels, chunk_bytes=chunk_bytes)
    torch.testing.assert_close(-log_p.mean(), plain.detach(), atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_loss_is_equal_and_gradients_close(dtype):
    leaves, labels = inputs(torch.float32)
    exact = torch.autograd.grad(linear_cross_entropy(*leaves, labels), leaves)
    with torch.autocast("cpu", dtype):
        loss = linear_cross_entropy(*leaves, labels, chunk_bytes=V * 4 * 10)
        plain = F.cross_entropy(F.linear(leaves[0], leaves[1]).float() + leaves[2], labels)
    torch.testing.assert_close(loss, plain, atol=1e-3, rtol=1e-3)
    found = torch.autograd.grad(loss, leaves)
    for ours, theirs in zip(found, exact, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=2e-2)


def test_frozen_inputs_get_no_gradient():
    (hidden, weight, bias), labels = inputs()
    linear_cross_entropy(hidden, weight.detach(), None, labels).backward()
    assert hidden.grad is not None
    with torch.no_grad():
        assert not linear_cross_entropy(hidden, weight, bias, labels).requires_grad
    loss = linear_cross_entropy(hidden, weight, bias, labels)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="only one backward"):
        loss.backward()


def masked_batch(model, n_tokens=40, share=0.3):
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(4, model.config.vocab_size, (2, n_tokens), generator=generator)
    is_asked = torch.rand(2, n_tokens, generator=generator) < share
    return {"input_ids": ids, "labels": ids.where(is_asked, torch.tensor(-100))}


def test_training_step_equals_the_dense_head(tiny_model):
    """Tied embeddings and the bias get the sum of the gradients of both uses."""
    sparse = tiny_model("masked lm").train()
    dense = copy.deepcopy(sparse)
    dense.config.sparse_prediction = False
    batch = masked_batch(sparse)
    for kwargs in ({}, {"num_items_in_batch": torch.tensor(50)}):
        outputs = [model(**batch, **kwargs) for model in (sparse, dense)]
        assert outputs[0].logits is None
        assert outputs[1].logits.shape == (2, 40, 60)
        torch.testing.assert_close(outputs[0].loss, outputs[1].loss)
        for model, output in zip((sparse, dense), outputs, strict=True):
            model.zero_grad()
            output.loss.backward()
        for (name, ours), theirs in zip(sparse.named_parameters(), dense.parameters(), strict=True):
            if theirs.grad is None:
                assert ours.grad is None, name
            else:
                torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-6, rtol=1e-5, msg=name)


def test_in_evaluation_every_token_has_logits(tiny_model):
    model = tiny_model("masked lm")
    batch = masked_batch(model)
    trained = model.train()(**batch).loss
    output = model.eval()(**batch)
    assert output.logits.shape == (2, 40, 60)
    torch.testing.assert_close(output.loss, trained)


@pytest.mark.parametrize("n_items", [None, 0, torch.tensor(0)])
def test_batch_without_labels_has_zero_loss_and_gradients(tiny_model, n_items):
    model = tiny_model("masked lm").train()
    batch = masked_batch(model, share=0.0)
    loss = model(**batch, **({} if n_items is None else {"num_items_in_batch": n_items})).loss
    assert loss.item() == 0
    loss.backward()
    used = [p for name, p in model.named_parameters() if "_global" not in name]
    assert all(p.grad is not None and not p.grad.any() for p in used)


def test_replaced_decoder_computes_the_scores(tiny_model):
    model = tiny_model("masked lm").train()
    batch = masked_batch(model)
    expected = model(**batch).loss
    asked = []
    model.lm_head.decoder.register_forward_hook(lambda *_: asked.append(1))
    torch.testing.assert_close(model(**batch).loss, expected)
    assert asked


class _Largest(TorchDispatchMode):
    """The number of elements of the largest tensor made in the context."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for x in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(x, torch.Tensor):
                self.numel = max(self.numel, x.numel())
        return result


def test_no_tensor_holds_all_scores(monkeypatch):
    """The largest tensors are the scores of one chunk and the gradients of the embeddings."""
    V, C, T = 5000, 8, 128
    config = longspan.LongformerConfig(
        vocab_size=V, hidden_size=C, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=T + 2, attention_window=8, type_vocab_size=1, pad_token_id=1,
    )  # fmt: skip
    model = longspan.LongformerForMaskedLM(config).train()
    monkeypatch.setattr("longspan.models.heads.losses.linear_cross_entropy.__kwdefaults__", {"chunk_bytes": V * 4 * 8})
    with _Largest() as largest:
        model(**masked_batch(model, n_tokens=T, share=0.15)).loss.backward()
    assert largest.numel == V * 8  # the embeddings' gradient, and the scores of 8 of some 38 tokens that are asked for
