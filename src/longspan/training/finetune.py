"""recipe -> checkpoint: one fine-tuning run on transformers' Trainer."""

import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch
from transformers import LongformerConfig as StockLongformerConfig
from transformers import PreTrainedModel, TrainerCallback, TrainingArguments

from longspan.attention.selection import Request, select
from longspan.errors import InputError
from longspan.models.config import attention_backend, attention_patterns
from longspan.records import StepLog, TrainingRecord, made_now, write_record
from longspan.tasks.qa_batch import ModelCollator
from longspan.tasks.question_answering import QaPredictor, check_max_length, default_overlap
from longspan.training.card import write_card
from longspan.training.model import BuiltModel, build_model, merge_adapters
from longspan.training.qa_data import (
    examples_with_language,
    make_evaluation_windows,
    make_training_windows,
    merge_counts,
    read_questions,
)
from longspan.training.recipe import FinetuneRecipe
from longspan.training.run_folder import RunFolder, explain_full_disk
from longspan.training.trainer import QaTrainer, WindowSet

# What the Trainer must not decide here; everything else of TrainingArguments is the recipe's.
_FIXED = {"remove_unused_columns": False}


def finetune(recipe: FinetuneRecipe, *, callbacks: tuple[TrainerCallback, ...] = ()) -> TrainingRecord:
    """Run `recipe`; the finished model, tokenizer, model card and record are in its `output_dir` afterwards.

    The folder's layout and what happens when a run is killed: longspan.training.run_folder.

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
    resume_from = folder.check()
    arguments = make_arguments(recipe, folder)
    train = read_questions(recipe, for_evaluation=False)
    evaluation = read_questions(recipe, for_evaluation=True)
    built = build_model(recipe)
    max_length = check_max_length(built.body, recipe.max_length)
    overlap = default_overlap(max_length) if recipe.overlap is None else recipe.overlap
    windows, window_counts = make_training_windows(train, recipe, built.tokenizer, max_length, overlap)
    eval_windows = None
    if evaluation.examples:
        eval_windows = make_evaluation_windows(evaluation, built.tokenizer, max_length, overlap)
    folder.start(resume_from)

    trainer = QaTrainer(
        model=built.model,
        args=arguments,
        data_collator=ModelCollator(built.body, built.tokenizer, global_tokens=recipe.global_tokens),
        train_dataset=windows,
        eval_dataset=eval_windows,
        processing_class=built.tokenizer,
        callbacks=[*callbacks, *_tensorboard(recipe, folder)],
        predictor=QaPredictor(
            built.model,  # pyright: ignore[reportArgumentType] - or PEFT's wrapper around one
            built.tokenizer,
            max_length=max_length,
            overlap=overlap,
            global_tokens=recipe.global_tokens,
            batch_size=arguments.per_device_eval_batch_size,
            max_answer_tokens=recipe.max_answer_tokens,
            dtype=torch.bfloat16 if arguments.bf16 else torch.float16 if arguments.fp16 else None,
        ),
        eval_examples=examples_with_language(evaluation),
    )
    began = time.perf_counter()
    with explain_full_disk(folder.root):
        trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)
    seconds = time.perf_counter() - began

    on_gpu = arguments.device.type == "cuda"
    record = TrainingRecord(
        made=made_now(
            seed=recipe.seed,
            data=train.sha256 | evaluation.sha256,
            gpu=torch.cuda.get_device_name(arguments.device) if on_gpu else None,
        ),
        name=recipe.name,
        recipe={name: value for name, value in recipe.fields().items() if name != "hub_token"},
        attention_backend=_attention_backend(built.body, windows, arguments),
        n_examples=len(train.examples),
        n_features=len(windows),
        steps=_steps(trainer.state.log_history),
        seconds=seconds,
        peak_memory_gib=_peak_memory_gib(on_gpu),
        counts=merge_counts(train.counts, window_counts, evaluation.counts),
    )
    if trainer.is_world_process_zero():
        model = merge_adapters(trainer.accelerator.unwrap_model(trainer.model))
        _save(folder, model, built, recipe, record)
    trainer.accelerator.wait_for_everyone()
    return record


def make_arguments(recipe: FinetuneRecipe, folder: RunFolder) -> TrainingArguments:
    """The Trainer's arguments: the recipe's fields over transformers' defaults.

    Raises:
        InputError: transformers refuses a value, or the fields contradict each other.
    """
    fields: dict[str, Any] = {"dataloader_pin_memory": torch.cuda.is_available()}
    if recipe.eval_data:
        fields["eval_strategy"] = "epoch"
    fields |= recipe.training
    for name, value in _FIXED.items():
        if fields.get(name, value) != value:
            raise InputError(f"{recipe.name}: {name} must be {value} for question answering; remove the field")
    if fields.get("eval_strategy", "no") != "no" and not recipe.eval_data:
        raise InputError(f"{recipe.name}: eval_strategy is {fields['eval_strategy']} but there is no eval_data; add it")
    if fields.get("train_sampling_strategy") == "batch_rebalance":
        raise InputError(f"{recipe.name}: train_sampling_strategy must be random, sequential or group_by_length")
    # TensorBoard gets a callback of its own (`_tensorboard`), for a folder of its own.
    others = [name for name in _reports(recipe) if name != "tensorboard"]
    fields |= _FIXED | {"output_dir": str(folder.checkpoints), "report_to": others or "none"}
    try:
        return TrainingArguments(**fields)
    except (ValueError, ImportError, NotImplementedError) as error:
        raise InputError(f"{recipe.name}: {error}") from error


def _reports(recipe: FinetuneRecipe) -> list[str]:
    wanted = recipe.training.get("report_to", "tensorboard")
    names = wanted if isinstance(wanted, list) else [wanted]
    return [name for name in names if name not in (None, "none")]


def _tensorboard(recipe: FinetuneRecipe, folder: RunFolder) -> list[TrainerCallback]:
    if not {"tensorboard", "all"} & set(_reports(recipe)):
        return []
    from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations import TensorBoardCallback

    return [TensorBoardCallback(SummaryWriter(log_dir=str(folder.logs)))]


def _save(
    folder: RunFolder, model: PreTrainedModel, built: BuiltModel, recipe: FinetuneRecipe, record: TrainingRecord
) -> None:
    with folder.finish() as finished:
        model.save_pretrained(finished)
        built.tokenizer.save_pretrained(finished)
        write_record(record, finished / "training.json")
        if built.proof is not None:
            write_record(built.proof, finished / "proof.json")
        card = write_card(model, recipe.model, record, built.proof, Path(recipe.output_dir).name)
        (finished / "README.md").write_text(card, encoding="utf-8")


def _attention_backend(model: PreTrainedModel, windows: WindowSet, arguments: TrainingArguments) -> str:
    """What computes the attention of the longest window, and why."""
    config = model.config
    if not isinstance(config, StockLongformerConfig):
        return f"transformers' {config._attn_implementation}, full attention"
    dtype = torch.bfloat16 if arguments.bf16 else torch.float16 if arguments.fp16 else torch.float32
    request = Request(
        n_rows=arguments.per_device_train_batch_size,
        n_heads=config.num_attention_heads,
        n_tokens=max(windows.lengths),
        width=config.hidden_size // config.num_attention_heads,
        device=arguments.device.type,
        dtype=dtype,
        needs_grad=True,
        pattern=attention_patterns(config)[0],
        has_padding=arguments.per_device_train_batch_size > 1,
        has_dynamic_global=True,
        dropout_p=config.attention_probs_dropout_prob,
    )
    choice = select(request, attention_backend(config))
    return f"{choice.backend} ({'; '.join(f'{name}: {reason}' for name, reason in choice.reasons.items())})"


def _steps(log_history: list[dict[str, Any]]) -> list[StepLog]:
    return [
        StepLog(
            step=int(log["step"]),
            values={
                name: float(value)
                for name, value in log.items()
                if name != "step" and isinstance(value, (int, float)) and not isinstance(value, bool)
            },
        )
        for log in log_history
    ]


def _peak_memory_gib(on_gpu: bool) -> float:
    if on_gpu:
        return torch.cuda.max_memory_allocated() / 2**30
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)
