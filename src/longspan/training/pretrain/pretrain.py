"""recipe -> checkpoint: extend, evaluate, train on masked text, evaluate, write a model card."""

from transformers import TrainerCallback

from longspan.records import TrainingRecord
from longspan.training.pretrain.folder import PretrainFolder
from longspan.training.pretrain.preparation import make_pretrain_arguments, prepare_pretraining
from longspan.training.pretrain.recipe import PretrainRecipe
from longspan.training.run.loop import run_training


def pretrain(recipe: PretrainRecipe, *, callbacks: tuple[TrainerCallback, ...] = ()) -> TrainingRecord:
    """Run `recipe`; the finished model, tokenizer, model card and record are in its `output_dir` afterwards.

    A run that was killed resumes, with `resume_from_checkpoint: true`, from its newest whole checkpoint, and its losses
    are those of a run that was not killed. Under `torchrun` or `accelerate launch` every process calls this.

    Args:
        recipe: what to do.
        callbacks: further callbacks for the Trainer.

    Returns:
        The record of the run, as written to `training.json`.

    Raises:
        InputError: the recipe's data, model, output folder or options do not fit (before any step), another run has
            the folder, this one was started with another recipe or other data, or a loss is not finite.
    """
    folder = PretrainFolder(recipe)
    arguments = make_pretrain_arguments(recipe, folder)
    return run_training(folder, arguments, lambda: prepare_pretraining(recipe, folder, arguments), callbacks)
