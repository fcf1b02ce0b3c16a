"""Pre-train a model on long text, as a recipe says: extend it, train it to fill in masked tokens, measure both ends.

Example:
  longspan pretrain pretrain-laptop --train_data novels/ --output_dir runs/long
  longspan pretrain xlmr-long-thesis --train_data wiki.train.raw --eval_data wiki.valid.raw
  torchrun --nproc_per_node 8 -m longspan pretrain longformer-paper --train_data corpus/ --eval_data held-out/

Fields are those of docs/pretraining.md and of transformers' TrainingArguments. The same command given again after a
crash goes on where the run was (resume_from_checkpoint: true, which the shipped recipes say). `longspan check RECIPE`
says what would run.
"""

import argparse

HELP = "pre-train a model on long text, as a recipe says"
TAKES_FIELDS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments; fields of the recipe come after it."""
    parser.add_argument("recipe", help="a YAML file, or the name of a recipe that comes with longspan")


def run(arguments: argparse.Namespace) -> int:
    """Train, then say what changed and where everything is."""
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
    """Print what a run did."""
    from longspan.records import TrainingRecord

    assert isinstance(record, TrainingRecord), "pretrain returns one"
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
