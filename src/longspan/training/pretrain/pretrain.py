"""recipe -> checkpoint: extend, evaluate, train on masked text, evaluate, write a model card."""

import hashlib
from typing import Any

import numpy as np
import torch
from torch.distributed.fsdp import register_fsdp_forward_method
from transformers import TrainerCallback, TrainingArguments

from longspan.data.masking import MaskedLmCollator
from longspan.extend import copy_global_projections
from longspan.extend.sentence_modules import copy_modules
from longspan.metrics.language_modelling import LossSums
from longspan.models import LongformerForMaskedLM
from longspan.records import LanguageModelScore, TrainingRecord, made_now, write_record
from longspan.tasks.masked_lm import MaskedLmScorer
from longspan.training.pretrain.card import write_card
from longspan.training.pretrain.folder import PretrainFolder
from longspan.training.pretrain.model import KeepOldRows, has_global_tokens, with_both_biases
from longspan.training.pretrain.preparation import Ready, make_pretrain_arguments, prepare_pretraining
from longspan.training.pretrain.recipe import PretrainRecipe
from longspan.training.pretrain.trainer import PretrainTrainer
from longspan.training.recipe.rehearsal import require_processes
from longspan.training.run.checkpoints import require_steps
from longspan.training.run.distributed import in_first_process, largest
from longspan.training.run.folder import explain_full_disk
from longspan.training.run.padding_id import KeepPaddingId
from longspan.training.run.record import as_run, backend_of, logged_steps
from longspan.training.run.tensorboard import tensorboard
from longspan.training.run.time_limit import StopAfter

# Tokens in one forward of an evaluation, for each row of per_device_eval_batch_size.
_EVAL_TOKENS_PER_ROW = 4096


def pretrain(recipe: PretrainRecipe, *, callbacks: tuple[TrainerCallback, ...] = ()) -> TrainingRecord:
    """Run `recipe`; the finished model, tokenizer, model card and record are in its `output_dir` afterwards.

    A run that was killed goes on, with `resume_from_checkpoint: true`, from its newest whole checkpoint, and its losses
    are those of a run that was not. Under `torchrun` or `accelerate launch` every process calls this.

    Args:
        recipe: what to do.
        callbacks: further callbacks for the Trainer.

    Returns:
        The record of the run, as written to `training.json`.

    Raises:
        InputError: the recipe's data, model, output folder or options do not fit (before any step), another run has
            the folder, this one is to go on otherwise than it was started, or a loss is not finite.
    """
    folder = PretrainFolder(recipe)
    arguments = make_pretrain_arguments(recipe, folder)
    require_processes(arguments)
    # The first process speaks for all: it alone looks at the folder and writes to it.
    with folder.held(arguments):
        return _run(prepare_pretraining(recipe, folder, arguments), callbacks)


def _run(ready: Ready, callbacks: tuple[TrainerCallback, ...]) -> TrainingRecord:
    recipe, folder, arguments, built = ready.recipe, ready.folder, ready.arguments, ready.built
    in_first_process(arguments, lambda: folder.start(ready.identity, ready.resume_from))
    trainer = _make_trainer(ready, callbacks)
    asked = _fingerprint(ready)
    initial = in_first_process(arguments, lambda: folder.initial(asked)) if ready.resume_from else None
    if initial is None:
        initial = _scores(ready, _score(ready, _on_device(built.model, arguments), ready.lengths), "initial")
        # Where the run goes on, the model is not loaded from its checkpoint yet: what was measured is the start.
        in_first_process(arguments, lambda: folder.keep_initial(initial, asked))
    if recipe.trained == "positions":
        trainer.add_callback(
            KeepOldRows(built.model.longformer.embeddings.position_embeddings.weight, built.n_old_rows)
        )
    if recipe.max_minutes is not None:
        StopAfter(recipe.max_minutes, trainer.usage).take_over(trainer)
    with explain_full_disk(folder.root):
        trainer.train_from(ready.resume_from)
    require_steps(trainer)
    seconds = trainer.usage.seconds
    final = _scores(ready, _score(ready, trainer.model, ready.lengths), "final")
    record = TrainingRecord(
        made=made_now(seed=recipe.seed, data=ready.data, gpu=_gpu(arguments)),
        name=recipe.name,
        recipe=as_run(recipe, arguments) | _processes(trainer),
        attention_backend=backend_of(built.model, ready.max_length, arguments, has_global=False),
        n_examples=ready.corpus.n_documents,
        n_features=len(ready.blocks),
        steps=logged_steps(trainer.state.log_history),
        seconds=seconds,
        peak_memory_gib=largest(arguments, trainer.usage.peak_memory_gib),
        counts={
            "tokens": ready.corpus.n_tokens,
            "characters": ready.corpus.n_characters,
            "tokens_seen": trainer.tokens_seen(),
            "steps_left_out": trainer.n_skipped,
            "checkpoints_not_saved": trainer.failed_saves,
        },
        language_model=initial + final,
    )
    finished = _whole_model(trainer)
    in_first_process(arguments, lambda: _save(finished, ready, record))
    return record


def _make_trainer(ready: Ready, callbacks: tuple[TrainerCallback, ...]) -> PretrainTrainer:
    recipe, arguments = ready.recipe, ready.arguments
    return PretrainTrainer(
        model=ready.built.model,
        args=arguments,
        data_collator=MaskedLmCollator(
            ready.built.tokenizer, padding_position=ready.built.model.longformer.embeddings.padding_idx
        ),
        train_dataset=ready.stream,
        eval_dataset=ready.stream if ready.texts else None,  # `score` has its own; the Trainer wants to see one
        processing_class=ready.built.tokenizer,
        callbacks=[KeepPaddingId(ready.built.model.config), *callbacks, *tensorboard(recipe, ready.folder.logs)],
        score=lambda model: _metrics(_score(ready, model, ready.lengths[-1:])),
        skips_non_finite=recipe.on_non_finite == "skip",
        rows_of_epoch=len(ready.blocks),
    )


def _score(ready: Ready, model: Any, lengths: list[int]) -> dict[tuple[int, int], LossSums]:
    """(number of the text, length) -> sums over all processes."""
    arguments = ready.arguments
    scorer = MaskedLmScorer(
        ready.built.tokenizer,
        lengths,
        batch_tokens=arguments.per_device_eval_batch_size * _EVAL_TOKENS_PER_ROW,
        dtype=torch.bfloat16 if arguments.bf16 else torch.float16 if arguments.fp16 else None,
        rank=arguments.process_index,
        n_processes=max(1, arguments.world_size),
    )
    if hasattr(model, "unshard"):
        # A sharded model gathers its parameters around `forward`; around this too.
        register_fsdp_forward_method(model, "log_probabilities")
    sums = scorer.score(model, ready.texts, progress=not arguments.disable_tqdm and arguments.process_index == 0)
    if arguments.world_size > 1:
        shares: list[Any] = [None] * arguments.world_size
        torch.distributed.all_gather_object(shares, sums)
        for share in shares[: arguments.process_index] + shares[arguments.process_index + 1 :]:
            for key, value in share.items():
                sums[key].merge(value)
    return sums


def _fingerprint(ready: Ready) -> str:
    """Equal for evaluations of the same tokens at the same lengths."""
    told = hashlib.sha256(repr(ready.lengths).encode())
    for text in ready.texts:
        told.update(repr((text.name, text.language, text.before, text.after)).encode())
        for block in text.blocks:
            for column in block:
                told.update(np.ascontiguousarray(column).tobytes())
    return told.hexdigest()


def _scores(ready: Ready, sums: dict[tuple[int, int], LossSums], when: Any) -> list[LanguageModelScore]:
    """One row for each source and length, and for all sources together."""
    rows = []
    names = [(text.name, text.language) for text in ready.texts]
    for length in ready.lengths:
        of_length = [sums[i, length] for i in range(len(names))]
        together = _merged(of_length, length)
        everything = [*zip(names, of_length, strict=True), *([(("all", "all"), together)] if len(names) > 1 else [])]
        rows += [
            LanguageModelScore(
                when=when, dataset=name, language=language or "unknown", n_tokens=length, n_predicted=of.n_tokens,
                loss=of.loss, bits_per_token=of.bits_per_token, bits_per_character=of.bits_per_character,
                loss_by_position=of.loss_by_position(),
            )
            for (name, language), of in everything
        ]  # fmt: skip
    return rows


def _metrics(sums: dict[tuple[int, int], LossSums]) -> dict[str, float]:
    """Of an evaluation during the training: all sources together."""
    together = _merged(list(sums.values()), max(length for _, length in sums))
    found = {"eval_loss": together.loss, "eval_bits_per_token": together.bits_per_token}
    if together.bits_per_character is not None:
        found["eval_bits_per_character"] = together.bits_per_character
    return found


def _merged(sums: list[LossSums], length: int) -> LossSums:
    together = LossSums(length)
    for of_text in sums:
        together.merge(of_text)
    return together


def _whole_model(trainer: PretrainTrainer) -> LongformerForMaskedLM:
    """The trained model with all its parameters in this process (of a sharded one: in the first process only)."""
    accelerator = trainer.accelerator
    model: Any = accelerator.unwrap_model(trainer.model)
    if trainer.is_fsdp_enabled:
        state = accelerator.get_state_dict(trainer.model)
        with torch.device("meta"):
            model = LongformerForMaskedLM(model.config)
        if trainer.is_world_process_zero():
            model.load_state_dict(with_both_biases(state), assign=True)
            model.tie_weights()
    return model


def _save(model: LongformerForMaskedLM, ready: Ready, record: TrainingRecord) -> None:
    if not has_global_tokens(model):  # then they were not trained
        copy_global_projections(model)
    proof = ready.built.proof
    with ready.folder.finish() as finished:
        model.save_pretrained(finished)
        ready.built.tokenizer.save_pretrained(finished)
        copy_modules(ready.recipe.model, finished, ready.built.max_tokens)
        write_record(record, finished / "training.json")
        if proof is not None:
            write_record(proof, finished / "proof.json")
        title = ready.folder.root.name
        card = write_card(model, ready.recipe.model, record, proof, title)
        (finished / "README.md").write_text(card, encoding="utf-8")


def _on_device(model: LongformerForMaskedLM, arguments: TrainingArguments) -> LongformerForMaskedLM:
    moved: Any = model.to(arguments.device)  # pyright: ignore[reportArgumentType] - transformers' annotation of `to`
    return moved


def _processes(trainer: PretrainTrainer) -> dict[str, Any]:
    """How many processes the run had, and what they shared; nothing for one."""
    n = trainer.args.world_size
    kind = trainer.accelerator.distributed_type
    return {"processes": n, "distributed": str(kind.value)} if n > 1 else {}


def _gpu(arguments: TrainingArguments) -> str | None:
    return torch.cuda.get_device_name(arguments.device) if arguments.device.type == "cuda" else None
