import pytest
import transformers
from transformers import (
    AlbertConfig,
    BertConfig,
    DebertaV2Config,
    ElectraConfig,
    LongformerConfig,
    ModernBertConfig,
    RobertaConfig,
    T5Config,
)

from longspan.errors import InputError
from longspan.extend import extend
from longspan.extend.families import FAMILIES, FAMILY_OF_TYPE, Family, Head, NameMap, find_family

CASES = [(family.model_type, kind) for family in FAMILIES for kind in family.heads]


@pytest.mark.parametrize(("model_type", "kind"), CASES)
def test_every_parameter_has_one_name_in_a_longformer_and_gets_its_own_back(make_model, model_type, kind):
    model, family = make_model(model_type, kind), FAMILY_OF_TYPE[model_type]
    names = family.names(kind)
    prefix = "" if hasattr(model, family.base) else f"{family.base}."
    old = [prefix + name for name in model.state_dict()]
    new = [names.to_longformer(name) for name in old]
    assert None not in new
    assert len(set(new)) == len(old)
    assert [names.from_longformer(name) for name in new] == old


def test_the_first_row_that_matches_decides():
    names = NameMap((("a.x.*", "b.*"), ("a.*", "c.*")))
    assert names.to_longformer("a.x.w") == "b.w"
    assert names.to_longformer("a.y.w") == "c.y.w"
    assert names.to_longformer("z") is None


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (DebertaV2Config(), ["DeBERTa-v2", "relative positions"]),
        (BertConfig(position_embedding_type="relative_key"), ["BERT", "relative_key"]),
        (ModernBertConfig(), ["ModernBERT", "RoPE"]),
        (T5Config(), ["T5", "encoder-decoder"]),
        (AlbertConfig(), ["ALBERT", "share one set of weights"]),
        (LongformerConfig(), ["it is a Longformer already"]),
        (ElectraConfig(embedding_size=128, hidden_size=256), ["ELECTRA", "128 wide", "256"]),
        (RobertaConfig(is_decoder=True), ["RoBERTa", "decoder"]),
        (BertConfig(add_cross_attention=True), ["BERT", "cross attention"]),
    ],
)
def test_a_family_that_cannot_be_extended_is_named_with_the_reason_and_what_can(config, words):
    with pytest.raises(InputError) as raised:
        find_family(config)
    for word in [*words, "Supported are", *(family.name for family in FAMILIES)]:
        assert word in str(raised.value)


def test_an_unknown_family_is_named():
    class Config:
        model_type = "novel"

    with pytest.raises(InputError, match="model_type 'novel' cannot be extended: longspan has no name map"):
        find_family(Config())


def test_a_family_is_added_in_ten_lines(monkeypatch):
    # The example of docs/how-to-add-a-family.md.
    family = Family(
        name="data2vec",
        model_type="data2vec-text",
        class_prefix="Data2VecText",
        base="data2vec_text",
        heads={"base": Head(), "masked_lm": Head((("lm_head.*", "lm_head.*"),))},
        reserves_rows=True,
    )
    monkeypatch.setitem(FAMILY_OF_TYPE, family.model_type, family)
    config = transformers.Data2VecTextConfig(
        vocab_size=99,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=42,
    )
    for name in ("Data2VecTextModel", "Data2VecTextForMaskedLM"):
        extended = extend(getattr(transformers, name)(config), max_tokens=90, attention_window=16)
        assert all(check.passed for check in extended.proof.checks)
        assert extended.proof.family == "data2vec"


def test_a_missing_pad_id_is_named():
    with pytest.raises(InputError, match="no pad_token_id"):
        find_family(BertConfig(pad_token_id=None))
