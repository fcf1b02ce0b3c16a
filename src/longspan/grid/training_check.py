"""Checks all trainings of a grid before its first job starts."""

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from longspan.errors import InputError
from longspan.training.pretrain.recipe import PretrainRecipe
from longspan.training.recipe.fields import FinetuneRecipe, Recipe


def find_refusals(recipes: Sequence[Recipe]) -> list[str | None]:
    """Return for each recipe why it cannot be trained on this machine, or None if it can; no file is opened.

    A process that has used a GPU keeps some of its memory, which the jobs of a grid may need. So on a machine with a
    GPU the recipes are checked in a separate process.
    """
    import torch

    if not recipes or not torch.accelerator.is_available():
        return [_refusal(recipe) for recipe in recipes]
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(_refusal, recipes))


def _refusal(recipe: Recipe) -> str | None:
    from longspan.training.finetune.preparation import make_finetune_arguments
    from longspan.training.pretrain.folder import PretrainFolder
    from longspan.training.pretrain.preparation import make_pretrain_arguments
    from longspan.training.recipe.rehearsal import require_processes
    from longspan.training.run.folder import RunFolder

    try:
        if isinstance(recipe, PretrainRecipe):
            arguments = make_pretrain_arguments(recipe, PretrainFolder(recipe))
        else:
            assert isinstance(recipe, FinetuneRecipe), "there is no third kind"
            arguments = make_finetune_arguments(recipe, RunFolder(recipe))
        require_processes(arguments)
    except InputError as error:
        return str(error).removeprefix(f"{recipe.name}: ")
    return None
