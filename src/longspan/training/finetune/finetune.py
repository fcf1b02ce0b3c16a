"""recipe -> checkpoint: one fine-tuning run on transformers' Trainer."""

from transformers import TrainerCallback

from longspan.records import TrainingRecord
from longspan.training.finetune.preparation import make_finetune_arguments, prepare
from longspan.training.recipe.fields import FinetuneRecipe
from longspan.training.run.folder import RunFolder
from longspan.training.run.loop import run_training


def finetune(recipe: FinetuneRecipe, *, callbacks: tuple[TrainerCallback, ...] = ()) -> TrainingRecord:
    """Run `recipe`; the finished model or adapter, its card and its record are in its `output_dir` afterwards.

    The folder's layout and what happens when a run is killed: longspan.training.run.folder. Under `torchrun` every
    process calls this.

    Args:
        recipe: what to do.
        callbacks: further callbacks for the Trainer.

    Returns:
        The record of the run, as written to `training.json`.

    Raises:
        InputError: the recipe's data, model, output folder or options do not fit (before any step), or the loss is
            no longer finite, or the disk is full (the checkpoints so far are kept).
    """
    folder = RunFolder(recipe)
    arguments = make_finetune_arguments(recipe, folder)
    return run_training(folder, arguments, lambda: prepare(recipe, arguments), callbacks)
