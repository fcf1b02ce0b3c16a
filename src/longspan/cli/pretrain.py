"""Pre-train a model on long text: extend it, train masked language modelling, and score it before and after.

Example:
  longspan pretrain pretrain-laptop --train_data novels/ --output_dir runs/long
  longspan pretrain xlmr-long-thesis --train_data wiki.train.raw --eval_data wiki.valid.raw
  torchrun --nproc_per_node 8 -m longspan pretrain longformer-paper --train_data corpus/ --eval_data held-out/

Fields are those of docs/pretraining.md and of transformers' TrainingArguments. After a crash, the same command resumes
the run (resume_from_checkpoint: true, as in the shipped recipes). `longspan check RECIPE` checks a recipe without
running it.
"""

import argparse

HELP = "pre-train a model on long text, from a recipe"
TAKES_FIELDS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments; fields of the recipe come after it."""
    parser.add_argument("recipe", help="a YAML file, or the name of a shipped recipe")


def run(arguments: argparse.Namespace) -> int:
    """Train, then print the results and the output files."""
    import os

    from longspan.training.pretrain.recipe import PretrainRecipe
    from longspan.training.recipe.files import load_recipe

    recipe = load_recipe(arguments.recipe, arguments.fields, kind=PretrainRecipe)
    from longspan.training.pretrain.pretrain import pretrain

    record = pretrain(recipe)
    if int(os.environ.get("RANK", "0")) == 0:
        describe(record, recipe.output_dir)
    return 0


def describe(record: object, folder: str) -> None:
    """Print the results of a run."""
    from longspan.records import TrainingRecord

    assert isinstance(record, TrainingRecord), "pretrain returns a TrainingRecord"
    losses = [log.values["loss"] for log in record.steps if "loss" in log.values]
    print(f"\n{record.counts['tokens_seen']:,} tokens in {record.seconds / 60:.1f} minutes")
    if losses:
        print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}")
    before = {(s.dataset, s.n_tokens): s for s in record.language_model if s.when == "initial"}
    for score in record.language_model:
        if score.when == "final" and (old := before.get((score.dataset, score.n_tokens))) is not None:
            print(
                f"{score.dataset}, {score.n_tokens:,} tokens: bits per token {old.bits_per_token:.3f} -> "
                f"{score.bits_per_token:.3f}"
            )
    for name, meaning in (("steps_left_out", "steps were left out"), ("checkpoints_not_saved", "saves failed")):
        if record.counts.get(name):
            print(f"note: {record.counts[name]} {meaning}")
    print(f"model: {folder}   record: {folder}/training.json   logs: tensorboard --logdir {folder}/logs")
