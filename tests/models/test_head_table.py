"""A head that is defined outside the package, with one line in the table, is a full member."""

import jaxtyping
import pytest
import torch
import transformers
from torch import nn
from transformers.modeling_outputs import TokenClassifierOutput

import longspan
from longspan import models
from longspan.errors import InputError
from longspan.extend.card import extension_card
from longspan.extend.families import FAMILIES, Head
from longspan.models.agreement import max_tokens_of
from longspan.models.export import load_model
from longspan.models.heads import HEADS, TaskHead, head_of
from longspan.models.tracing import trace_model


class LongformerForSalience(longspan.models.LongformerPreTrainedModel):
    """One score for each token."""

    def __init__(self, config):
        super().__init__(config)
        self.longformer = longspan.LongformerModel(config, add_pooling_layer=False)
        self.scorer = nn.Linear(config.hidden_size, 1)
        self.post_init()

    def forward(self, input_ids=None, **inputs):
        inputs.pop("return_dict", None)
        output = self.longformer(input_ids, return_dict=True, **inputs)
        scores_BT = self.scorer(output.last_hidden_state)[..., 0]
        return TokenClassifierOutput(logits=scores_BT, hidden_states=output.hidden_states)


class XLMRobertaForSalience(transformers.XLMRobertaPreTrainedModel):
    """The same head on a short encoder."""

    def __init__(self, config):
        super().__init__(config)
        self.roberta = transformers.XLMRobertaModel(config, add_pooling_layer=False)
        self.scorer = nn.Linear(config.hidden_size, 1)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, **_):
        output = self.roberta(input_ids, attention_mask=attention_mask, output_hidden_states=True)
        scores_BT = self.scorer(output.last_hidden_state)[..., 0]
        return TokenClassifierOutput(logits=scores_BT, hidden_states=output.hidden_states)


AUTO_CLASS = "AutoModelForNextSentencePrediction"


@pytest.fixture(autouse=True)
def salience(monkeypatch):
    line = TaskHead("LongformerForSalience", __name__, (AUTO_CLASS,), ("logits",), "token-ranking")
    monkeypatch.setitem(HEADS, "salience", line)
    return line


@pytest.fixture
def model():
    torch.manual_seed(0)
    config = longspan.LongformerConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=66, attention_window=8, type_vocab_size=1,
    )  # fmt: skip
    return LongformerForSalience(config).eval()


def test_it_has_a_public_name(salience):
    assert longspan.LongformerForSalience is models.LongformerForSalience is LongformerForSalience
    assert salience.class_ending == "ForSalience"


def test_auto_classes_build_it(model, tmp_path):
    model.save_pretrained(tmp_path)
    longspan.register()
    try:
        assert type(getattr(transformers, AUTO_CLASS).from_pretrained(tmp_path)) is LongformerForSalience
    finally:
        longspan.models.unregister()


def test_it_is_loaded_and_exported(model, tmp_path, monkeypatch):
    # The checks of shapes in tests cannot be traced.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    model.save_pretrained(tmp_path)
    loaded, _ = load_model(tmp_path)
    assert head_of(loaded) is HEADS["salience"]
    traced = trace_model(loaded)
    ids = torch.randint(4, 40, (2, 20))
    (scores,) = traced.program.module()(input_ids=ids, attention_mask=torch.ones_like(ids))
    torch.testing.assert_close(scores, loaded(ids).logits)


def test_a_short_model_is_extended_with_it(monkeypatch):
    config = transformers.XLMRobertaConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=34, type_vocab_size=1, pad_token_id=1,
    )  # fmt: skip
    short = XLMRobertaForSalience(config).eval()
    with pytest.raises(InputError, match="XLMRobertaForSalience cannot be extended with its head: longspan has no map"):
        longspan.extend(short, max_tokens=64, attention_window=8)
    family = next(family for family in FAMILIES if family.model_type == "xlm-roberta")
    monkeypatch.setitem(family.heads, "salience", Head((("scorer.*", "scorer.*"),)))
    extended = longspan.extend(short, max_tokens=64, attention_window=32)
    assert type(extended.model) is LongformerForSalience
    assert max_tokens_of(short) == 32 and max_tokens_of(extended.model) == 64
    ids = torch.randint(4, 40, (1, 14))
    torch.testing.assert_close(extended.model(ids).logits, short(ids).logits)
    assert "pipeline_tag: token-ranking" in extension_card(extended.model, extended.proof, "salience")
