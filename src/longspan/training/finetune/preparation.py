"""Everything of a run that comes before its first step: folder, arguments, data, model, windows."""

import importlib.util
from pathlib import Path
from typing import NamedTuple

from transformers import TrainingArguments

from longspan.errors import InputError
from longspan.tasks.question_answering.predictor import check_max_length, default_overlap
from longspan.tasks.question_answering.training_data import (
    Questions,
    make_evaluation_windows,
    make_training_windows,
    read_questions,
)
from longspan.training.finetune.model import BuiltModel, build_model
from longspan.training.finetune.trainer import WindowSet
from longspan.training.recipe.fields import FinetuneRecipe
from longspan.training.recipe.trainer_arguments import make_arguments, precision_of, require_windows, rows_of_step
from longspan.training.run.distributed import in_first_process
from longspan.training.run.folder import RunFolder

# Of an evaluation during the training.
_METRICS = ("loss", "exact_match", "f1", "runtime", "samples_per_second", "steps_per_second")


class Prepared(NamedTuple):
    """A run that is ready to start.

    resume_from: the checkpoint to go on from, None for the beginning. window_counts: of the training windows.
    eval_windows: None where nothing is evaluated.
    """

    recipe: FinetuneRecipe
    folder: RunFolder
    resume_from: Path | None
    arguments: TrainingArguments
    train: Questions
    evaluation: Questions
    built: BuiltModel
    max_length: int
    overlap: int
    windows: WindowSet
    window_counts: dict[str, int]
    eval_windows: WindowSet | None


def make_finetune_arguments(recipe: FinetuneRecipe, folder: RunFolder) -> TrainingArguments:
    """The Trainer's arguments.

    Raises:
        InputError: transformers refuses a value, or the fields contradict each other.
    """
    if recipe.training.get("label_smoothing_factor"):
        raise InputError(f"{recipe.name}: label_smoothing_factor is of no effect on question answering; remove it")
    if recipe.adapter_rank is not None and importlib.util.find_spec("peft") is None:
        raise InputError(f"{recipe.name}: adapter_rank needs the package peft; install longspan[peft]")
    require_windows(recipe)
    if recipe.overlap is not None and recipe.max_length is not None and recipe.overlap >= recipe.max_length:
        raise InputError(
            f"{recipe.name}: overlap is {recipe.overlap}; it must be less than max_length ({recipe.max_length})"
        )
    return make_arguments(
        recipe, folder.checkpoints, evaluates=bool(recipe.eval_data), metrics=_METRICS, eval_strategy="epoch"
    )


def prepare(recipe: FinetuneRecipe, folder: RunFolder, arguments: TrainingArguments) -> Prepared:
    """Check and load everything, the quick things first; nothing is written.

    Raises:
        InputError: the recipe's output folder, options, data or model do not fit.
    """
    resume_from = in_first_process(arguments, folder.check)
    train = read_questions(recipe, for_evaluation=False)
    evaluation = read_questions(recipe, for_evaluation=True)
    built = build_model(recipe)
    max_length = check_max_length(built.body, recipe.max_length)
    overlap = default_overlap(max_length) if recipe.overlap is None else recipe.overlap
    windows, counts = make_training_windows(train, recipe, built.tokenizer, max_length, overlap)
    eval_windows = None
    if evaluation.examples:
        eval_windows = make_evaluation_windows(evaluation, built.tokenizer, max_length, overlap)
    return Prepared(
        recipe,
        folder,
        resume_from,
        arguments,
        train,
        evaluation,
        built,
        max_length,
        overlap,
        windows,
        counts,
        eval_windows,
    )


def plan(recipe: FinetuneRecipe) -> dict[str, str]:
    """What `finetune(recipe)` would do, in words, after everything before its first step went well.

    Raises:
        InputError: something would go wrong before the first step.
    """
    folder = RunFolder(recipe)
    arguments = make_finetune_arguments(recipe, folder)
    ready = prepare(recipe.model_copy(update={"proof": "none"}), folder, arguments)
    counts = ready.train.counts | ready.window_counts
    parameters = list(ready.built.model.parameters())
    n_trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    rows = rows_of_step(arguments)
    if arguments.max_steps > 0:
        n_steps = arguments.max_steps
    else:
        n_steps = int(arguments.num_train_epochs * -(-len(ready.windows) // rows))
    precision = precision_of(arguments)
    lines = {
        "recipe": recipe.name,
        "model": f"{type(ready.built.body).__name__} from {recipe.model}, {n_trained / 1e6:.1f} of "
        f"{sum(parameter.numel() for parameter in parameters) / 1e6:.1f} million parameters trained",
        "windows": f"{len(ready.windows):,} of at most {ready.max_length:,} tokens, overlapping by {ready.overlap}",
        "data": f"{len(ready.train.examples):,} questions of {', '.join(recipe.train_data)}",
        "counts": ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in counts.items() if n),
        "evaluation": f"{len(ready.evaluation.examples):,} questions" if ready.eval_windows else "none",
        "training": f"{n_steps:,} steps of {rows} windows, learning rate {arguments.learning_rate:g}, {precision}, "
        f"on {arguments.device}, seed {recipe.seed}",
        "output": f"{recipe.output_dir}" + (f", going on from {ready.resume_from}" if ready.resume_from else ""),
    }
    if recipe.max_minutes is not None:
        lines["training"] += f", {recipe.max_minutes:g} minutes at most"
    if recipe.max_tokens is not None:
        lines["model"] += f", extended to {recipe.max_tokens:,} tokens, window {recipe.attention_window}"
    return lines
