import copy
import json
import resource
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForQuestionAnswering, TrainerCallback

import longspan.progress
from longspan.errors import InputError
from longspan.records import read_record
from longspan.tasks.open_model import load_qa_model
from longspan.training.finetune.finetune import finetune
from longspan.training.finetune.preparation import make_finetune_arguments
from longspan.training.finetune.trainer import QaTrainer
from longspan.training.recipe.trainer_arguments import precision_of
from longspan.training.run.folder import RunFolder
from longspan.training.run.lock import locked


def losses(record):
    return {log.step: log.values["loss"] for log in record.steps if "loss" in log.values}


def test_a_run_leaves_model_tokenizer_record_and_card(tiny_recipe, tiny_squad):
    recipe = tiny_recipe(
        eval_data=str(tiny_squad), max_eval_examples=5, report_to="tensorboard", freeze="word_embeddings"
    )
    record = finetune(recipe)
    root = load_folder(recipe)
    assert read_record(root / "training.json") == record
    assert sorted(losses(record)) == [1, 2, 3, 4]
    assert record.n_examples == 24
    assert record.n_features >= 24
    assert record.peak_memory_gib > 0
    assert list(record.made.data) == ["tiny.json"]
    evaluated = [log for log in record.steps if "eval_loss" in log.values]
    assert {"eval_exact_match", "eval_f1"} <= evaluated[-1].values.keys()
    card = (root / "README.md").read_text()
    assert "pipeline_tag: question-answering" in card
    assert str(root.parent) not in card
    assert list((root / "logs").glob("events*"))
    assert (root / "checkpoints" / "checkpoint-4" / "optimizer.pt").is_file()


def load_folder(recipe):
    from pathlib import Path

    root = Path(recipe.output_dir)
    model, _ = load_qa_model(root)
    assert torch.isfinite(model.qa_outputs.weight).all()
    AutoModelForQuestionAnswering.from_pretrained(root)
    return root


@pytest.mark.parametrize("grouped", [False, True])
def test_a_resumed_run_equals_an_uninterrupted_one(tiny_recipe, tmp_path, grouped, stop_at):
    fields = {
        "max_steps": 14,
        "save_steps": 5,
        "attention_dropout": 0.1,
        "hidden_dropout": 0.1,
        "train_sampling_strategy": "group_by_length" if grouped else "random",
        "resume_from_checkpoint": True,
    }
    whole = finetune(tiny_recipe(**fields, output_dir=str(tmp_path / "whole")))
    with pytest.raises(KeyboardInterrupt):
        finetune(tiny_recipe(**fields), callbacks=(stop_at(8),))
    resumed = finetune(tiny_recipe(**fields))
    assert sorted(losses(resumed)) == list(range(1, 15))
    for step, loss in losses(whole).items():
        assert losses(resumed)[step] == pytest.approx(loss, abs=1e-6), step


def test_a_half_written_checkpoint_is_passed_over(tiny_recipe, tmp_path, caplog, stop_at):
    recipe = tiny_recipe(max_steps=6, save_steps=2)
    with pytest.raises(KeyboardInterrupt):
        finetune(recipe, callbacks=(stop_at(5),))
    (tmp_path / "run/checkpoints/checkpoint-4/trainer_state.json").write_text('{"best')
    finetune(tiny_recipe(max_steps=6, save_steps=2, resume_from_checkpoint=True))
    assert "checkpoint-4 cannot be used: trainer_state.json has 6 bytes of" in caplog.text


def test_a_resumed_run_with_another_recipe_warns(tiny_recipe, caplog, stop_at):
    with pytest.raises(KeyboardInterrupt):
        finetune(tiny_recipe(save_steps=1), callbacks=(stop_at(2),))
    finetune(tiny_recipe(save_steps=1, resume_from_checkpoint=True, learning_rate=1e-3))
    assert "started otherwise: learning_rate was 0.01, is 0.001; the result is neither run's" in caplog.text


class FullDisk(TrainerCallback):
    """Files above so many bytes cannot be written at one step."""

    def __init__(self, n_bytes):
        self.n_bytes = n_bytes

    def on_step_begin(self, args, state, control, **_):
        limit = self.n_bytes if state.global_step == 1 else resource.RLIM_INFINITY
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


# The largest limits are reached in the optimiser's state, which is twice as large as the weights.
@pytest.mark.parametrize("share", [0.01, 1.1, 1.9])
def test_a_full_disk_while_saving_does_not_end_the_training(tiny_recipe, tmp_path, share):
    size = (Path(tiny_recipe().model) / "model.safetensors").stat().st_size
    try:
        record = finetune(tiny_recipe(save_steps=1), callbacks=(FullDisk(int(size * share)),))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert record.counts["checkpoints_not_saved"] == 1
    found = {path.name for path in (tmp_path / "run/checkpoints").glob("*") if path.is_dir()}
    assert found == {"checkpoint-1", "checkpoint-3", "checkpoint-4"}


def test_the_best_checkpoint_is_kept_and_taken(tiny_recipe, tiny_squad, tmp_path):
    fields = {"eval_data": str(tiny_squad), "max_eval_examples": 2, "eval_strategy": "steps", "eval_steps": 1}
    fields |= {"load_best_model_at_end": True, "save_total_limit": 1, "save_steps": 1}
    # The first step teaches, the others are too large.
    record = finetune(tiny_recipe(**fields, learning_rate=1e-3), callbacks=(Jump(),))
    root = tmp_path / "run"
    scores = {log.step: log.values["eval_loss"] for log in record.steps if "eval_loss" in log.values}
    best = min(scores, key=scores.__getitem__)
    assert best < max(scores)
    checkpoints = {path.name for path in (root / "checkpoints").glob("checkpoint-*")}
    assert checkpoints == {f"checkpoint-{best}"}
    weights = (root / f"checkpoints/checkpoint-{best}/model.safetensors").read_bytes()
    assert (root / "model.safetensors").read_bytes() == weights
    state = json.loads((root / f"checkpoints/checkpoint-{best}/trainer_state.json").read_text())
    assert state["best_model_checkpoint"] == str(root / f"checkpoints/checkpoint-{best}")


class Jump(TrainerCallback):
    """Spoils the weights after the first step."""

    def on_step_end(self, args, state, control, model=None, **_):
        if state.global_step > 1:
            with torch.no_grad():
                model.qa_outputs.weight.add_(torch.randn_like(model.qa_outputs.weight), alpha=10 * state.global_step)


def test_two_runs_in_one_folder_are_refused(tiny_recipe, tmp_path, monkeypatch):
    monkeypatch.setattr("longspan.training.run.lock._WAIT_SECONDS", 0.01)
    with locked(tmp_path / "run"), pytest.raises(InputError, match="in use by another run"):
        finetune(tiny_recipe())


def test_a_killed_run_leaves_no_model(tiny_recipe, tmp_path, stop_at):
    with pytest.raises(KeyboardInterrupt):
        finetune(tiny_recipe(), callbacks=(stop_at(2),))
    with pytest.raises(InputError, match="not finished"):
        load_qa_model(tmp_path / "run")


def test_the_old_model_stands_until_the_new_one_is_ready(tiny_recipe, tmp_path, stop_at):
    finetune(tiny_recipe())
    before = (tmp_path / "run/model.safetensors").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        finetune(tiny_recipe(overwrite_output_dir=True, seed=1), callbacks=(stop_at(2),))
    assert (tmp_path / "run/model.safetensors").read_bytes() == before
    finetune(tiny_recipe(overwrite_output_dir=True, seed=1))
    assert (tmp_path / "run/model.safetensors").read_bytes() != before


def test_an_output_folder_in_use_is_refused(tiny_recipe, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"run is not empty.*--overwrite_output_dir"):
        finetune(tiny_recipe())


def test_resuming_keeps_what_lies_beside_the_run(tiny_recipe, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/notes.txt").write_text("mine")
    finetune(tiny_recipe(resume_from_checkpoint=True))
    assert (tmp_path / "run/notes.txt").read_text() == "mine"


def test_the_precision_that_suits_the_device_is_recorded(tiny_recipe, monkeypatch):
    assert finetune(tiny_recipe(precision="auto", max_steps=1)).recipe["precision"] in ("bf16", "float32")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    record = finetune(tiny_recipe(precision="auto", max_steps=1, overwrite_output_dir=True))
    assert record.recipe["precision"] == "bf16"
    with pytest.raises(InputError, match="precision and bf16 or fp16"):
        finetune(tiny_recipe(precision="auto", bf16=True, overwrite_output_dir=True))


@pytest.mark.parametrize("limit", [{}, {"max_minutes": 60}])
def test_a_log_hears_of_training_and_evaluation(tiny_recipe, tiny_squad, monkeypatch, capsys, limit):
    monkeypatch.setattr(longspan.progress, "_EVERY", 0.02)

    class Slow(TrainerCallback):
        def on_step_begin(self, *args, **kwargs):
            time.sleep(0.1)

        on_prediction_step = on_step_begin

    recipe = tiny_recipe(disable_tqdm=False, eval_data=str(tiny_squad), eval_strategy="steps", eval_steps=2, **limit)
    finetune(recipe, callbacks=(Slow(),))
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("training:") for line in lines)
    # With a limit, the one bar counts seconds.
    assert any(line.startswith("evaluating:") for line in lines) or limit


def test_the_clock_ends_a_run_as_any_end(tiny_recipe, tmp_path):
    record = finetune(tiny_recipe(max_minutes=1e-6, max_steps=50))
    assert sorted(losses(record)) == [1]
    assert (tmp_path / "run/model.safetensors").is_file()


def test_a_checkpoint_that_is_none_is_refused(tiny_recipe, tmp_path):
    with pytest.raises(InputError, match=r"manifest.json is missing"):
        finetune(tiny_recipe(resume_from_checkpoint=str(tmp_path / "nothing")))


def test_a_loss_that_is_no_number_stops_the_run(tiny_recipe):
    with pytest.raises(InputError, match=r"the loss is (nan|inf) at step \d+.*lower learning_rate"):
        finetune(tiny_recipe(learning_rate=1e30, max_grad_norm=0, max_steps=20))


def test_extended_first_and_trained_on_joined_paragraphs(tiny_recipe):
    recipe = tiny_recipe(max_tokens=192, attention_window=16, n_concat=3, max_steps=2)
    record = finetune(recipe)
    root = load_folder(recipe)
    model, tokenizer = load_qa_model(root)
    assert model.config.model_type == "longformer"
    assert model.config.attention_window == [16, 16]
    assert tokenizer.model_max_length == 192
    assert record.n_examples == 12
    assert record.attention_backend.startswith(("blocked", "reference"))
    assert (root / "proof.json").is_file()
    assert json.loads((root / "config.json").read_text())["architectures"] == ["LongformerForQuestionAnswering"]


def test_a_longformer_is_trained_further(tiny_recipe):
    recipe = tiny_recipe("longformer", max_steps=2, global_tokens="none", max_length=48, overlap=8)
    load_folder(recipe) if finetune(recipe) else None


def test_checkpointed_activations_give_the_same_losses(tiny_recipe):
    fields = {"freeze": "embeddings", "max_tokens": 192, "attention_window": 16, "overwrite_output_dir": True}
    plain = finetune(tiny_recipe(**fields))
    checkpointed = finetune(tiny_recipe(**fields, gradient_checkpointing=True))
    assert losses(checkpointed) == pytest.approx(losses(plain), abs=1e-5)


def test_accumulated_steps_equal_large_ones(tiny_recipe):
    fields = {"overwrite_output_dir": True, "train_sampling_strategy": "sequential"}
    large = finetune(tiny_recipe(**fields, per_device_train_batch_size=4))
    small = finetune(tiny_recipe(**fields, per_device_train_batch_size=2, gradient_accumulation_steps=2))
    # Not to the last digit: question answering heads' softmax runs over padding too, and smaller batches have less.
    assert losses(small) == pytest.approx(losses(large), rel=0.03)


def test_frozen_parameters_stay(tiny_recipe, tiny_qa_folder):
    recipe = tiny_recipe("bert", freeze=["word_embeddings", "layer.0.*.bias"])
    finetune(recipe)
    trained, _ = load_qa_model(load_folder(recipe))
    before, _ = load_qa_model(tiny_qa_folder("bert"))
    same = {
        name
        for (name, one), other in zip(trained.named_parameters(), before.parameters(), strict=True)
        if torch.equal(one, other)
    }
    assert "bert.embeddings.word_embeddings.weight" in same
    assert "bert.encoder.layer.0.output.dense.bias" in same
    assert "bert.encoder.layer.1.output.dense.bias" not in same


def test_windows_without_the_answer_are_limited_and_counted(tiny_recipe):
    fields = {"n_concat": 4, "max_length": 48, "overlap": 8, "max_steps": 1}
    every = finetune(tiny_recipe(**fields))
    few = finetune(tiny_recipe(**fields, no_answer_windows=0.25, overwrite_output_dir=True))
    none = finetune(tiny_recipe(**fields, no_answer_windows=0, overwrite_output_dir=True))
    assert every.n_features > few.n_features > none.n_features >= 12
    assert none.counts["no_answer_windows_left_out"] == every.n_features - none.n_features


def test_training_teaches(tiny_recipe, tiny_squad):
    record = finetune(tiny_recipe(max_steps=60, eval_data=str(tiny_squad), lr_scheduler_type="constant"))
    values = list(losses(record).values())
    assert np.mean(values[-5:]) < 0.5 * np.mean(values[:5])
    assert max(log.values.get("eval_f1", 0) for log in record.steps) > 40


@pytest.mark.parametrize(
    ("fields", "precision"),
    [
        ({}, "bf16"),
        ({"precision": "float32"}, "float32"),
        ({"bf16": False}, "float32"),
    ],
)
def test_the_launchers_precision_where_the_recipe_has_none(fields, precision, tiny_recipe, monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    recipe = tiny_recipe(max_steps=1, **fields)
    arguments = make_finetune_arguments(recipe, RunFolder(recipe))
    assert precision_of(arguments) == precision
    assert arguments.mixed_precision == ("bf16" if precision == "bf16" else "no")
    record = finetune(recipe)
    assert record.recipe.get("precision") == (precision if not fields else fields.get("precision"))


def test_the_batch_size_that_was_found_is_recorded(tiny_recipe, monkeypatch):
    step = QaTrainer.training_step

    def too_small(trainer, model, inputs, *args, **kwargs):
        if len(inputs["input_ids"]) > 2:
            raise RuntimeError("CUDA out of memory.")
        return step(trainer, model, inputs, *args, **kwargs)

    monkeypatch.setattr(QaTrainer, "training_step", too_small)
    record = finetune(tiny_recipe(max_steps=2, auto_find_batch_size=True))
    assert 1 <= record.recipe["per_device_train_batch_size"] <= 2


@pytest.mark.parametrize("adapter", [{}, {"adapter_rank": 2, "merge_adapter": True}])
def test_a_finished_model_counts_positions_as_in_training(
    tiny_qa_folder, tiny_tokenizer, tiny_recipe, tmp_path, adapter
):
    folder = shutil.copytree(tiny_qa_folder("longformer"), tmp_path / "start")
    tokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer.pad_token = tokenizer.mask_token  # id 4, and the model's padding id is 1
    tokenizer.save_pretrained(folder)
    trained = []

    class Keep(TrainerCallback):
        def on_train_end(self, args, state, control, model=None, **_):
            inner = getattr(model, "get_base_model", lambda: model)()
            trained.append(copy.deepcopy(inner.longformer.embeddings))

    recipe = tiny_recipe().model_copy(update={"model": str(folder), **adapter})
    finetune(recipe, callbacks=(Keep(),))
    model, _ = load_qa_model(recipe.output_dir)
    assert model.config.pad_token_id == trained[0].padding_idx == 1
    ids = torch.tensor([[0, 7, 4, 8, 2]])
    assert torch.equal(model.longformer.embeddings(ids), trained[0].eval()(ids))


@pytest.mark.parametrize("kind", ["mount point", "working folder", "link to no folder"])
def test_an_output_folder_that_keeps_its_name(tiny_recipe, tmp_path, monkeypatch, mounted, kind):
    root = output = tmp_path / "out"
    fields = {"save_steps": 1, "save_total_limit": 1, "proof": "none", "max_tokens": 600, "attention_window": 16}
    if kind == "mount point":
        mounted("50m", root)
        (root / "lost+found").mkdir()
    elif kind == "working folder":
        root.mkdir()
        monkeypatch.chdir(root)
        output = "."
    else:
        root = tmp_path / "disk" / "real"
        output.symlink_to(root)
    finetune(tiny_recipe(output_dir=str(output), max_steps=1, **fields))
    finetune(tiny_recipe(output_dir=str(output), max_steps=2, resume_from_checkpoint=True, **fields))
    load_qa_model(root)
    assert {path.name for path in (root / "checkpoints").glob("*-*")} == {"checkpoint-2"}
    assert f"# {root.name}\n" in (root / "README.md").read_text()
    assert not list(root.glob(".longspan.[nr]*")) and (kind != "link to no folder" or output.is_symlink())
