"""A model that was fine-tuned for another task: its head and its labels stay behind."""

import json

import pytest
import torch
import transformers

import longspan
from longspan.errors import InputError
from longspan.extend import extend
from longspan.models.heads.fresh import other_head, reset_head
from longspan.tasks import find_task
from longspan.tasks.adapters import extract_adapter, load_adapter, save_adapter
from longspan.tasks.question_answering.model import as_question_answering, build_qa_model, load_qa_model
from longspan.tasks.start_model import with_head

SHAPE = {
    "vocab_size": 200,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 66,
    "pad_token_id": 1,
}
LABELS = {0: "no", 1: "maybe", 2: "yes"}
HEADS = {
    "three labels": ("BertForSequenceClassification", {"num_labels": 3}),
    "named labels": ("BertForTokenClassification", {"id2label": LABELS, "label2id": {v: k for k, v in LABELS.items()}}),
    "regression": ("RobertaForSequenceClassification", {"num_labels": 1, "problem_type": "regression"}),
    "several": ("DistilBertForSequenceClassification", {"num_labels": 4, "problem_type": "multi_label_classification"}),
    "own keys": ("ElectraForTokenClassification", {"num_labels": 7, "classifier_dropout": 0.3, "finetuning_task": "n"}),
    "choices": ("BertForMultipleChoice", {"num_labels": 1}),
}


@pytest.fixture
def tuned(tmp_path, tiny_tokenizer):
    """Makes one of `HEADS`; saves it with its tokenizer."""

    def make(head: str):
        class_name, changes = HEADS[head]
        kind = getattr(transformers, class_name)
        torch.manual_seed(0)
        shape = SHAPE | ({"embedding_size": 16} if "Electra" in class_name else {})
        model = kind(kind.config_class(**shape, **changes)).eval()
        folder = tmp_path / head.replace(" ", "-")
        model.save_pretrained(folder)
        tiny_tokenizer.save_pretrained(folder)
        return model, folder

    return make


def assert_nothing_leaked(config) -> None:
    assert (config.num_labels, config.problem_type) == (2, None)
    assert config.id2label == {0: "LABEL_0", 1: "LABEL_1"}
    assert config.label2id == {"LABEL_0": 0, "LABEL_1": 1}
    assert not getattr(config, "classifier_dropout", None)
    assert getattr(config, "classifier_activation", "tanh") == "tanh"
    assert not hasattr(config, "finetuning_task")


def ask(model, tokenizer) -> None:
    with torch.no_grad():
        outputs = model(**tokenizer("Where was Anna born?", return_tensors="pt"))
    assert torch.isfinite(outputs.start_logits).all()


@pytest.mark.parametrize("head", HEADS)
def test_question_answering_leaves_a_head_behind(tuned, tiny_tokenizer, caplog, head):
    model, folder = tuned(head)
    before = model.config.to_dict()
    built = build_qa_model(str(folder)).model
    assert f"it is a {HEADS[head][0]}: its head and labels are left behind" in caplog.text
    for made in (built, as_question_answering(model)):
        assert_nothing_leaked(made.config)
        assert made.config.architectures == [type(made).__name__]
        ask(made, tiny_tokenizer)
    assert model.config.to_dict() == before


@pytest.mark.parametrize("head", [name for name in HEADS if name != "choices"])
def test_an_extended_head_is_kept_and_left_behind(tuned, tiny_tokenizer, caplog, head):
    model, folder = tuned(head)
    long = extend(model, tiny_tokenizer, max_tokens=96, attention_window=16, proof="quick").model
    assert type(long).__name__.endswith(HEADS[head][0].partition("For")[2])
    for key in ("id2label", "label2id", "problem_type"):
        assert getattr(long.config, key) == getattr(model.config, key)
    made = build_qa_model(str(folder), max_tokens=96, attention_window=16).model
    assert "question answering starts with a new head" in caplog.text
    assert_nothing_leaked(made.config)
    ask(made, tiny_tokenizer)


@pytest.mark.parametrize("is_long", [False, True])
def test_a_classifier_has_no_answers(tuned, tiny_tokenizer, tmp_path, is_long):
    model, folder = tuned("three labels")
    if is_long:
        folder = tmp_path / "long"
        extend(model, tiny_tokenizer, max_tokens=96, attention_window=16, proof="none").model.save_pretrained(folder)
        tiny_tokenizer.save_pretrained(folder)
    words = r"no trained question answering head .*ForSequenceClassification; train one with `longspan finetune`"
    with pytest.raises(InputError, match=words):
        load_qa_model(folder)


def test_a_trained_head_stays_beside_a_wrong_count(tiny_qa_folder, tmp_path, tiny_tokenizer):
    model, _ = load_qa_model(tiny_qa_folder("bert"))
    model.save_pretrained(tmp_path / "qa")
    tiny_tokenizer.save_pretrained(tmp_path / "qa")
    path = tmp_path / "qa" / "config.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"id2label": {str(k): v for k, v in LABELS.items()}}))
    again, _ = load_qa_model(tmp_path / "qa")
    assert torch.equal(again.qa_outputs.weight, model.qa_outputs.weight)
    assert_nothing_leaked(again.config)


def test_an_encoder_decoder_leaves_its_head_behind(caplog):
    config = transformers.LEDConfig(
        vocab_size=200, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_encoder_position_embeddings=64,
        max_decoder_position_embeddings=64, attention_window=8,
    )  # fmt: skip
    made = as_question_answering(transformers.LEDForConditionalGeneration(config))
    assert type(made) is transformers.LEDForQuestionAnswering
    assert "it is a LEDForConditionalGeneration" in caplog.text
    assert_nothing_leaked(made.config)


def test_an_adapter_stands_on_a_classifier(tuned, tmp_path):
    _, folder = tuned("three labels")
    base = build_qa_model(str(folder), max_tokens=96, attention_window=16).model
    with torch.no_grad():
        base.qa_outputs.bias.add_(1)
        base.longformer.encoder.layer[0].output.dense.weight.add_(0.1)
    (tmp_path / "adapter").mkdir()
    save_adapter(extract_adapter(str(folder), base, rank=2), tmp_path / "adapter")
    model, tokenizer = load_adapter(tmp_path / "adapter")
    assert_nothing_leaked(model.config)
    ask(model, tokenizer)


@pytest.mark.parametrize(
    ("named", "other"),
    [
        (["BertForMaskedLM"], "BertForMaskedLM"),
        (["GPT2LMHeadModel"], "GPT2LMHeadModel"),
        (["BertForQuestionAnswering"], None),
        (["XLNetForQuestionAnsweringSimple"], None),
        (["RoFormerModel"], None),
        (None, None),
    ],
)
def test_which_head_a_configuration_names(named, other):
    assert other_head(transformers.BertConfig(architectures=named), "ForQuestionAnswering") == other


def test_a_reset_leaves_the_encoder_alone():
    config = transformers.BertConfig(**SHAPE, num_labels=3, hidden_dropout_prob=0.3, classifier_dropout=0.2)
    reset_head(config)
    assert (config.hidden_dropout_prob, config.hidden_size, config.pad_token_id) == (0.3, 16, 1)
    long = longspan.LongformerConfig(attention_window=16, classifier_activation="relu", num_labels=3)
    reset_head(long)
    assert (long.attention_window, long.classifier_activation, long.num_labels) == (16, "tanh", 2)


@pytest.mark.parametrize("class_name", ["BertModel", "BertForMaskedLM", "BertForQuestionAnswering"])
def test_a_lacking_pooler_is_drawn_with_the_head(class_name):
    kind = getattr(transformers, class_name)
    source = kind(kind.config_class(**SHAPE), **({"add_pooling_layer": False} if class_name == "BertModel" else {}))
    model = with_head(source, find_task("sequence_classification"), {"num_labels": 3})
    assert type(model) is transformers.BertForSequenceClassification
    last, source_last = (x.encoder.layer[1].output.dense.weight for x in (model.bert, source.base_model))
    assert torch.equal(last, source_last)
    assert 0.01 < model.bert.pooler.dense.weight.std() < 0.03
    assert not model.bert.pooler.dense.bias.any()
