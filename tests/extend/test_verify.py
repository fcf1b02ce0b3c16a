import pytest
import torch

from longspan.errors import InputError
from longspan.extend import extend
from longspan.extend.texts import packaged_texts
from longspan.extend.verify import format_proof, require_effort
from longspan.records import Check, Drift, ProofRecord, made_now

WINDOW = 16


def test_a_full_proof_states_what_was_compared(make_model, tokenizer):
    proof = extend(make_model("roberta", "question_answering"), tokenizer, max_tokens=64, attention_window=WINDOW).proof
    assert [check.statement for check in proof.checks] == [
        "inputs of at most 9 tokens: every hidden state",
        "inputs of at most 9 tokens, some tokens global: every hidden state",
        "inputs of at most 9 tokens: the task head's output",
        "attention_window 80, inputs of at most 40 tokens: every hidden state",
        "attention_window 80, inputs of at most 40 tokens: the task head's output",
    ]
    assert all(check.passed and check.n_inputs == 3 and check.tolerance == 1e-4 for check in proof.checks)
    assert (proof.source, proof.family) == ("RobertaForQuestionAnswering", "RoBERTa")
    assert (proof.old_max_tokens, proof.max_tokens, proof.attention_window) == (40, 64, [WINDOW, WINDOW])
    assert proof.made.seed == 0


def test_drift_is_measured_on_the_lengths_that_the_old_model_takes(make_model, tokenizer):
    source = make_model("roberta", max_position_embeddings=302)
    drift = extend(source, tokenizer, max_tokens=400, attention_window=254).proof.drift
    assert [one.n_tokens for one in drift] == [128, 256]
    assert drift[0].mean_cosine == pytest.approx(1, abs=1e-5)
    assert drift[0].largest_error < 1e-4
    assert drift[1].mean_cosine < drift[0].mean_cosine
    assert drift[1].largest_error > 1e-4
    assert all(one.n_texts == 4 for one in drift)


def test_drift_on_the_user_s_text(make_model, tokenizer):
    texts = ["the man " * 40, "too short"]
    proof = extend(make_model("roberta"), tokenizer, max_tokens=64, attention_window=WINDOW, texts=texts).proof
    assert [(one.n_tokens, one.n_texts) for one in proof.drift] == [(40, 1)]


def test_texts_that_no_tokenizer_takes(make_model, tokenizer):
    with pytest.raises(InputError, match=r"texts\[1\] is not valid text: character 4 is U\+D83D"):
        extend(make_model("roberta"), tokenizer, max_tokens=64, attention_window=WINDOW, texts=["a man", "man \ud83d"])


def test_without_a_tokenizer_there_is_no_drift_and_the_proof_says_so(make_model):
    proof = extend(make_model("bert"), max_tokens=64, attention_window=WINDOW).proof
    assert proof.checks
    assert not proof.drift
    assert any("no tokenizer" in note for note in proof.notes)


@pytest.mark.parametrize(("effort", "n_checks"), [("quick", 2), ("none", 0)])
def test_less_can_be_proved(make_model, tokenizer, effort, n_checks):
    proof = extend(make_model("roberta"), tokenizer, max_tokens=64, attention_window=WINDOW, proof=effort).proof
    assert len(proof.checks) == n_checks
    assert not proof.drift
    assert any("nothing was proved" in note for note in proof.notes) is (effort == "none")


def test_an_unknown_effort_is_named():
    with pytest.raises(InputError, match="proof must be one of full, quick, none, not 'some'"):
        require_effort("some")


def test_the_chosen_window_is_left_as_it_is(make_model):
    model = extend(make_model("bert"), max_tokens=64, attention_window=[4, 6]).model
    assert list(model.config.attention_window) == [4, 6]
    ids = torch.arange(5, 45)[None]
    with torch.no_grad():
        before = model(ids).last_hidden_state
        moved = ids.clone()
        moved[0, -1] = 300  # two layers reach 2 + 3 tokens
        after = model(moved).last_hidden_state
    assert torch.equal(before[0, :34], after[0, :34])
    assert not torch.equal(before[0, 34], after[0, 34])


def test_the_tables_hold_every_figure():
    record = ProofRecord(
        made=made_now(),
        source="tiny",
        family="BERT",
        old_max_tokens=40,
        max_tokens=64,
        attention_window=[4],
        positions="copy",
        checks=[Check(statement="short inputs", n_inputs=3, largest_error=2e-6, tolerance=1e-4, passed=True)],
        drift=[Drift(n_tokens=128, n_texts=2, mean_cosine=0.98765, largest_error=0.5)],
    )
    for markdown in (False, True):
        text = format_proof(record, markdown=markdown)
        for word in ("short inputs", "3", "2.0e-06", "0.0001", "holds", "128 tokens", "0.9877", "0.5"):
            assert word in text
        assert text.startswith("| statement") is markdown
    assert format_proof(record.model_copy(update={"checks": [], "drift": []})) == "nothing was proved"


def test_the_packaged_texts_are_six_languages_english_first():
    texts = packaged_texts()
    assert len(texts) == 6
    assert texts[0].startswith("My father's family name being Pirrip")
    assert all(len(text) > 1500 for text in texts)


@pytest.mark.parametrize("model_type", ["bert", "distilbert", "electra"])
def test_the_padding_id_is_the_tokenizers(make_model, tokenizer, model_type):
    source = make_model(model_type, pad_token_id=3)  # the tokenizer's <unk>
    model, _, proof = extend(source, tokenizer, max_tokens=64, attention_window=80)
    assert model.config.pad_token_id == tokenizer.pad_token_id == 1
    assert any("pad_token_id was 3 (<unk>)" in note for note in proof.notes)
    ids = torch.tensor([[0, 20, 3, 30, 3, 4, 40, 2]])
    with torch.no_grad():
        old, new = source(input_ids=ids).last_hidden_state, model(input_ids=ids).last_hidden_state
    assert (old - new).abs().max() < 1e-4
    assert source.config.pad_token_id == 3


@pytest.mark.parametrize("model_type", ["bert", "distilbert", "electra"])
def test_the_proof_sees_a_word_as_padding(make_model, tokenizer, monkeypatch, model_type):
    monkeypatch.setattr("longspan.extend.configuration.choose_padding_id", lambda config, *_: config.pad_token_id)
    with pytest.raises(InputError, match="not equal to the original"):
        extend(make_model(model_type, pad_token_id=3), tokenizer, max_tokens=64, attention_window=WINDOW, proof="quick")


def test_padding_inside_a_text_moves_both_models(make_model, tokenizer):
    source = make_model("roberta", pad_token_id=3)
    model, _, proof = extend(source, tokenizer, max_tokens=64, attention_window=80)
    assert model.config.pad_token_id == 3
    assert any("counts no position for that piece" in note for note in proof.notes)
    ids = torch.tensor([[0, 20, 3, 30, 1, 3, 40, 2]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with torch.no_grad():
        old, new = source(**inputs).last_hidden_state, model(**inputs).last_hidden_state
    assert (old - new).abs().max() < 1e-4


def test_a_text_is_compared_up_to_its_padding(make_model, tokenizer):
    texts = ["the man <pad> " + "the man " * 40]
    proof = extend(make_model("bert"), tokenizer, max_tokens=64, attention_window=WINDOW, texts=texts).proof
    assert any("a text holds the padding token (id 1)" in note for note in proof.notes)
    assert all(check.passed for check in proof.checks)


def test_a_configuration_without_padding_takes_the_tokenizers(make_model, tokenizer):
    source = make_model("bert", pad_token_id=None)
    assert extend(source, tokenizer, max_tokens=64, attention_window=WINDOW).model.config.pad_token_id == 1
    with pytest.raises(InputError, match="no pad_token_id"):
        extend(source, max_tokens=64, attention_window=WINDOW)


def test_a_tokenizer_of_more_pieces_is_refused(make_model, tokenizer):
    with pytest.raises(InputError, match="has 400 pieces, the model 390 rows"):
        extend(make_model("bert", vocab_size=390), tokenizer, max_tokens=64, attention_window=WINDOW, proof="none")


def test_other_special_ids_become_the_tokenizers(make_model, tokenizer):
    source = make_model("roberta", bos_token_id=7, eos_token_id=8)
    config = extend(source, tokenizer, max_tokens=64, attention_window=WINDOW).model.config
    assert (config.bos_token_id, config.eos_token_id, config.sep_token_id) == (0, 2, 2)
