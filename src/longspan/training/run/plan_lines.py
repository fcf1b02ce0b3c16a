"""Lines that the plan of every run has (`longspan check RECIPE`)."""

from pathlib import Path

from torch import nn

from longspan.training.recipe.fields import Recipe


def trained_share(model: nn.Module) -> str:
    """How many of the model's parameters are trained: "1.2 of 118.3 million parameters trained"."""
    parameters = list(model.parameters())
    n_trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    n_all = sum(parameter.numel() for parameter in parameters)
    return f"{n_trained / 1e6:.1f} of {n_all / 1e6:.1f} million parameters trained"


def output_line(recipe: Recipe, resume_from: Path | None) -> str:
    """The output folder, and the checkpoint that the run resumes from, if any."""
    return recipe.output_dir + (f", resuming from {resume_from}" if resume_from else "")
