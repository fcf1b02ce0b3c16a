"""Fine-tune a model on a task, from a recipe whose fields can be overridden on the command line.

Example:
  longspan finetune recipes/squad-e5-short.yaml
  longspan finetune squad-e5-long --train_data train-v1.1.json --learning_rate 3e-5 --max_steps 100
  longspan finetune squad-e5-long --resume_from_checkpoint true

Fields are those of the recipe and of transformers' TrainingArguments (docs/recipes.md). `longspan ls recipes` lists the
shipped recipes, `longspan check RECIPE` checks a recipe without running it.
"""

import argparse

HELP = "fine-tune a model, from a recipe"
TAKES_FIELDS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments; fields of the recipe come after it."""
    parser.add_argument("recipe", help="a YAML file, or the name of a shipped recipe")


def run(arguments: argparse.Namespace) -> int:
    """Train, then print the results and the output files."""
    from longspan.training.recipe.files import load_recipe

    recipe = load_recipe(arguments.recipe, arguments.fields)
    from longspan.tasks import find_fine_tuning_task
    from longspan.training.finetune.finetune import finetune

    record = finetune(recipe)
    task, folder = find_fine_tuning_task(recipe.task), recipe.output_dir
    losses = [log.values["loss"] for log in record.steps if "loss" in log.values]
    minutes = record.seconds / 60
    print(f"\n{record.n_examples:,} {task.item_noun}s, {record.n_features:,} rows, {minutes:.1f} minutes")
    if losses:
        print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}")
    for line in task.summary(record):
        print(line)
    for name, n in record.counts.items():
        if n and name in task.counts_worth_saying:
            print(f"note: {n:,} {task.counts_worth_saying[name]}")
    print(f"model: {folder}   record: {folder}/training.json   logs: tensorboard --logdir {folder}/logs")
    print(f"next: longspan predict {folder} --document FILE{task.predict_example}")
    return 0
