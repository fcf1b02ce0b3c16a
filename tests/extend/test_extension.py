import copy

import pytest
import torch
import transformers

import longspan
from longspan.errors import InputError
from longspan.extend import Extended, copy_global_projections, extend
from longspan.extend.families import FAMILIES, FAMILY_OF_TYPE

CASES = [(family.model_type, kind) for family in FAMILIES for kind in family.heads]
WINDOW = 16
SHORT = WINDOW // 2 + 1
OLD_MAX_TOKENS = 40


def inputs_of(model, lengths, *, seed=0):
    """Right-padded random rows; a question's choices where the model takes such."""
    generator = torch.Generator().manual_seed(seed)
    pad = model.config.pad_token_id
    ids_BT = torch.randint(5, 400, (len(lengths), max(lengths)), generator=generator)
    is_token_BT = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    inputs = {"input_ids": ids_BT.masked_fill(~is_token_BT, pad), "attention_mask": is_token_BT.long()}
    if type(model).__name__.endswith("ForMultipleChoice"):
        inputs = {name: value[None] for name, value in inputs.items()}
    return inputs


@torch.no_grad()
def outputs_of(model, inputs):
    if model.config.model_type == "longformer":
        inputs = {**inputs, "global_attention_mask": torch.zeros_like(inputs["input_ids"])}
    return model(**inputs, output_hidden_states=True)


def assert_equal_outputs(one, other, is_token):
    is_token = is_token.bool().flatten(0, -2)
    assert len(one.hidden_states) == len(other.hidden_states)
    for mine, theirs in zip(one.hidden_states, other.hidden_states, strict=True):
        torch.testing.assert_close(mine[is_token], theirs[is_token], atol=1e-4, rtol=0)
    for name in ("logits", "start_logits", "end_logits", "pooler_output"):
        if name in one and one[name] is not None:
            mine, theirs = one[name], other[name]
            if mine.shape[:2] == is_token.shape:
                mine, theirs = mine[is_token], theirs[is_token]
            torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


def with_window(model, window):
    """The same weights in transformers' own Longformer, with another window."""
    config = copy.deepcopy(model.config)
    config.attention_window = [window] * config.num_hidden_layers
    stock_config = transformers.LongformerConfig(**{**config.to_dict(), "attention_window": config.attention_window})
    stock = getattr(transformers, type(model).__name__)(
        stock_config, **({} if getattr(model, "pooler", 1) is not None else {"add_pooling_layer": False})
    )
    stock.load_state_dict(model.state_dict())
    return stock.eval()


@pytest.mark.parametrize(("model_type", "kind"), CASES)
def test_short_inputs_keep_their_meaning_in_every_family_with_every_head(make_model, model_type, kind):
    source = make_model(model_type, kind)
    model, _, proof = extend(source, max_tokens=100, attention_window=WINDOW)
    assert type(model).__module__.startswith("longspan.models")
    assert type(model).__name__ == "Longformer" + type(source).__name__[len(FAMILY_OF_TYPE[model_type].class_prefix) :]
    assert all(check.passed for check in proof.checks)
    inputs = inputs_of(source, [SHORT, SHORT - 3, 1])
    assert_equal_outputs(outputs_of(source, inputs), outputs_of(model, inputs), inputs["attention_mask"])


@pytest.mark.parity
@pytest.mark.parametrize(("model_type", "kind"), CASES)
def test_with_twice_the_old_maximum_as_window_transformers_agrees_at_every_length(make_model, model_type, kind):
    source = make_model(model_type, kind)
    model = extend(source, max_tokens=100, attention_window=WINDOW, proof="none").model
    if getattr(model.config, "classifier_activation", "tanh") != "tanh":
        pytest.skip("stock transformers has tanh only; the model card says so")
    stock = with_window(model, 2 * OLD_MAX_TOKENS)
    inputs = inputs_of(source, [OLD_MAX_TOKENS, 23, 2])
    assert_equal_outputs(outputs_of(source, inputs), outputs_of(stock, inputs), inputs["attention_mask"])


def test_the_automatic_global_tokens_of_a_head_change_nothing_on_short_inputs(make_model):
    source = make_model("roberta", "sequence_classification")
    model = extend(source, max_tokens=64, attention_window=WINDOW, proof="none").model
    inputs = inputs_of(source, [SHORT, 4])
    with torch.no_grad():
        torch.testing.assert_close(model(**inputs).logits, source(**inputs).logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("max_tokens", [OLD_MAX_TOKENS, OLD_MAX_TOKENS + 1, 100, 160])
@pytest.mark.parametrize("pad", [0, 1, 3])
@pytest.mark.parametrize("model_type", ["roberta", "bert"])
def test_position_rows_repeat_after_the_reserved_ones(make_model, model_type, pad, max_tokens):
    source = make_model(model_type, pad_token_id=pad)
    model = extend(source, max_tokens=max_tokens, attention_window=WINDOW, proof="quick").model
    old = source.embeddings.position_embeddings.weight
    new = model.embeddings.position_embeddings.weight
    assert model.config.max_position_embeddings == len(new) == max_tokens + pad + 1
    skipped = pad + 1 if model_type == "roberta" else 0
    for p in range(max_tokens):
        assert torch.equal(new[pad + 1 + p], old[skipped + p % OLD_MAX_TOKENS])
    expected = old[: pad + 1] if model_type == "roberta" else torch.zeros(pad + 1, 32)
    assert torch.equal(new[: pad + 1], expected)


def test_the_longest_input_runs_and_one_more_token_is_refused(make_model):
    model = extend(make_model("bert"), max_tokens=100, attention_window=WINDOW).model
    with torch.no_grad():
        assert model(torch.full((1, 100), 7)).last_hidden_state.isfinite().all()
        with pytest.raises(InputError, match="101"):
            model(torch.full((1, 101), 7))


@pytest.mark.parametrize("positions", ["interpolate", "random"])
def test_other_positions_are_proved_too(make_model, positions):
    source = make_model("xlm-roberta", "masked_lm")
    model, _, proof = extend(source, max_tokens=79, attention_window=WINDOW, positions=positions)
    old = source.roberta.embeddings.position_embeddings.weight
    new = model.longformer.embeddings.position_embeddings.weight
    assert proof.positions == positions
    assert len(proof.checks) == 4
    if positions == "random":
        assert torch.equal(new[: len(old)], old)
    else:
        assert torch.allclose(new[2::2], old[2:], atol=1e-6)
        assert all("trained position rows set back" in c.statement for c in proof.checks if "hidden" in c.statement)


def test_global_projections_are_copies_without_shared_storage(make_model):
    source = make_model("bert")
    model = extend(source, max_tokens=64, attention_window=WINDOW).model
    for layer in model.encoder.layer:
        for name in ("query", "key", "value"):
            local, other = getattr(layer.attention.self, name), getattr(layer.attention.self, f"{name}_global")
            assert torch.equal(local.weight, other.weight)
            assert torch.equal(local.bias, other.bias)
    storages = [parameter.untyped_storage().data_ptr() for parameter in model.parameters()]
    assert len(set(storages)) == len(storages)
    assert not set(storages) & {parameter.untyped_storage().data_ptr() for parameter in source.parameters()}


def test_global_projections_are_copied_again_after_training(make_model):
    model = extend(make_model("bert", "masked_lm"), max_tokens=64, attention_window=WINDOW, proof="none").model
    attention = model.longformer.encoder.layer[1].attention.self
    with torch.no_grad():
        attention.query.weight.add_(1.0)
    assert not torch.equal(attention.query.weight, attention.query_global.weight)
    copy_global_projections(model)
    assert torch.equal(attention.query.weight, attention.query_global.weight)
    assert attention.query.weight.data_ptr() != attention.query_global.weight.data_ptr()


def test_copying_global_projections_of_another_model_is_refused(make_model):
    with pytest.raises(InputError, match="BertModel has no global projections"):
        copy_global_projections(make_model("bert"))


@pytest.mark.parametrize("model_type", [family.model_type for family in FAMILIES])
@pytest.mark.parametrize("tied", [True, False])
def test_tied_embeddings_stay_tied_and_untied_ones_apart(make_model, model_type, tied):
    source = make_model(model_type, "masked_lm", tie_word_embeddings=tied)
    model = extend(source, max_tokens=64, attention_window=WINDOW).model
    words, decoder = model.longformer.embeddings.word_embeddings.weight, model.lm_head.decoder.weight
    assert model.config.tie_word_embeddings is tied
    assert (words is decoder) is tied
    assert torch.equal(decoder, source.get_output_embeddings().weight)


def test_the_source_is_left_as_it_was(make_model):
    source = make_model("roberta", "token_classification").train()
    source.dropout.eval()
    before = {name: tensor.clone() for name, tensor in source.state_dict().items()}
    config = source.config.to_dict()
    model = extend(source, max_tokens=64, attention_window=WINDOW).model
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert source.training
    assert not source.dropout.training
    assert source.config.to_dict() == config
    for name, tensor in source.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_the_configuration_is_carried(make_model):
    labels = {0: "no", 1: "yes"}
    source = make_model(
        "bert",
        "sequence_classification",
        pad_token_id=3,
        layer_norm_eps=1e-7,
        hidden_dropout_prob=0.25,
        attention_probs_dropout_prob=0.35,
        type_vocab_size=3,
        initializer_range=0.03,
        num_labels=2,
        id2label=labels,
        label2id={"no": 0, "yes": 1},
        problem_type="single_label_classification",
    )
    config = extend(source, max_tokens=64, attention_window=[4, 6]).model.config
    for key in ("layer_norm_eps", "hidden_dropout_prob", "attention_probs_dropout_prob", "type_vocab_size", "id2label"):
        assert getattr(config, key) == getattr(source.config, key)
    assert (config.pad_token_id, config.num_labels, config.label2id) == (3, 2, {"no": 0, "yes": 1})
    assert (config.initializer_range, config.problem_type) == (0.03, "single_label_classification")
    assert (list(config.attention_window), config.max_position_embeddings) == ([4, 6], 68)
    assert config.sep_token_id is None


def test_distilbert_gets_what_its_code_has_built_in(make_model):
    source = make_model("distilbert", "sequence_classification", dropout=0.3, attention_dropout=0.4)
    model, _, proof = extend(source, max_tokens=64, attention_window=WINDOW)
    config = model.config
    assert (config.layer_norm_eps, config.type_vocab_size, config.classifier_activation) == (1e-12, 1, "relu")
    assert (config.hidden_dropout_prob, config.attention_probs_dropout_prob) == (0.3, 0.4)
    assert not model.longformer.embeddings.token_type_embeddings.weight.any()
    assert any("seq_classif_dropout was 0.2" in note for note in proof.notes)


@pytest.mark.parametrize(
    ("model_type", "class_name", "becomes", "note"),
    [
        ("bert", "BertForPreTraining", "LongformerForMaskedLM", "next-sentence head"),
        ("electra", "ElectraForPreTraining", "LongformerModel", "discriminator's head"),
        ("electra", "ElectraModel", "LongformerModel", "no pooler"),
    ],
)
def test_what_has_no_place_is_left_behind_and_said(make_model, model_type, class_name, becomes, note):
    source = make_model(model_type, class_name=class_name)
    model, _, proof = extend(source, max_tokens=64, attention_window=WINDOW)
    assert type(model).__name__ == becomes
    assert any(note in one for one in proof.notes)


def test_a_model_without_its_pooler_gets_none(make_model):
    source = make_model("bert")
    source.pooler = None
    model = extend(source, max_tokens=64, attention_window=WINDOW).model
    assert model.pooler is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_dtype_stays_and_the_proof_is_in_float32(make_model, dtype):
    source = make_model("roberta", "question_answering").to(dtype)
    model, _, proof = extend(source, max_tokens=64, attention_window=WINDOW)
    assert model.dtype == source.dtype == dtype
    assert max(check.largest_error for check in proof.checks) < 1e-4


def test_the_tokenizer_travels_with_the_new_length(make_model, tokenizer):
    text = "the man with the " * 60
    found = extend(make_model("roberta"), tokenizer, max_tokens=100, attention_window=WINDOW).tokenizer
    assert found.model_max_length == found.init_kwargs["model_max_length"] == 100
    assert len(found.backend_tokenizer.encode(text)) > 100
    assert len(found(text, truncation=True)["input_ids"]) == 100
    assert tokenizer.model_max_length == OLD_MAX_TOKENS
    assert extend(make_model("bert"), tokenizer, max_tokens=64, proof="none").model.config.sep_token_id == 2


def test_a_wrong_configuration_never_gives_a_model(make_model, monkeypatch):
    wrong = copy.copy(FAMILY_OF_TYPE["bert"])
    object.__setattr__(wrong, "fixed", {"layer_norm_eps": 0.1})
    monkeypatch.setitem(FAMILY_OF_TYPE, "bert", wrong)
    with pytest.raises(InputError, match=r"not equal to the original.*largest deviation 0\.\d+ in tensor \d of 3"):
        extend(make_model("bert"), max_tokens=64, attention_window=WINDOW)


def test_a_source_that_gives_nan_is_named(make_model):
    source = make_model("bert")
    with torch.no_grad():
        source.encoder.layer[0].output.dense.weight[0, 0] = float("nan")
    with pytest.raises(InputError, match="source model itself gives NaN"):
        extend(source, max_tokens=64, attention_window=WINDOW)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"max_tokens": 39}, "max_tokens is 39, below the 40 tokens that the model takes already"),
        ({"max_tokens": 64.0}, "max_tokens must be a whole number"),
        ({"attention_window": 5}, "must be even and above 0, not 5"),
        ({"attention_window": 0}, "must be even and above 0, not 0"),
        ({"attention_window": -2}, "must be even and above 0, not -2"),
        ({"attention_window": [4, 5]}, "must be even and above 0, not 5"),
        ({"attention_window": [4]}, "lists 1 values, but the model has 2 layers"),
        ({"attention_window": 4.0}, "must be a whole number"),
        ({"positions": "rope"}, "positions must be one of"),
        ({"proof": "long"}, "proof must be one of"),
    ],
)
def test_an_argument_out_of_range_is_named(make_model, arguments, words):
    with pytest.raises(InputError, match=words):
        extend(make_model("bert"), **{"max_tokens": 64, "attention_window": WINDOW, **arguments})


@pytest.mark.parametrize(
    ("model_type", "class_name", "changes", "words"),
    [
        ("bert", "BertForNextSentencePrediction", {}, r"extend its encoder \(`longspan.extend\(model.bert\)`\)"),
        ("distilbert", "DistilBertForMultipleChoice", {}, "cannot be extended with its head: it applies ReLU"),
        ("electra", "ElectraForMultipleChoice", {}, "cannot be extended with its head: it applies GELU"),
        ("bert", "BertForMaskedLM", {"hidden_act": "relu"}, "the head uses relu, the Longformer's uses gelu"),
        ("distilbert", "DistilBertForMaskedLM", {"activation": "relu"}, "the head uses relu"),
    ],
)
def test_a_head_that_cannot_be_carried_is_refused_with_advice(make_model, model_type, class_name, changes, words):
    with pytest.raises(InputError, match=words):
        extend(make_model(model_type, class_name=class_name, **changes), max_tokens=64)


def test_an_encoder_with_another_activation_is_carried(make_model):
    assert extend(make_model("bert", hidden_act="relu"), max_tokens=64, attention_window=WINDOW).proof.checks
    assert extend(make_model("roberta", "masked_lm", hidden_act="relu"), max_tokens=64, attention_window=WINDOW)


def test_a_parameter_that_no_map_knows_is_named(make_model):
    source = make_model("bert")
    source.adapter = torch.nn.Linear(3, 3)
    with pytest.raises(InputError, match=r"adapter.bias has shape \(3,\) there and no place here"):
        extend(source, max_tokens=64)


def test_a_parameter_of_another_shape_is_named(make_model):
    source = make_model("bert", "question_answering")
    source.qa_outputs = torch.nn.Linear(32, 5)
    with pytest.raises(InputError, match=r"qa_outputs.bias has shape \(5,\) there and \(2,\) here"):
        extend(source, max_tokens=64)


def test_something_that_is_no_model_is_refused():
    with pytest.raises(InputError, match="takes a transformers model or the name of one, not Linear"):
        extend(torch.nn.Linear(2, 2))


def test_a_longformer_is_refused(make_model):
    model = extend(make_model("bert"), max_tokens=64, attention_window=WINDOW, proof="none").model
    with pytest.raises(InputError, match="a Longformer already"):
        extend(model)


def test_the_room_is_the_function(make_model):
    extended = longspan.extend(make_model("bert"), max_tokens=64, attention_window=WINDOW, proof="quick")
    assert isinstance(extended, Extended)
    assert longspan.extend.extend is extend
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        longspan.extend.nothing  # noqa: B018
