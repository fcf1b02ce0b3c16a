"""Every recipe that comes with longspan builds a tiny version of itself and runs a step."""

import pytest

from longspan.tasks.loading import load_qa_model
from longspan.training.finetune import finetune
from longspan.training.preparation import plan
from longspan.training.recipe import load_recipe, shipped_recipes


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_one_step(name, tiny_qa_folder, tiny_squad, tmp_path):
    # What depends on the size of model and data; all else stays as the recipe says.
    recipe = load_recipe(name)
    words = ["--model", str(tiny_qa_folder("xlm-roberta")), "--train_data", str(tiny_squad)]
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
