"""recipe -> checkpoint: one fine-tuning run on transformers' Trainer."""

import torch
from torch import nn
from transformers import TrainerCallback

from longspan.records import TrainingRecord, made_now, write_record
from longspan.tasks.adapter_files import ADAPTER_FILES, save_adapter
from longspan.tasks.question_answering.batch import ModelCollator
from longspan.tasks.question_answering.predictor import QaPredictor
from longspan.tasks.question_answering.training_data import examples_with_language, merge_counts
from longspan.training.finetune.adapter import adapter_lines, read_out
from longspan.training.finetune.card import write_card
from longspan.training.finetune.model import merge_adapters
from longspan.training.finetune.preparation import Prepared, make_finetune_arguments, prepare
from longspan.training.finetune.trainer import QaTrainer
from longspan.training.recipe.fields import FinetuneRecipe
from longspan.training.recipe.rehearsal import require_processes
from longspan.training.run.checkpoints import require_steps
from longspan.training.run.distributed import in_first_process, largest
from longspan.training.run.folder import MODEL_FILES, RunFolder, explain_full_disk
from longspan.training.run.padding_id import KeepPaddingId
from longspan.training.run.record import as_run, backend_of, logged_steps
from longspan.training.run.resume_check import identity_of
from longspan.training.run.tensorboard import tensorboard
from longspan.training.run.time_limit import StopAfter


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
    require_processes(arguments)
    with folder.held(arguments):
        return _run(prepare(recipe, folder, arguments), callbacks)


def _run(ready: Prepared, callbacks: tuple[TrainerCallback, ...]) -> TrainingRecord:
    recipe, folder, arguments = ready.recipe, ready.folder, ready.arguments
    identity = identity_of(recipe, arguments) | {"data": list(ready.train.sha256.values()) or recipe.train_data}
    in_first_process(arguments, lambda: folder.require_same(identity, ready.resume_from))
    in_first_process(arguments, lambda: folder.start(identity, ready.resume_from))
    trainer = _make_trainer(ready, callbacks)
    if recipe.max_minutes is not None:
        StopAfter(recipe.max_minutes, trainer.usage).take_over(trainer)
    with explain_full_disk(folder.root):
        trainer.train_from(ready.resume_from)
    require_steps(trainer)
    seconds = trainer.usage.seconds
    on_gpu = arguments.device.type == "cuda"
    record = TrainingRecord(
        made=made_now(
            seed=recipe.seed,
            data=ready.train.sha256 | ready.evaluation.sha256,
            gpu=torch.cuda.get_device_name(arguments.device) if on_gpu else None,
        ),
        name=recipe.name,
        recipe=as_run(recipe, arguments) | _found_batch_size(trainer),
        attention_backend=backend_of(ready.built.body, max(ready.windows.lengths), arguments),
        n_examples=len(ready.train.examples),
        n_features=len(ready.windows),
        steps=logged_steps(trainer.state.log_history),
        seconds=seconds,
        peak_memory_gib=largest(arguments, trainer.usage.peak_memory_gib),
        counts=merge_counts(ready.train.counts, ready.window_counts, ready.evaluation.counts)
        | {"checkpoints_not_saved": trainer.failed_saves},
    )
    in_first_process(arguments, lambda: _save(trainer.accelerator.unwrap_model(trainer.model), ready, record))
    return record


def _found_batch_size(trainer: QaTrainer) -> dict[str, int]:
    """The rows that fitted into memory, where the recipe leaves that to `auto_find_batch_size`."""
    if not trainer.args.auto_find_batch_size:
        return {}
    return {"per_device_train_batch_size": trainer._train_batch_size // max(1, trainer.args.n_gpu)}


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
        callbacks=[KeepPaddingId(built.body.config), *callbacks, *tensorboard(recipe, ready.folder.logs)],
        predictor=predictor,
        eval_examples=examples_with_language(ready.evaluation),
    )


def _save(trained: nn.Module, ready: Prepared, record: TrainingRecord) -> None:
    recipe, proof, plan = ready.recipe, ready.built.proof, ready.built.adapter
    adapter = None if plan is None or recipe.merge_adapter else read_out(trained, plan)
    half = recipe.adapter_precision == "fp16"
    # What another end of the same run left: a folder is a model or an adapter, not both.
    stale = MODEL_FILES if adapter is not None else ADAPTER_FILES
    with ready.folder.finish(leave_out=stale) as finished:
        if adapter is not None:
            save_adapter(adapter, finished, half=half)
        else:
            merge_adapters(trained).save_pretrained(finished)
            ready.built.tokenizer.save_pretrained(finished)
        write_record(record, finished / "training.json")
        if proof is not None:
            write_record(proof, finished / "proof.json")
        title = ready.folder.root.name
        lines = [] if adapter is None else adapter_lines(adapter, half=half)
        card = write_card(
            ready.built.body, recipe.model, record, proof, title, tokenizer=ready.built.tokenizer, adapter=lines
        )
        (finished / "README.md").write_text(card, encoding="utf-8")
