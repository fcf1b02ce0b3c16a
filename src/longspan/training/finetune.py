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
from longspan.models.config import attention_backend, attention_patterns
from longspan.records import StepLog, TrainingRecord, made_now, write_record
from longspan.tasks.qa_batch import ModelCollator
from longspan.tasks.question_answering import QaPredictor
from longspan.training.card import write_card
from longspan.training.model import merge_adapters
from longspan.training.preparation import Prepared, precision_of, prepare, reports
from longspan.training.qa_data import examples_with_language, merge_counts
from longspan.training.recipe import FinetuneRecipe
from longspan.training.run_folder import RunFolder, explain_full_disk
from longspan.training.time_limit import StopAfter
from longspan.training.trainer import QaTrainer, WindowSet


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
    ready = prepare(recipe)
    ready.folder.start(ready.resume_from)
    trainer = _make_trainer(ready, callbacks)
    if recipe.max_minutes is not None:
        StopAfter(recipe.max_minutes).take_over(trainer)
    began = time.perf_counter()
    with explain_full_disk(ready.folder.root):
        trainer.train(resume_from_checkpoint=str(ready.resume_from) if ready.resume_from else None)
    seconds = time.perf_counter() - began

    arguments = ready.arguments
    on_gpu = arguments.device.type == "cuda"
    record = TrainingRecord(
        made=made_now(
            seed=recipe.seed,
            data=ready.train.sha256 | ready.evaluation.sha256,
            gpu=torch.cuda.get_device_name(arguments.device) if on_gpu else None,
        ),
        name=recipe.name,
        recipe=_as_run(recipe, arguments),
        attention_backend=_attention_backend(ready.built.body, ready.windows, arguments),
        n_examples=len(ready.train.examples),
        n_features=len(ready.windows),
        steps=_steps(trainer.state.log_history),
        seconds=seconds,
        peak_memory_gib=_peak_memory_gib(on_gpu),
        counts=merge_counts(ready.train.counts, ready.window_counts, ready.evaluation.counts),
    )
    if trainer.is_world_process_zero():
        _save(merge_adapters(trainer.accelerator.unwrap_model(trainer.model)), ready, record)
    trainer.accelerator.wait_for_everyone()
    return record


def _make_trainer(ready: Prepared, callbacks: tuple[TrainerCallback, ...]) -> QaTrainer:
    recipe, arguments, built = ready.recipe, ready.arguments, ready.built
    predictor = None
    if ready.eval_windows is not None:
        predictor = QaPredictor(
            built.model,  # pyright: ignore[reportArgumentType] - or PEFT's wrapper around one
            built.tokenizer,
            max_length=ready.max_length,
            overlap=ready.overlap,
            global_tokens=recipe.global_tokens,
            batch_size=arguments.per_device_eval_batch_size,
            max_answer_tokens=recipe.max_answer_tokens,
            dtype=torch.bfloat16 if arguments.bf16 else torch.float16 if arguments.fp16 else None,
        )
    return QaTrainer(
        model=built.model,
        args=arguments,
        data_collator=ModelCollator(built.body, built.tokenizer, global_tokens=recipe.global_tokens),
        train_dataset=ready.windows,
        eval_dataset=ready.eval_windows,
        processing_class=built.tokenizer,
        callbacks=[*callbacks, *_tensorboard(recipe, ready.folder)],
        predictor=predictor,
        eval_examples=examples_with_language(ready.evaluation),
    )


def _tensorboard(recipe: FinetuneRecipe, folder: RunFolder) -> list[TrainerCallback]:
    if not {"tensorboard", "all"} & set(reports(recipe)):
        return []
    from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations import TensorBoardCallback

    return [TensorBoardCallback(SummaryWriter(log_dir=str(folder.logs)))]


def _save(model: PreTrainedModel, ready: Prepared, record: TrainingRecord) -> None:
    proof = ready.built.proof
    with ready.folder.finish() as finished:
        model.save_pretrained(finished)
        ready.built.tokenizer.save_pretrained(finished)
        write_record(record, finished / "training.json")
        if proof is not None:
            write_record(proof, finished / "proof.json")
        card = write_card(model, ready.recipe.model, record, proof, Path(ready.recipe.output_dir).name)
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


def _as_run(recipe: FinetuneRecipe, arguments: TrainingArguments) -> dict[str, Any]:
    """The recipe's fields for the record: no secrets, and the precision that was computed in."""
    fields = {name: value for name, value in recipe.fields().items() if name != "hub_token"}
    return fields | ({"precision": precision_of(arguments)} if recipe.precision == "auto" else {})


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
