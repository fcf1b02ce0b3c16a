"""Encoders and training steps run beside their peers with equal random weights."""

import dataclasses
import json

import pytest
import torch

from longspan.attention.blocked import backend as blocked
from longspan.benchmark import model_benchmark
from longspan.benchmark.architectures import (
    FULL,
    LONGFORMER,
    MODERNBERT,
    OURS,
    SYSTEMS,
    Models,
    read_size,
)
from longspan.benchmark.correctness import model_disagreement
from longspan.benchmark.model_benchmark import benchmark_models
from longspan.benchmark.model_systems import model_points
from longspan.benchmark.settings import ModelSettings, parse_padded
from longspan.errors import InputError
from longspan.models import LongformerForMaskedLM

TINY = ModelSettings(size="tiny", lengths=(24,), window=8, repeats=1, with_memory=False)


def test_every_encoder_is_measured():
    record = benchmark_models(dataclasses.replace(TINY, backward=True, n_global=2))
    assert [t.system for t in record.timings] == list(SYSTEMS) * 2
    assert all(t.left_out is None for t in record.timings)
    assert [t.is_chosen for t in record.timings] == [True, False, False, False] * 2
    assert record.name == "encoder" and record.settings["size"] == "tiny"


def test_padded_rows_are_measured_beside_full_rows():
    record = benchmark_models(dataclasses.replace(TINY, padded=(24, 8, 8), systems=(OURS,)))
    assert [t.system for t in record.timings] == [OURS, f"{OURS}, the same tokens as full rows"]
    assert {t.n_tokens for t in record.timings} == {40}
    assert set(record.timings[0].ratio_to) == {f"{OURS}, the same tokens as full rows"}


def test_training_steps_leave_no_gradients_and_change_weights():
    settings = dataclasses.replace(
        TINY, task="training-step", optimizer="adamw", gradient_checkpointing=True, systems=(OURS,)
    )
    (point,) = model_points(settings)
    call = point.make()
    model = call.__closure__ and next(
        cell.cell_contents for cell in call.__closure__ if isinstance(cell.cell_contents, torch.nn.Module)
    )
    before = model.lm_head.dense.weight.clone()
    call()
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not torch.equal(before, model.lm_head.dense.weight)
    assert model.training and model.longformer.encoder.gradient_checkpointing


def test_every_training_step_is_measured():
    record = benchmark_models(dataclasses.replace(TINY, task="training-step"))
    assert [t.left_out for t in record.timings] == [None] * len(SYSTEMS)


def test_models_share_their_weights():
    made = Models(
        read_size("tiny"), n_positions=24, window=8, dropout=0.0, backend="auto", device="cpu", for_masked_lm=False
    )
    ours, theirs, full, modern = (made.get(name, "float32") for name in (OURS, LONGFORMER, FULL, MODERNBERT))
    assert ours.embeddings.word_embeddings.weight.data_ptr() == full.embeddings.word_embeddings.weight.data_ptr()
    assert ours.encoder.layer[0].attention.self.query_global.weight.shape == (64, 64)
    n_own = sum(p.numel() for p in theirs.parameters())
    assert n_own == sum(p.numel() for p in ours.parameters()) > sum(p.numel() for p in full.parameters())
    n_modern = sum(p.numel() for p in modern.parameters())
    assert 0.8 < n_modern / sum(p.numel() for p in full.parameters()) < 1.2


def test_wrong_tiny_model_is_not_timed(monkeypatch):
    monkeypatch.setattr(
        model_benchmark, "model_disagreement", lambda settings, dtype: "disagrees with transformers by 1"
    )
    record = benchmark_models(dataclasses.replace(TINY, systems=(OURS, FULL)))
    assert [t.left_out for t in record.timings] == ["disagrees with transformers by 1", None]


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"task": "training-step"}, "the gradient of "),
        ({"backward": True, "n_global": 2}, "the gradient of "),
        ({}, None),  # gradients that nobody times
    ],
)
def test_model_with_a_wrong_gradient_is_not_timed(changes, where, monkeypatch):
    backward = blocked.backward
    monkeypatch.setattr(blocked, "backward", lambda *args: tuple(1.01 * grad for grad in backward(*args)))
    record = benchmark_models(dataclasses.replace(TINY, systems=(OURS, FULL), **changes))
    for timing in record.timings:
        if where is None or timing.system == FULL:
            assert timing.left_out is None
        else:
            assert timing.left_out.startswith("disagrees with transformers by") and where in timing.left_out


def test_model_with_a_wrong_loss_is_not_timed(monkeypatch):
    forward = LongformerForMaskedLM.forward

    def wrong(*args, **kwargs):
        output = forward(*args, **kwargs)
        output.loss = output.loss + 1e-3
        return output

    monkeypatch.setattr(LongformerForMaskedLM, "forward", wrong)
    assert "in the loss" in model_disagreement(dataclasses.replace(TINY, task="training-step"), "float32")


@pytest.mark.parametrize("changes", [{"task": "training-step"}, {"backward": True}])
def test_half_precision_is_within_tolerance(changes):
    assert model_disagreement(dataclasses.replace(TINY, **changes), "bfloat16") is None


def test_precision_without_instructions_is_left_out(monkeypatch):
    monkeypatch.setattr(model_benchmark, "cpu_computes_bf16", lambda: False)
    record = benchmark_models(dataclasses.replace(TINY, dtypes=("bfloat16",)))
    assert all("no instructions for bfloat16" in t.left_out for t in record.timings)


def test_a_size_is_a_name_or_a_configuration(tmp_path):
    fields = {"num_hidden_layers": 3, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(fields | {"vocab_size": 30}), encoding="utf-8")
    assert read_size(str(path)) == read_size(str(tmp_path)) and read_size(str(path)).vocab_size == 30
    path.write_text(json.dumps(fields), encoding="utf-8")
    with pytest.raises(InputError, match="no whole number for vocab_size"):
        read_size(str(path))
    with pytest.raises(InputError, match="none of tiny, small, base"):
        read_size("huge")


def test_padded_rows_are_parsed():
    assert parse_padded("9, 4x2") == (9, 4, 4)
    for text in ("", "4x", "x4", "0", "4x0", "4,,2", "-4"):
        if text == "4x":
            assert parse_padded(text) == (4,)
            continue
        with pytest.raises(InputError, match="--padded"):
            parse_padded(text)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"optimizer": "lion"}, "optimizer must be"),
        ({"dropout": 1.0}, "dropout is a probability"),
        ({"systems": ("SDPA",)}, "no system's name begins"),
        ({"padded": (0,)}, "padded must hold"),
        ({"window": 7}, "must be even"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changed, message):
    with pytest.raises(InputError, match=message):
        benchmark_models(dataclasses.replace(TINY, **changed))
