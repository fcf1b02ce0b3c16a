"""`register`: transformers' Auto classes and pipelines build longspan's models."""

import pytest
import transformers

import longspan
from longspan.models import unregister


@pytest.fixture
def registered():
    longspan.register()
    yield
    unregister()


AUTO_CLASSES = {
    "AutoModel": "LongformerModel",
    "AutoModelForPreTraining": "LongformerForMaskedLM",
    "AutoModelForMaskedLM": "LongformerForMaskedLM",
    "AutoModelForQuestionAnswering": "LongformerForQuestionAnswering",
    "AutoModelForSequenceClassification": "LongformerForSequenceClassification",
    "AutoModelForTokenClassification": "LongformerForTokenClassification",
    "AutoModelForMultipleChoice": "LongformerForMultipleChoice",
}


def test_auto_classes_build_our_models(registered, tiny_model, tmp_path):
    tiny_model().save_pretrained(tmp_path)
    assert type(transformers.AutoConfig.from_pretrained(tmp_path)) is longspan.LongformerConfig
    for auto_name, name in AUTO_CLASSES.items():
        auto_class, ours = getattr(transformers, auto_name), getattr(longspan, name)
        assert type(auto_class.from_pretrained(tmp_path)) is ours
        for config_class in (longspan.LongformerConfig, transformers.LongformerConfig):
            assert type(auto_class.from_config(config_class.from_pretrained(tmp_path))) is ours


def test_registering_is_idempotent_and_can_be_undone(tiny_model, tmp_path):
    tiny_model().save_pretrained(tmp_path)
    for _ in range(2):
        longspan.register()
        longspan.register()
        assert type(transformers.AutoModel.from_pretrained(tmp_path)) is longspan.LongformerModel
        unregister()
        unregister()
        assert type(transformers.AutoModel.from_pretrained(tmp_path)) is transformers.LongformerModel
        assert type(transformers.AutoConfig.from_pretrained(tmp_path)) is transformers.LongformerConfig


def test_others_registered_before_come_back():
    class Mine(transformers.LongformerModel):
        pass

    registered = transformers.AutoModel._model_mapping._extra_content
    registered[transformers.LongformerConfig] = Mine
    try:
        longspan.register()
        unregister()
        assert transformers.AutoModel._model_mapping[transformers.LongformerConfig] is Mine
    finally:
        registered.pop(transformers.LongformerConfig)


def test_pipelines_run_on_our_models(registered, tiny_model, tiny_tokenizer, tmp_path):
    sizes = {"vocab_size": len(tiny_tokenizer), "max_position_embeddings": 66}
    for head, task in (("masked lm", "fill-mask"), ("sequence classification", "text-classification")):
        tiny_model(head, **sizes).save_pretrained(tmp_path / task)
        tiny_tokenizer.save_pretrained(tmp_path / task)
    fill = transformers.pipeline("fill-mask", str(tmp_path / "fill-mask"))
    assert type(fill.model) is longspan.LongformerForMaskedLM
    assert len(fill("Anna was born in <mask>.")) == 5
    classify = transformers.pipeline("text-classification", str(tmp_path / "text-classification"))
    assert type(classify.model) is longspan.LongformerForSequenceClassification
    found = classify(["Anna was born in Lund.", "Short."], batch_size=2, padding=True)
    assert [set(one) for one in found] == [{"label", "score"}] * 2
