import pytest
import torch
from transformers import PreTrainedTokenizerFast

from longspan.data.qa import GoldAnswer, QaCollator, QaExample, make_qa_features
from longspan.errors import InputError

ROWS = [
    QaExample(id="a", question="Where?", context="Anna lives in Oslo.", answers=(GoldAnswer("Oslo", 14),)),
    QaExample(id="b", question="Where does Anna live?", context="It is big: Oslo.", answers=(GoldAnswer("Oslo", 11),)),
]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("multiple", [None, 64])
def test_pads_on_either_side(tokenizer, side, multiple, monkeypatch):
    monkeypatch.setattr(tokenizer, "padding_side", side)
    features = make_qa_features(ROWS, tokenizer, max_length=99, overlap=9, with_labels=True)
    batch = QaCollator(tokenizer, pad_to_multiple_of=multiple)(features[:])
    longest = features.lengths.max()
    assert batch["input_ids"].shape == (2, 64 if multiple else longest)
    assert all(tensor.dtype == torch.int64 for tensor in batch.values())
    own = tokenizer([row.question for row in ROWS], [row.context for row in ROWS], padding=True, return_tensors="pt")
    if multiple is None:
        for name in own:
            assert torch.equal(batch[name], own[name])
    assert ("token_type_ids" in batch) == ("token_type_ids" in own)
    for i, feature in enumerate(features):
        is_token = batch["attention_mask"][i].bool()
        assert batch["input_ids"][i][is_token].tolist() == feature.input_ids
        assert batch["input_ids"][i][~is_token].eq(tokenizer.pad_token_id).all()
        assert batch["global_attention_mask"][i][is_token].bool().tolist() == feature.is_question
        assert batch["global_attention_mask"][i][~is_token].eq(0).all()
        for name in ("start", "end"):
            at = getattr(feature, f"{name}_position")
            assert batch["input_ids"][i, batch[f"{name}_positions"][i]] == feature.input_ids[at]


def test_without_labels_and_without_global_tokens(tokenizer):
    features = make_qa_features(ROWS, tokenizer, max_length=99, overlap=9, with_labels=False)
    batch = QaCollator(tokenizer, global_tokens="none")(features)
    assert set(batch) - {"token_type_ids"} == {"input_ids", "attention_mask"}


def test_wrong_settings_are_refused(tokenizer):
    with pytest.raises(InputError, match="pad_to_multiple_of is 0"):
        QaCollator(tokenizer, pad_to_multiple_of=0)
    with pytest.raises(InputError, match="global_tokens is 'all'"):
        QaCollator(tokenizer, global_tokens="all")
    bare = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer)
    bare.pad_token = None
    with pytest.raises(InputError, match="no padding token"):
        QaCollator(bare)


def test_several_answers_are_padded_behind_the_last(tokenizer, monkeypatch):
    monkeypatch.setattr(tokenizer, "padding_side", "left")
    context = "Oslo, Oslo, Oslo; it is big"
    answers = tuple(GoldAnswer("Oslo", start) for start in (0, 6, 12))
    several = QaExample(id="c", question="Where?", context=context, answers=answers, supervision="all")
    features = make_qa_features([several, ROWS[1]], tokenizer, max_length=99, overlap=9, with_labels=True)
    assert features[1].start_positions is None
    batch = QaCollator(tokenizer)(features[:])
    n_tokens = batch["input_ids"].shape[1]
    for name in ("start", "end"):
        first, second = batch[f"{name}_positions"].tolist()
        shifts = [n_tokens - len(feature.input_ids) for feature in features]
        assert first == [at + shifts[0] for at in getattr(features[0], f"{name}_positions")]
        assert second == [getattr(features[1], f"{name}_position") + shifts[1], -1, -1]
    one = QaCollator(tokenizer, several_answers=False)(features[:])
    assert one["start_positions"].tolist() == [row[0] for row in batch["start_positions"].tolist()]
    assert one["start_positions"].shape == (2,)
