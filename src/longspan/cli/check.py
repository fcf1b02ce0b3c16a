"""Look at a recipe, a data file or a model folder without running anything: what would happen, or what is wrong.

Example:
  longspan check squad-e5-long --train_data train-v1.1.json
  longspan check train-v1.1.json
  longspan check runs/squad-e5-long

A recipe's data is read and cut into windows and its model is loaded (and extended, unproven), so that what can go
wrong before the first step goes wrong here. The exit code is 2 where something does.
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
    if arguments.fields:
        raise InputError(f"{arguments.fields[0]}: only a recipe has fields")
    if target.is_dir():
        return _check_model(target)
    return _check_data(arguments.target)


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


def _check_data(name: str) -> int:
    from longspan.data.qa import load_qa_dataset

    dataset = load_qa_dataset(name)
    lengths = sorted(len(example.context) for example in dataset.examples)
    print(f"{'data':12} {dataset.name}, language {dataset.language}, {len(dataset.examples):,} questions")
    if lengths:
        print(f"{'documents':12} {lengths[0]:,} to {lengths[-1]:,} characters, median {lengths[len(lengths) // 2]:,}")
    for key, n in dataset.counts.items():
        print(f"{'count':12} {key.replace('_', ' ')}: {n:,}")
    if dataset.unlocatable_ids:
        # Every id: these are the records to look at.
        print(f"{'note':12} answers that are not in their document: {', '.join(dataset.unlocatable_ids)}")
    return 0
