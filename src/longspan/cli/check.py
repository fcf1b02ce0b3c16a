"""Look at a recipe, a data file or a model folder without running anything: what would happen, or what is wrong.

Example:
  longspan check squad-e5-long --train_data train-v1.1.json
  longspan check train-v1.1.json
  longspan check posts.csv --task sequence_classification --label_column topic
  longspan check runs/squad-e5-long

A recipe's data is read and cut into windows and its model is loaded (and extended, unproven), so that what can go
wrong before the first step goes wrong here. Data is read by the task that --task names, with that task's fields; a
folder with --task is data, without it a model. The exit code is 2 if something is wrong.
"""

import argparse
from pathlib import Path

from longspan.errors import InputError

HELP = "check a recipe, a data file or a model folder"
TAKES_FIELDS = True
ANY_PATH = ("target",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments; fields of a recipe may follow."""
    parser.add_argument("target", help="a recipe (file or name), a data file or name, or a model folder")


def run(arguments: argparse.Namespace) -> int:
    """Find out which of the three it is, and check it."""
    from longspan.training.recipe.files import shipped_recipes

    target = Path(arguments.target)
    if target.suffix in (".yaml", ".yml") or arguments.target in shipped_recipes():
        return _check_recipe(arguments.target, arguments.fields)
    if target.is_dir() and not arguments.fields:
        return _check_model(target)
    return _check_data(arguments.target, arguments.fields)


def _check_recipe(path: str, fields: list[str]) -> int:
    from longspan.training.recipe.files import load_recipe, verb_of

    if verb_of(path) == "pretrain":
        from longspan.training.pretrain.preparation import plan_pretraining
        from longspan.training.pretrain.recipe import PretrainRecipe

        lines = plan_pretraining(load_recipe(path, fields, kind=PretrainRecipe))
    else:
        from longspan.training.finetune.preparation import plan

        lines = plan(load_recipe(path, fields))
    for name, value in lines.items():
        print(f"{name:14} {value}")
    return 0


def _check_model(folder: Path) -> int:
    from longspan.models.agreement import max_tokens_of
    from longspan.tasks.adapters import load_with_head
    from longspan.tasks.detect_task import task_of

    notes: list[str] = []
    model, tokenizer = load_with_head(str(folder), task_of(folder), needs_head=False, notes=notes)
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    limit = max_tokens_of(model)
    architectures = getattr(model.config, "architectures", None) or ["no class named"]
    print(f"{'model':12} {', '.join(architectures)}, {n_parameters / 1e6:.1f} million parameters, {model.dtype}")
    print(f"{'takes':12} {'any length' if limit is None else f'{limit:,} tokens'}")
    if model.config.model_type == "longformer":
        from longspan.models import LongformerConfig
        from longspan.models.config import stock_differences

        print(f"{'window':12} {model.config.attention_window}")
        is_whole = (folder / "config.json").is_file()  # an adapter has none; a model's own head counts here
        config = LongformerConfig.from_pretrained(folder) if is_whole else model.config
        for difference in stock_differences(config):  # pyright: ignore[reportArgumentType]
            print(f"{'note':12} {difference}")
    for note in notes:
        print(f"{'note':12} {note}")
    print(f"{'tokenizer':12} {type(tokenizer).__name__}, {len(tokenizer):,} pieces")
    return 0


def _check_data(name: str, words: list[str]) -> int:
    from longspan.tasks import find_fine_tuning_task
    from longspan.training.recipe.fields import FinetuneRecipe
    from longspan.training.recipe.files import parse_recipe

    # A recipe of no run: it has the fields that say how the data is read.
    nowhere = {"name": "check", "model": "none", "output_dir": "none", "train_data": [name]}
    recipe = parse_recipe(words, kind=FinetuneRecipe, defaults=nowhere)
    task = find_fine_tuning_task(recipe.task)
    about_data = {"task", "language", *task.fields.model_fields}
    if useless := sorted(recipe.fields().keys() - nowhere.keys() - about_data):
        raise InputError(f"--{useless[0]}: only a recipe has fields of a training; leave it out for data")
    dataset = task.read(name, recipe, for_training=False)
    n = len(dataset.examples)
    print(f"{'data':12} {dataset.name}, language {dataset.language}, {n:,} {task.item_noun}s")
    for heading, text in task.data_lines(dataset):
        print(f"{heading:12} {text}")
    for key, n in dataset.counts.items():
        print(f"{'count':12} {key.replace('_', ' ')}: {n:,}")
    return 0
