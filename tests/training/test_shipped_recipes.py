"""Every recipe that comes with longspan builds a tiny version of itself and runs a step."""

import pytest

from longspan.tasks.open_model import load_qa_model
from longspan.training.finetune.finetune import finetune
from longspan.training.finetune.preparation import plan
from longspan.training.pretrain.preparation import plan_pretraining
from longspan.training.pretrain.pretrain import pretrain
from longspan.training.pretrain.recipe import PretrainRecipe
from longspan.training.recipe.fields import split_entry
from longspan.training.recipe.files import load_recipe, shipped_recipes, verb_of

OF_VERB = {verb: sorted(n for n in shipped_recipes() if verb_of(n) == verb) for verb in ("finetune", "pretrain")}


@pytest.mark.parametrize("name", OF_VERB["pretrain"])
def test_one_step_of_pre_training(name, tiny_mlm_folder, tiny_text, tmp_path):
    words = ["--model", str(tiny_mlm_folder), "--train_data", str(tiny_text), "--output_dir", str(tmp_path / "run")]
    words += ["--cache_dir", str(tmp_path / "cache"), "--n_processes", "1", "--use_cpu", "--disable_tqdm"]
    words += ["--max_tokens", "96", "--attention_window", "16", "--eval_lengths", "32", "--rows_per_step", "2"]
    words += ["--max_steps", "1", "--logging_steps", "1", "--held_out", "0.3", "--eval_data", str(tiny_text)]
    recipe = load_recipe(name, words, kind=PretrainRecipe)
    assert "1 steps of 2 blocks (192 tokens)" in plan_pretraining(recipe)["training"]
    record = pretrain(recipe)
    assert [log.step for log in record.steps if "loss" in log.values] == [1]
    assert {score.when for score in record.language_model} == {"initial", "final"}


@pytest.mark.parametrize("name", OF_VERB["finetune"])
def test_one_step(name, tiny_qa_folder, tiny_squad, tmp_path):
    # What depends on the size of model and data; all else stays as the recipe says.
    recipe = load_recipe(name)
    joined = {n_concat for _, n_concat in map(split_entry, recipe.train_data)}
    words = ["--model", str(tiny_qa_folder("xlm-roberta")), "--train_data", str(tiny_squad)]
    words += [f"{tiny_squad} x3"] if joined != {None} else []
    words += ["--output_dir", str(tmp_path / "run"), "--max_steps", "1", "--logging_steps", "1", "--use_cpu", "true"]
    if recipe.max_length is not None:
        words += ["--max_length", "64"]
    if recipe.max_tokens is not None:
        words += ["--max_tokens", "192", "--attention_window", "16"]
    recipe = load_recipe(name, words)
    assert "1 steps" in plan(recipe)["training"]
    record = finetune(recipe)
    assert [log.step for log in record.steps if "loss" in log.values] == [1]
    load_qa_model(tmp_path / "run")
