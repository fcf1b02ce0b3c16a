"""The description of the backend of a model's attention."""

import pytest
import torch
import transformers

from longspan.attention import call as call_file
from longspan.models import LongformerConfig
from longspan.models.backend_report import attention_choice, expected_request

CALL = {"n_rows": 2, "n_tokens": 64, "device": "cpu", "dtype": torch.float32, "needs_grad": True}


def test_backend_and_all_reasons_are_reported():
    config = LongformerConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1, attention_window=4)
    told = attention_choice(config, **CALL)
    assert told.startswith("blocked (") and "blocked: chosen" in told and "reference: " in told
    config.attention_backend = "reference"
    assert attention_choice(config, **CALL).startswith("reference (")


def test_other_families_compute_full_attention():
    config = transformers.XLMRobertaConfig()
    assert attention_choice(config, **CALL).endswith("full attention")


@pytest.mark.parametrize(
    ("settings", "lengths"),
    [
        ({}, [40, 22]),
        ({}, [40]),
        ({"unpad_inputs": False}, [40, 22]),
        ({"chunk_size_feed_forward": 40}, [40, 22]),
        ({"attention_backend": "reference"}, [40, 22]),
        ({"global_attention_size": 2, "attention_probs_dropout_prob": 0.1}, [40, 22]),
    ],
)
@pytest.mark.parametrize("has_global", [False, True])
def test_report_equals_the_request_of_the_layers(settings, lengths, has_global, tiny_model, batch, monkeypatch):
    """A batch without its padding is one packed row of documents."""
    asked = []
    select = call_file.select
    monkeypatch.setattr(call_file, "select", lambda request, name: asked.append(request) or select(request, name))
    model = tiny_model(**settings).train()
    model(**batch(lengths, [[0]] * len(lengths) if has_global else None))
    call = CALL | {"n_rows": len(lengths), "n_tokens": 40, "has_dynamic_global": has_global}
    expected = expected_request(model.config, **call)
    assert asked[0]._replace(n_tokens=0) == expected._replace(n_tokens=0)
    assert 0 <= expected.n_tokens - asked[0].n_tokens < 22
