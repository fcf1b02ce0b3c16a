"""What computes a model's attention, in words."""

import torch
import transformers

from longspan.models import LongformerConfig
from longspan.models.choice import attention_choice

CALL = {"n_rows": 2, "n_tokens": 64, "device": "cpu", "dtype": torch.float32, "needs_grad": True}


def test_the_backend_and_every_reason_are_told():
    config = LongformerConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1, attention_window=4)
    told = attention_choice(config, **CALL)
    assert told.startswith("blocked (") and "blocked: chosen" in told and "reference: " in told
    config.attention_backend = "reference"
    assert attention_choice(config, **CALL).startswith("reference (")


def test_other_families_compute_full_attention():
    config = transformers.XLMRobertaConfig()
    assert attention_choice(config, **CALL).endswith("full attention")
