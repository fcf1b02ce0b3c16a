import shutil

import pytest
import torch
import transformers
from safetensors.torch import load_file

from longspan.errors import InputError
from longspan.tasks.question_answering.model import as_question_answering, load_qa_model
from longspan.tasks.question_answering.task import QuestionAnswering
from longspan.tasks.start_model import freeze
from longspan.training.finetune.model import build_model


def test_a_head_that_is_there_is_kept(tiny_qa_folder):
    model, _ = load_qa_model(tiny_qa_folder("bert"))
    again = as_question_answering(model, attention_dropout=0.3, hidden_dropout=0.2)
    assert all(torch.equal(one, other) for one, other in zip(again.parameters(), model.parameters(), strict=True))
    assert again.bert.encoder.layer[0].attention.self.dropout.p == 0.3
    assert again.bert.embeddings.dropout.p == 0.2
    assert model.config.attention_probs_dropout_prob == 0


def test_an_encoder_gets_a_head_and_keeps_its_outputs(tiny_qa_folder, tiny_tokenizer):
    encoder = transformers.AutoModel.from_pretrained(tiny_qa_folder("xlm-roberta encoder")).eval()
    model = as_question_answering(encoder)
    inputs = tiny_tokenizer("Where was Anna born?", return_tensors="pt")
    with torch.no_grad():
        outputs = model(**inputs, output_hidden_states=True)
        expected = encoder(**inputs).last_hidden_state
    torch.testing.assert_close(outputs.hidden_states[-1], expected)
    assert model.qa_outputs.weight.std() > 0
    assert not any(tensor.is_meta for tensor in [*model.parameters(), *model.buffers()])


def test_a_head_of_another_task_is_left_behind(tiny_qa_folder):
    config = transformers.AutoConfig.from_pretrained(tiny_qa_folder("bert"))
    classifier = transformers.BertForSequenceClassification(config)
    model = as_question_answering(classifier)
    assert type(model) is transformers.BertForQuestionAnswering
    assert model.bert.pooler is None


def test_dropout_a_family_does_not_have():
    shape = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "pad_token_id": 0}
    model = transformers.ModernBertModel(transformers.ModernBertConfig(**shape, intermediate_size=8))
    with pytest.raises(InputError, match="hidden_dropout: modernbert models have no such dropout"):
        as_question_answering(model, hidden_dropout=0.1)


@pytest.mark.parametrize("fields", [{}, {"max_tokens": 96, "attention_window": 16, "proof": "none"}])
def test_a_pickle_is_opened_only_if_the_recipe_insists(tiny_qa_folder, tiny_recipe, tmp_path, fields):
    folder = shutil.copytree(tiny_qa_folder("xlm-roberta"), tmp_path / "pickle")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match="allow_pickle"):
        build_model(QuestionAnswering(), tiny_recipe().model_copy(update={"model": str(folder), **fields}), {})
    recipe = tiny_recipe(allow_pickle=True).model_copy(update={"model": str(folder), **fields})
    assert torch.isfinite(build_model(QuestionAnswering(), recipe, {}).body.qa_outputs.weight).all()


def test_freezing_what_is_not_there(tiny_qa_folder):
    model, _ = load_qa_model(tiny_qa_folder("bert"))
    with pytest.raises(InputError, match="no parameter is called 'word_embedings'"):
        freeze(model, ["word_embedings"])
    with pytest.raises(InputError, match="nothing is left to train"):
        freeze(model, ["*"])
