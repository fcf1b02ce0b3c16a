"""The choice of a backend, and its reasons."""

import pytest
import torch

from longspan.attention import AttentionPattern, attend, backends, explain, select
from longspan.attention.backends import Backend
from longspan.attention.inputs import BackendRequest
from longspan.errors import InputError

REQUEST = BackendRequest(
    n_rows=1, n_heads=2, n_tokens=8, width=4, device="cpu", dtype=torch.float32, needs_grad=True,
    pattern=AttentionPattern(1, 1),
)  # fmt: skip


def test_every_backend_has_a_reason():
    choice = select(REQUEST)
    assert choice.backend == "blocked"
    assert choice.reasons["blocked"].startswith("chosen: ")
    assert set(choice.reasons) == set(backends.BACKENDS)


def test_a_named_backend_is_taken():
    assert select(REQUEST, "reference").backend == "reference"
    assert select(REQUEST, "reference").reasons["reference"] == "chosen: named by the caller"


def test_unable_backend_is_skipped_but_never_replaced(monkeypatch):
    def only_forward(request: BackendRequest) -> str | None:
        return "has no backward" if request.needs_grad else None

    fancy = Backend(lambda inputs: inputs.q_BHTD, only_forward, "quickest where it runs")
    monkeypatch.setattr(backends, "BACKENDS", {"fancy": fancy, **backends.BACKENDS})
    choice = select(REQUEST)
    assert choice.backend == "blocked"
    assert choice.reasons["fancy"] == "no: has no backward"
    assert select(REQUEST._replace(needs_grad=False)).backend == "fancy"
    with pytest.raises(InputError, match="attention backend 'fancy' cannot do this: has no backward"):
        select(REQUEST, "fancy")


def test_export_chooses_a_backend_for_any_length():
    choice = select(REQUEST._replace(is_exporting=True))
    assert choice.backend == "chunked"
    assert choice.reasons["blocked"].startswith("no: an exported graph must hold for any length")
    # Whoever names one knows what for: it is not replaced.
    assert select(REQUEST._replace(is_exporting=True), "blocked").backend == "blocked"


def test_explain_has_one_line_per_backend():
    lines = explain(REQUEST).split("\n")
    assert [line.split()[0] for line in lines] == list(backends.BACKENDS)


def test_attend_uses_the_selected_backend(monkeypatch):
    called = []
    backend = Backend(lambda inputs: called.append(inputs) or inputs.v_BHTD, lambda request: None, "test")
    monkeypatch.setitem(backends.BACKENDS, "reference", backend)
    x = torch.ones(1, 2, 8, 4)
    assert attend(x, x, x, AttentionPattern(1, 1), backend="reference") is x
    assert called[0].scale == 0.5
