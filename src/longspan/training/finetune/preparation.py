"""Everything of a fine-tuning run that comes before its first step: arguments, data, model, rows."""

import importlib.util

from transformers import TrainingArguments

from longspan.errors import InputError
from longspan.tasks import find_fine_tuning_task
from longspan.tasks.predicting import check_max_length, default_overlap
from longspan.tasks.task import FeatureSet
from longspan.training.finetune.data import Data, read_data
from longspan.training.finetune.model import build_model
from longspan.training.finetune.run import FinetuneRun
from longspan.training.recipe.fields import FinetuneRecipe
from longspan.training.recipe.trainer_arguments import make_arguments, precision_of, require_windows, rows_of_step
from longspan.training.run.distributed import in_first_process
from longspan.training.run.folder import RunFolder
from longspan.training.run.plan_lines import output_line, trained_share
from longspan.training.run.resume_check import identity_of

# What transformers logs for every evaluation during a training.
_METRICS = ("loss", "runtime", "samples_per_second", "steps_per_second")


def make_finetune_arguments(recipe: FinetuneRecipe, folder: RunFolder) -> TrainingArguments:
    """The Trainer's arguments.

    Raises:
        InputError: transformers refuses a value, or the fields contradict each other.
    """
    task = find_fine_tuning_task(recipe.task)
    if recipe.training.get("label_smoothing_factor"):
        raise InputError(f"{recipe.name}: label_smoothing_factor is of no effect on {task.title}; remove it")
    if recipe.adapter_rank is not None and importlib.util.find_spec("peft") is None:
        raise InputError(f"{recipe.name}: adapter_rank needs the package peft; install longspan[peft]")
    require_windows(recipe)
    if recipe.overlap is not None and recipe.max_length is not None and recipe.overlap >= recipe.max_length:
        raise InputError(
            f"{recipe.name}: overlap is {recipe.overlap}; it must be less than max_length ({recipe.max_length})"
        )
    return make_arguments(
        recipe,
        folder.checkpoints,
        evaluates=bool(recipe.eval_data),
        metrics=(_METRICS[0], *task.training_metrics, *_METRICS[1:]),
        eval_strategy="epoch",
    )


def prepare(recipe: FinetuneRecipe, arguments: TrainingArguments) -> FinetuneRun:
    """Check and load data and model; nothing is written.

    Raises:
        InputError: the recipe's options, data or model do not fit.
    """
    task = find_fine_tuning_task(recipe.task)
    train = read_data(task, recipe, for_training=True)
    evaluation = read_data(task, recipe, for_training=False)
    task.check_training(train.datasets, evaluation.datasets)
    built = build_model(task, recipe, task.head_config(train.datasets, recipe))
    max_length = check_max_length(built.body, recipe.max_length)
    overlap = default_overlap(max_length) if recipe.overlap is None else recipe.overlap

    def rows_of(data: Data, *, for_training: bool) -> FeatureSet:
        return task.features(
            data.examples,
            built.tokenizer,
            recipe,
            max_length=max_length,
            overlap=overlap,
            for_training=for_training,
            config=built.body.config,
        )

    rows = rows_of(train, for_training=True)
    eval_rows = rows_of(evaluation, for_training=False) if evaluation.examples else None
    return FinetuneRun(
        recipe=recipe,
        arguments=arguments,
        body=built.body,
        tokenizer=built.tokenizer,
        proof=built.proof,
        identity=identity_of(recipe, arguments) | {"data": list(train.sha256.values()) or recipe.train_data},
        data=train.sha256 | evaluation.sha256,
        task=task,
        model=built.model,
        adapter=built.adapter,
        train=train,
        evaluation=evaluation,
        rows=rows,
        eval_rows=eval_rows,
        max_length=max_length,
        overlap=overlap,
    )


def plan(recipe: FinetuneRecipe) -> dict[str, str]:
    """Describe what `finetune(recipe)` would do; everything before its first step is tried.

    Raises:
        InputError: something would go wrong before the first step.
    """
    folder = RunFolder(recipe)
    arguments = make_finetune_arguments(recipe, folder)
    resume_from = in_first_process(arguments, folder.check)
    ready = prepare(recipe.model_copy(update={"proof": "none"}), arguments)
    counts = ready.train.counts | ready.rows.counts
    rows = rows_of_step(arguments)
    if arguments.max_steps > 0:
        n_steps = arguments.max_steps
    else:
        n_steps = int(arguments.num_train_epochs * -(-len(ready.rows) // rows))
    precision, noun = precision_of(arguments), ready.task.item_noun
    lines = {
        "recipe": recipe.name,
        "model": f"{type(ready.body).__name__} from {recipe.model}, {trained_share(ready.model)}",
        "windows": f"{len(ready.rows):,} of at most {ready.max_length:,} tokens, overlapping by {ready.overlap}",
        "data": f"{len(ready.train.examples):,} {noun}s of {', '.join(recipe.train_data)}",
        "counts": ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in counts.items() if n),
        "evaluation": f"{len(ready.evaluation.examples):,} {noun}s" if ready.eval_rows else "none",
        "training": f"{n_steps:,} steps of {rows} windows, learning rate {arguments.learning_rate:g}, {precision}, "
        f"on {arguments.device}, seed {recipe.seed}",
        "output": output_line(recipe, resume_from),
    }
    if recipe.max_minutes is not None:
        lines["training"] += f", {recipe.max_minutes:g} minutes at most"
    if recipe.max_tokens is not None:
        lines["model"] += f", extended to {recipe.max_tokens:,} tokens, window {recipe.attention_window}"
    return lines
