"""Fine-tune a model on a task, as a recipe says; any field of the recipe can be given here too.

Example:
  longspan finetune recipes/squad-e5-short.yaml
  longspan finetune squad-e5-long --train_data train-v1.1.json --learning_rate 3e-5 --max_steps 100
  longspan finetune squad-e5-long --resume_from_checkpoint true

Fields are those of the recipe and of transformers' TrainingArguments (docs/recipes.md). `longspan ls recipes` lists the
recipes that come with longspan, `longspan check RECIPE` says what would run.
"""

import argparse

HELP = "fine-tune a model, as a recipe says"
TAKES_FIELDS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments; fields of the recipe come after it."""
    parser.add_argument("recipe", help="a YAML file, or the name of a recipe that comes with longspan")


def run(arguments: argparse.Namespace) -> int:
    """Train, then say where everything is."""
    from longspan.training.recipe.files import load_recipe

    recipe = load_recipe(arguments.recipe, arguments.fields)
    from longspan.training.finetune.finetune import finetune

    record = finetune(recipe)
    folder = recipe.output_dir
    losses = [log.values["loss"] for log in record.steps if "loss" in log.values]
    print(f"\n{record.n_examples:,} questions, {record.n_features:,} windows, {record.seconds / 60:.1f} minutes")
    if losses:
        print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}")
    for log in record.steps[::-1]:
        if "eval_f1" in log.values:
            exact, overlap = log.values["eval_exact_match"], log.values["eval_f1"]
            print(f"evaluation: exact match {exact:.1f}, F1 {overlap:.1f}")
            break
    for name, n in record.counts.items():
        if n and name in _WORTH_SAYING:
            print(f"note: {n:,} {_WORTH_SAYING[name]}")
    print(f"model: {folder}   record: {folder}/training.json   logs: tensorboard --logdir {folder}/logs")
    print(f'next: longspan predict {folder} --document FILE --question "..."')
    return 0


_WORTH_SAYING = {
    "questions_without_label": "questions were not trained on: no gold answer is in their document",
    "answers_without_window": "answers stand in no window whole; a larger overlap would help",
    "repaired_offsets": "answers had wrong offsets and were repaired",
    "unlocatable_answers": "answers are not in their document",
}
