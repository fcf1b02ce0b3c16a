import copy
import json
import shutil

import pytest
import torch
import transformers
from transformers import AutoTokenizer, TrainerCallback

import longspan
from longspan.errors import InputError
from longspan.records import hash_file, read_record
from longspan.training.pretrain.model import build_masked_lm
from longspan.training.pretrain.preparation import plan_pretraining
from longspan.training.pretrain.pretrain import pretrain


def losses(record):
    return {log.step: log.values["loss"] for log in record.steps if "loss" in log.values}


def test_a_run_leaves_a_model_its_card_and_a_record_of_before_and_after(tiny_pretrain, tiny_text, tmp_path):
    held_out = tmp_path / "held-out.txt"
    shutil.copy(tiny_text, held_out)
    recipe = tiny_pretrain(eval_data=[str(held_out)], eval_strategy="steps", eval_steps=3)
    record = pretrain(recipe)
    assert record.made.data == dict.fromkeys([str(tiny_text), str(held_out)], hash_file(tiny_text))
    assert read_record(tmp_path / "run/training.json") == record
    assert sorted(losses(record)) == [1, 2, 3, 4, 5, 6]
    assert [log.step for log in record.steps if "eval_bits_per_token" in log.values] == [3, 6]
    rows = {(score.when, score.n_tokens): score for score in record.language_model}
    assert set(rows) == {("initial", 32), ("initial", 96), ("final", 32), ("final", 96)}
    # The same tokens at every length, before and after.
    assert len({score.n_predicted for score in rows.values()}) == 1
    assert rows["final", 96].loss < rows["initial", 96].loss
    assert rows["final", 96].bits_per_token == pytest.approx(rows["final", 96].loss / 0.6931, rel=1e-3)
    assert 0 < rows["final", 96].bits_per_character < rows["final", 96].bits_per_token
    assert len(rows["final", 96].loss_by_position) == 8
    assert "| 96 | " in (tmp_path / "run/README.md").read_text(encoding="utf-8")

    model = longspan.LongformerForMaskedLM.from_pretrained(tmp_path / "run")
    assert AutoTokenizer.from_pretrained(tmp_path / "run").model_max_length == 96
    for layer in model.longformer.encoder.layer:
        attention = layer.attention.self
        assert torch.equal(attention.query.weight, attention.query_global.weight)
        assert torch.equal(attention.value.bias, attention.value_global.bias)
    assert plan_pretraining(tiny_pretrain(output_dir=str(tmp_path / "other")))["training"].startswith("6 steps of 2")


def test_positions_only_trains_the_new_rows_and_nothing_else(tiny_pretrain, tiny_mlm_folder, tmp_path):
    """Weight decay is on, and would move what has no gradient."""
    pretrain(tiny_pretrain(trained="positions", weight_decay=0.1, max_steps=3))
    before = longspan.extend(str(tiny_mlm_folder), max_tokens=96, attention_window=16, proof="none").model.state_dict()
    after = longspan.LongformerForMaskedLM.from_pretrained(tmp_path / "run").state_dict()
    rows = "longformer.embeddings.position_embeddings.weight"
    n_old = 66
    assert torch.equal(before[rows][:n_old], after[rows][:n_old])
    assert (before[rows][n_old:] != after[rows][n_old:]).any(dim=1).all()
    for name, tensor in before.items():
        assert name == rows or torch.equal(tensor, after[name]), name


def test_a_sentence_model_keeps_its_modules(tiny_pretrain, tiny_mlm_folder, tmp_path):
    folder = shutil.copytree(tiny_mlm_folder, tmp_path / "source")
    types = {"": "sentence_transformers.models.Transformer", "1_Pooling": "sentence_transformers.models.Pooling"}
    modules = [{"path": path, "type": name} for path, name in types.items()]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text("{}")
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 32}')
    pretrain(tiny_pretrain(model=str(folder), max_steps=1, eval_lengths=None))
    assert json.loads((tmp_path / "run" / "modules.json").read_text()) == modules
    assert (tmp_path / "run" / "1_Pooling" / "config.json").exists()
    assert json.loads((tmp_path / "run" / "sentence_bert_config.json").read_text()) == {"max_seq_length": 96}


def test_positions_only_without_new_positions_is_refused(tiny_pretrain):
    with pytest.raises(InputError, match="it adds none"):
        pretrain(tiny_pretrain(trained="positions", max_tokens=64))


@pytest.mark.parametrize("name", ["save_only_model", "ignore_data_skip", "auto_find_batch_size"])
def test_what_would_break_an_exact_resume_is_refused(tiny_pretrain, name):
    with pytest.raises(InputError, match=rf"as if it had not stopped.*remove {name}"):
        pretrain(tiny_pretrain(**{name: True}))


def test_positions_only_under_accelerates_fsdp_is_refused(tiny_pretrain, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(InputError, match="needs whole parameters"):
        pretrain(tiny_pretrain(trained="positions"))


def test_an_encoder_without_a_head_gets_one_tied_to_its_words(tiny_pretrain, tiny_qa_folder, tmp_path):
    record = pretrain(tiny_pretrain(model=str(tiny_qa_folder("xlm-roberta encoder")), max_steps=2, hidden_dropout=0.2))
    assert len(losses(record)) == 2
    model = longspan.LongformerForMaskedLM.from_pretrained(tmp_path / "run")
    assert model.lm_head.decoder.weight is model.longformer.embeddings.word_embeddings.weight
    assert model.config.hidden_dropout_prob == 0.2
    # A model that is long already is trained on as it is.
    again = tiny_pretrain(model=str(tmp_path / "run"), max_tokens=None, attention_window=None, proof=None, max_steps=1,
                          output_dir=str(tmp_path / "again"))  # fmt: skip
    assert losses(pretrain(again))[1] < 10


@pytest.mark.parametrize("layout", ["continuous", "documents"])
def test_layouts_whole_words_and_recomputed_activations_train(tiny_pretrain, layout):
    recipe = tiny_pretrain(
        layout=layout, whole_words=True, gradient_checkpointing=True, per_device_train_batch_size=2, max_steps=2,
        max_length=48, eval_lengths=[32],
    )  # fmt: skip
    seen = []

    class Count(TrainerCallback):
        def on_step_begin(self, args, state, control, train_dataloader=None, **_):
            rows = [train_dataloader.dataset[2 * 2 * state.global_step + i] for i in range(4)]
            seen.extend(len(row["input_ids"]) for row in rows)

    record = pretrain(recipe, callbacks=(Count(),))
    assert len(losses(record)) == 2
    assert record.counts["tokens_seen"] == sum(seen)  # without padding
    assert (sum(seen) < 8 * 48) == (layout == "documents")


class _Break(TrainerCallback):
    """Puts a value that is not finite into a weight before one step, and the old one back after it."""

    def __init__(self, step):
        self.step, self.kept = step, None

    def on_step_begin(self, args, state, control, model=None, **_):
        bias = model.lm_head.layer_norm.bias
        if state.global_step + 1 == self.step:
            self.kept = bias.detach().clone()
            bias.data[0] = float("nan")

    def on_pre_optimizer_step(self, args, state, control, model=None, **_):
        if state.global_step + 1 == self.step:
            model.lm_head.layer_norm.bias.data.copy_(self.kept)


def test_a_loss_that_is_not_finite_stops_with_step_blocks_and_checkpoint(tiny_pretrain):
    with pytest.raises(InputError) as raised:
        pretrain(tiny_pretrain(save_steps=1), callbacks=(_Break(3),))
    message = str(raised.value)
    assert "the loss is nan at step 3, blocks " in message
    assert "checkpoint-2" in message and "--on_non_finite skip" in message


def test_or_its_step_is_left_out_and_counted(tiny_pretrain, caplog):
    record = pretrain(tiny_pretrain(on_non_finite="skip"), callbacks=(_Break(3),))
    assert record.counts["steps_left_out"] == 1
    assert sorted(losses(record)) == [1, 2, 4, 5, 6]
    assert "step 3 is left out: the loss is nan (blocks " in caplog.text
    assert all(0 < loss < 10 for loss in losses(record).values())


def test_a_gradient_that_is_not_finite_is_seen(tiny_pretrain):
    class Break(TrainerCallback):
        def on_substep_end(self, args, state, control, model=None, **_):
            model.lm_head.dense.weight.grad[0, 0] = float("inf")

    with pytest.raises(InputError, match="the gradient is not finite at step 1, blocks "):
        pretrain(tiny_pretrain(), callbacks=(Break(),))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rows_per_step": 3, "gradient_accumulation_steps": None, "per_device_train_batch_size": 2}, "no multiple of"),
        ({"rows_per_step": 4}, "remove one of them"),
        ({"load_best_model_at_end": True}, "remove load_best_model_at_end"),
        ({"save_strategy": "epoch"}, "save_strategy must be steps or no"),
        ({"max_length": 200}, "the model takes 96 tokens"),
        ({"fp16": True}, "fp16 needs a GPU"),
        ({"eval_lengths": [128]}, "must lie between"),
        ({"max_tokens": None, "attention_window": None, "proof": None}, "extend it: --max_tokens"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_written(tiny_pretrain, tmp_path, fields, message):
    with pytest.raises(InputError, match=message):
        pretrain(tiny_pretrain(**fields))
    assert not (tmp_path / "run").exists()


def test_a_tokenizer_with_more_pieces_than_the_model_is_refused(
    tiny_pretrain, tiny_mlm_folder, tiny_tokenizer, tmp_path
):
    shutil.copytree(tiny_mlm_folder, tmp_path / "other")
    larger = copy.deepcopy(tiny_tokenizer)
    larger.add_tokens(["bees!"])
    larger.save_pretrained(tmp_path / "other")
    with pytest.raises(InputError, match="has 201 pieces, the model 200 rows"):
        pretrain(tiny_pretrain(model=str(tmp_path / "other")))


def test_a_text_shorter_than_a_block_is_refused(tiny_pretrain, tmp_path):
    (tmp_path / "short.txt").write_text("Bees fly.", encoding="utf-8")
    with pytest.raises(InputError, match="less than one block of 96"):
        pretrain(tiny_pretrain(train_data=[str(tmp_path / "short.txt")]))


@pytest.mark.parametrize("kind", ["question answering", "three labels"])
def test_a_head_of_another_task_leaves_no_trace(tiny_pretrain, tiny_qa_folder, tiny_tokenizer, tmp_path, caplog, kind):
    folder = tiny_qa_folder("longformer")
    if kind == "three labels":
        config = longspan.LongformerConfig.from_pretrained(folder, num_labels=3, problem_type="regression")
        folder = tmp_path / "classifier"
        longspan.LongformerForSequenceClassification(config).save_pretrained(folder)
        tiny_tokenizer.save_pretrained(folder)
    fields = {"max_tokens": None, "attention_window": None, "proof": None}
    built = build_masked_lm(tiny_pretrain(model=str(folder), **fields))
    config = built.model.config
    assert "masked language modelling starts with a new head" in caplog.text
    assert (config.num_labels, config.problem_type, config.id2label) == (2, None, {0: "LABEL_0", 1: "LABEL_1"})


def test_an_extended_classifier_is_pretrained_without_labels(tiny_pretrain, tiny_qa_folder, tmp_path, tiny_tokenizer):
    config = transformers.BertConfig.from_pretrained(tiny_qa_folder("bert"), num_labels=3)
    transformers.BertForSequenceClassification(config).save_pretrained(tmp_path / "classifier")
    tiny_tokenizer.save_pretrained(tmp_path / "classifier")
    built = build_masked_lm(tiny_pretrain(model=str(tmp_path / "classifier")))
    assert (built.model.config.num_labels, built.model.config.classifier_activation) == (2, "tanh")


def test_packed_padding_has_a_position_of_the_model(tiny_pretrain, tiny_mlm_folder, tiny_tokenizer, tmp_path):
    folder = shutil.copytree(tiny_mlm_folder, tmp_path / "model")
    tokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})  # id 200, beyond the position table
    tokenizer.save_pretrained(folder)
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder)
    model.resize_token_embeddings(201)
    model.save_pretrained(folder)
    recipe = tiny_pretrain(
        model=str(folder),
        layout="documents",
        per_device_train_batch_size=2,
        max_steps=2,
        max_length=48,
        eval_lengths=[32],
    )
    assert len(losses(pretrain(recipe))) == 2
    assert longspan.LongformerForMaskedLM.from_pretrained(tmp_path / "run").config.pad_token_id == 1
