"""transformers' own tests of models, from its source package, on longspan's classes; pytest does not collect this file.

    pip download --no-deps --no-binary transformers transformers==5.23.0 && tar xzf transformers-5.23.0.tar.gz
    pip install parameterized
    export TRANSFORMERS_TESTS=transformers-5.23.0/tests
    pytest tests/models/common_suite.py -o addopts=--import-mode=importlib -W default

The source package is no part of what the tests install; `test_common.py` holds their points that no other test covers.
"""

import importlib
import os
import sys
import types
import unittest
from pathlib import Path

import pytest
import torch
from transformers.utils import logging

import longspan
from longspan import LongformerConfig
from longspan.models.registration import unregister

if not os.environ.get("TRANSFORMERS_TESTS"):
    pytest.skip("TRANSFORMERS_TESTS names no folder of transformers' tests", allow_module_level=True)


def _load_common():
    """`test_modeling_common.py`; of what it imports beside itself the source package has no files."""
    root = Path(os.environ["TRANSFORMERS_TESTS"]).resolve()
    package = types.ModuleType("transformers_tests")
    package.__path__ = [str(root)]
    sys.modules["transformers_tests"] = package
    for module, name in (
        ("exporters.test_export", "ExportTesterMixin"),
        ("generation.test_utils", "GenerationTesterMixin"),
    ):
        parent, _, _ = module.partition(".")
        for full in (f"transformers_tests.{parent}", f"transformers_tests.{module}"):
            made = sys.modules.setdefault(full, types.ModuleType(full))
            made.__path__ = []
        setattr(sys.modules[f"transformers_tests.{module}"], name, type(name, (), {}))
    return importlib.import_module("transformers_tests.test_modeling_common")


common = _load_common()


class Tester:
    """Sizes and inputs that the common tests ask for."""

    batch_size, seq_length, num_hidden_layers, num_attention_heads, hidden_size = 3, 7, 2, 2, 32
    attention_window, num_choices, is_training = 4, 4, True
    encoder_seq_length = seq_length
    key_length = attention_window + 2  # of attention weights: the window, the token itself, one global token

    def __init__(self, parent):
        self.parent = parent

    def get_config(self):
        return LongformerConfig(
            vocab_size=99,
            hidden_size=self.hidden_size,
            num_hidden_layers=self.num_hidden_layers,
            num_attention_heads=self.num_attention_heads,
            intermediate_size=37,
            hidden_dropout_prob=0.1,
            attention_probs_dropout_prob=0.1,
            max_position_embeddings=64,
            type_vocab_size=16,
            attention_window=self.attention_window,
            sep_token_id=2,
            pad_token_id=1,
        )

    def prepare_config_and_inputs_for_common(self):
        input_ids = torch.randint(5, 99, (self.batch_size, self.seq_length))
        input_ids[:, 2:5] = 2  # three separators, for question answering and multiple choice
        inputs = {
            "input_ids": input_ids,
            "attention_mask": torch.ones_like(input_ids),
            "token_type_ids": torch.randint(0, 16, input_ids.shape),
            "global_attention_mask": torch.zeros_like(input_ids),
        }
        inputs["global_attention_mask"][:, 0] = 1
        return self.get_config(), inputs


class TestLongformer(common.ModelTesterMixin, unittest.TestCase):
    all_model_classes = (
        longspan.LongformerModel,
        longspan.LongformerForMaskedLM,
        longspan.LongformerForQuestionAnswering,
        longspan.LongformerForSequenceClassification,
        longspan.LongformerForTokenClassification,
        longspan.LongformerForMultipleChoice,
    )
    model_split_percents = (0.6, 0.7, 0.9)

    def setUp(self):
        self.model_tester = Tester(self)
        before = logging.get_verbosity()
        logging.set_verbosity_warning()  # some tests read what is logged
        self.addCleanup(logging.set_verbosity, before)
        # Auto classes build longspan's.
        longspan.register()
        self.addCleanup(unregister)

    @unittest.skip("as in transformers' own tests of its Longformer")
    def test_retain_grad_hidden_states_attentions(self):
        pass
