import pytest
import torch
import transformers

from longspan.errors import InputError
from longspan.models.agreement import (
    choose_padding_id,
    max_tokens_of,
    require_agreement,
    require_special_tokens,
    settle,
)

_SHAPE = {
    "vocab_size": 200,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 66,
}


def make(kind: str, **changes) -> transformers.PreTrainedModel:
    config = getattr(transformers, f"{kind}Config")(**{**_SHAPE, "pad_token_id": 1, **changes})
    return getattr(transformers, f"{kind}Model")(config)


@pytest.fixture
def words(tiny_tokenizer):
    """The tokenizer of <s> 0, <pad> 1, </s> 2, <unk> 3, for a test to change."""
    copy = transformers.PreTrainedTokenizerFast(tokenizer_object=tiny_tokenizer.backend_tokenizer)
    copy.add_special_tokens(tiny_tokenizer.special_tokens_map)
    copy.model_max_length = 64
    return copy


def test_more_pieces_than_rows_are_refused(words):
    words.add_tokens(["Uppsala"])
    with pytest.raises(InputError, match=r"m has 201 pieces, the model 200 rows.*Uppsala.*resize_token_embeddings"):
        require_agreement("m", make("Bert"), words)


def test_more_rows_than_pieces_are_fine(words):
    require_agreement("m", make("Bert", vocab_size=300), words)


def test_a_vocabulary_with_holes_counts_its_ids(words, monkeypatch):
    monkeypatch.setattr(type(words), "get_vocab", lambda _: {"a": 0, "b": 250})
    with pytest.raises(InputError, match="251 pieces"):
        require_agreement("m", make("Bert"), words)


def test_the_rows_are_the_weights_not_the_configuration(words):
    words.add_tokens(["Uppsala"])
    model = make("Bert")
    model.resize_token_embeddings(201)
    require_agreement("m", model, words)
    model.config.vocab_size = 200
    require_agreement("m", model, words)


def test_token_types_beyond_the_model_are_refused(words):
    from tokenizers import processors

    words.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B:2 </s>:2", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    with pytest.raises(InputError, match="token types up to 2, the model has 2"):
        require_agreement("m", make("Bert"), words)
    require_agreement("m", make("Bert", type_vocab_size=3), words)


def test_one_token_type_leaves_the_tokenizer_none(words):
    from tokenizers import processors

    words.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    words.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    model, notes = make("Roberta", type_vocab_size=1), []
    settle("m", model, words, notes)
    assert "one token type" in notes[0]
    model(**words("Anna", "Boris", return_tensors="pt"))


def test_position_rows_beyond_the_weights_are_refused(words):
    model = make("Bert")
    model.config.max_position_embeddings = 100
    with pytest.raises(InputError, match="66 position rows, and its configuration names 100"):
        require_agreement("m", model, words)


def test_reserved_rows_that_leave_no_position(words):
    with pytest.raises(InputError, match="pad_token_id 65 reserves all"):
        require_agreement("m", make("Roberta", pad_token_id=65), words)


def test_special_ids_become_the_tokenizers(words):
    model, notes = make("Longformer", sep_token_id=7, bos_token_id=5, eos_token_id=2, attention_window=4), []
    settle("m", model, words, notes)
    config = model.config
    assert (config.sep_token_id, config.bos_token_id, config.eos_token_id, config.pad_token_id) == (2, 0, 2, 1)
    assert len(notes) == 2
    assert "sep_token_id was 7; it is the tokenizer's now, 2 (</s>)" in notes[1]


def test_what_was_settled_is_logged(words, caplog):
    settle("m", make("Longformer", sep_token_id=7, attention_window=4), words)
    assert "m: the configuration's sep_token_id was 7" in caplog.text


def test_a_model_that_agrees_stays_as_it_is(words):
    for kind in ("Bert", "Roberta", "DistilBert"):
        model, notes = make(kind), []
        before = model.config.to_dict()
        settle("m", model, words, notes)
        assert model.config.to_dict() == before
        assert not notes


def test_padding_is_free_where_positions_do_not_count_it(words):
    model, notes = make("Bert", pad_token_id=3), []
    settle("m", model, words, notes)
    assert (model.config.pad_token_id, model.get_input_embeddings().padding_idx) == (1, 1)
    assert "pad_token_id was 3 (<unk>)" in notes[0]


@pytest.mark.parametrize("kind", ["Roberta", "Longformer"])
def test_trained_positions_keep_their_padding(words, kind):
    extra = {"attention_window": 4} if kind == "Longformer" else {}
    model, notes = make(kind, pad_token_id=3, **extra), []
    settle("m", model, words, notes)
    assert model.config.pad_token_id == 3
    assert "counts no position for that piece" in notes[0]
    assert any("longspan extend" in note for note in notes) is (kind == "Longformer")


def test_padding_with_another_token_is_said(words):
    words.pad_token = words.eos_token
    model, notes = make("Roberta"), []
    settle("m", model, words, notes)
    assert model.config.pad_token_id == 1
    assert "pad on the right only" in notes[0]


def test_a_longest_input_beyond_the_rows_is_lowered(words):
    words.model_max_length = 512
    model, notes = make("Roberta"), []
    settle("m", model, words, notes)
    assert words.model_max_length == 64 == max_tokens_of(model)
    assert "was 512" in notes[0]


def test_an_unset_longest_input_stays(words):
    words.model_max_length = 10**30
    notes = []
    settle("m", make("Bert"), words, notes)
    assert words.model_max_length == 10**30
    assert not notes


@pytest.mark.parametrize(("pad_token", "config_pad", "expected"), [("<pad>", 3, 1), ("</s>", 1, 1), (None, 1, 1)])
def test_no_padding_id_is_a_word(words, pad_token, config_pad, expected):
    words.pad_token = pad_token
    notes = []
    assert choose_padding_id(transformers.BertConfig(pad_token_id=config_pad), words, notes) == expected
    assert len(notes) == 1


@pytest.mark.parametrize(("pad_token", "config_pad"), [("</s>", 3), (None, 0), (None, 50), (None, None)])
def test_words_for_padding_are_refused(words, pad_token, config_pad):
    words.pad_token = pad_token
    with pytest.raises(InputError, match="needs one of its own"):
        choose_padding_id(transformers.BertConfig(pad_token_id=config_pad), words, [])


def test_a_missing_special_token_is_named(words):
    require_special_tokens("m", words, ["pad", "mask"])
    words.mask_token = None
    with pytest.raises(InputError, match="the tokenizer of m has no mask token"):
        require_special_tokens("m", words, ["pad", "mask"])


@pytest.mark.parametrize("kind", ["Luke", "Lilt", "MarkupLM"])
def test_every_family_that_reserves_rows_is_known(kind):
    extra = {"entity_vocab_size": 5, "entity_emb_size": 16} if kind == "Luke" else {}
    extra |= {"hidden_size": 24, "channel_shrink_ratio": 1} if kind == "Lilt" else {}
    model = make(kind, **extra)
    assert max_tokens_of(model) == 64
    with torch.no_grad():
        model(torch.full((1, 64), 9))
        with pytest.raises(IndexError):
            model(torch.full((1, 65), 9))


def test_padding_has_a_token_type_too(words):
    words._pad_token_type_id = 3
    with pytest.raises(InputError, match="token types up to 3"):
        require_agreement("m", make("Bert"), words)


def test_a_reserving_table_is_seen_without_its_name(words):
    model = make("Bert", pad_token_id=3)
    model.embeddings.position_embeddings.padding_idx = 3  # as a family that longspan does not know by name
    assert max_tokens_of(model) == 62
    settle("m", model, words, [])
    assert model.config.pad_token_id == 3
