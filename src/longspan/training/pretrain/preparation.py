"""Everything of a pre-training run that comes before its first step: arguments, model, text."""

import os

from transformers import TrainingArguments

from longspan.data.corpora import Corpus
from longspan.data.corpora.sources import find_files, is_hub, parse_sources
from longspan.data.masking import Masker
from longspan.errors import InputError
from longspan.tasks.masked_lm.scoring import hold_out
from longspan.training.pretrain.data import TrainingStream, load_corpora, make_blocks
from longspan.training.pretrain.evaluation import HeldOutEvaluation
from longspan.training.pretrain.folder import PretrainFolder, pretrain_identity
from longspan.training.pretrain.model import build_masked_lm, keep_one_bias
from longspan.training.pretrain.recipe import PretrainRecipe
from longspan.training.pretrain.run import PretrainRun
from longspan.training.recipe.trainer_arguments import make_arguments, precision_of, require_windows, rows_of_step
from longspan.training.run.plan_lines import output_line, trained_share

_BREAK_RESUME = {
    "save_only_model": "a run cannot be resumed from checkpoints without the optimiser's moments",
    "ignore_data_skip": "text would be read again from its beginning",
    "auto_find_batch_size": "the rows of a step would change during the run",
}


def prepare_pretraining(recipe: PretrainRecipe, folder: PretrainFolder, arguments: TrainingArguments) -> PretrainRun:
    """Check and load model and text; nothing but the cache of the text is written.

    Raises:
        InputError: the recipe's options, data or model do not fit.
    """
    built = build_masked_lm(recipe)
    if _is_sharded(recipe):
        keep_one_bias(built.model)
    max_length = built.max_tokens if recipe.max_length is None else recipe.max_length
    if max_length > built.max_tokens:
        raise InputError(f"max_length is {max_length}, but the model takes {built.max_tokens} tokens; lower it")
    lengths = eval_lengths(recipe, max_length)
    options = {"probability": recipe.mask_probability, "whole_words": recipe.whole_words, "seed": recipe.seed}
    masker = Masker(built.tokenizer, **options)
    with arguments.main_process_first(desc="tokenising"):
        corpus, evaluation = load_corpora(recipe, built.tokenizer, progress=not arguments.disable_tqdm)
    blocks = make_blocks(recipe, corpus, max_length)
    rows = rows_of_step(arguments)
    if arguments.max_steps <= 0:
        arguments.max_steps = max(1, -(-int(arguments.num_train_epochs * len(blocks)) // rows))
    arguments.num_train_epochs = 1  # the stream holds as many rows as there are steps
    stream = TrainingStream(
        blocks,
        masker,
        arguments.max_steps * rows,
        first_position=built.model.longformer.embeddings.padding_idx + 1,
    )
    asker = Masker(built.tokenizer, **options, purpose="evaluation")
    texts = [
        text
        for some in evaluation
        for text in hold_out(some, asker, max_tokens=lengths[-1], max_blocks=recipe.max_eval_blocks)
    ]
    return PretrainRun(
        recipe=recipe,
        arguments=arguments,
        body=built.model,
        tokenizer=built.tokenizer,
        proof=built.proof,
        identity=pretrain_identity(recipe, arguments, built, corpus, max_length),
        data=_hashes(corpus, evaluation),
        folder=folder,
        n_old_rows=built.n_old_rows,
        max_tokens=built.max_tokens,
        max_length=max_length,
        corpus=corpus,
        blocks=blocks,
        stream=stream,
        evaluation=HeldOutEvaluation(texts, lengths, built.tokenizer, arguments),
    )


def _hashes(corpus: Corpus, evaluation: list[Corpus]) -> dict[str, str]:
    """Name -> SHA-256 of the text of all sources. Held-out documents come from files that are also trained on."""
    data = corpus.data
    for some in evaluation:
        for name, sha256 in some.data.items():
            is_new = data.setdefault(name, sha256) != sha256
            data |= {f"{name} (evaluation)": sha256} if is_new else {}
    return data


def make_pretrain_arguments(recipe: PretrainRecipe, folder: PretrainFolder) -> TrainingArguments:
    """The Trainer's arguments, with the accumulation that `rows_per_step` asks for.

    Raises:
        InputError: transformers refuses a value, or the fields contradict each other.
    """
    evaluates = bool(recipe.eval_data or recipe.held_out)
    for name in ("load_best_model_at_end", "metric_for_best_model", "group_by_length"):
        if recipe.training.get(name):
            raise InputError(f"{recipe.name}: pre-training keeps the last model; remove {name}")
    for name, why in _BREAK_RESUME.items():
        if recipe.training.get(name):
            raise InputError(
                f"{recipe.name}: a pre-training run must resume as if it had not stopped, and {why}; remove {name}"
            )
    for name in ("eval_strategy", "save_strategy", "logging_strategy"):
        if recipe.training.get(name) in ("epoch", "best"):
            raise InputError(f"{recipe.name}: pre-training counts steps, not epochs; {name} must be steps or no")
    if recipe.trained == "positions" and _is_sharded(recipe):
        raise InputError(f"{recipe.name}: trained: positions needs whole parameters; run without FSDP")
    # Every parameter is used (`build_masked_lm`), so DDP need not search for unused ones at every step.
    require_windows(recipe)
    arguments = make_arguments(
        recipe,
        folder.checkpoints,
        evaluates=evaluates,
        metrics=("loss", "bits_per_token", "bits_per_character"),
        save_total_limit=3,
        ddp_find_unused_parameters=False,
    )
    if recipe.rows_per_step is not None:
        if "gradient_accumulation_steps" in recipe.training:
            raise InputError(f"{recipe.name}: rows_per_step sets gradient_accumulation_steps; remove one of them")
        at_once = arguments.train_batch_size * max(1, arguments.world_size)
        if recipe.rows_per_step % at_once:
            raise InputError(
                f"{recipe.name}: rows_per_step is {recipe.rows_per_step}, which is no multiple of the {at_once} "
                f"rows that all devices take at once (per_device_train_batch_size {arguments.train_batch_size})"
            )
        arguments.gradient_accumulation_steps = recipe.rows_per_step // at_once
    return arguments


def _is_sharded(recipe: PretrainRecipe) -> bool:
    """Whether the recipe, or accelerate's launcher, asks for FSDP."""
    by_accelerate = os.environ.get("ACCELERATE_USE_FSDP", "").lower() in ("1", "true", "yes")
    return bool(recipe.training.get("fsdp")) or by_accelerate


def eval_lengths(recipe: PretrainRecipe, max_length: int) -> list[int]:
    """Tokens of context to evaluate at, ascending.

    Raises:
        InputError: one of them is longer than what is trained on.
    """
    if recipe.eval_lengths:
        lengths = sorted(set(recipe.eval_lengths))
        if lengths[-1] > max_length or lengths[0] < 8:
            raise InputError(f"eval_lengths {lengths} must lie between 8 and max_length {max_length}")
        return lengths
    lengths = [length for k in range(9, 30) if (length := 2**k) < max_length]
    return [*lengths, max_length]


def plan_pretraining(recipe: PretrainRecipe) -> dict[str, str]:
    """Describe what `pretrain(recipe)` would do; the files of the text are found but not read.

    Raises:
        InputError: the output folder, an option, a source's name or the model does not fit.
    """
    folder = PretrainFolder(recipe)
    arguments = make_pretrain_arguments(recipe, folder)
    resume_from = folder.check()
    sources = {"text": parse_sources(recipe.train_data)}
    if recipe.eval_data:
        sources["evaluation"] = parse_sources(recipe.eval_data)
    lines = {"recipe": recipe.name}
    for name, of_name in sources.items():
        n_bytes = sum(file.path.stat().st_size for one in of_name if not is_hub(one) for file in find_files(one)[0])
        lines[name] = f"{', '.join(one.label for one in of_name)} ({n_bytes / 1e6:,.1f} MB of files)"
    built = build_masked_lm(recipe.model_copy(update={"proof": "none"}))
    max_length = recipe.max_length or built.max_tokens
    lines["model"] = (
        f"LongformerForMaskedLM from {recipe.model}, {built.max_tokens:,} tokens, "
        f"{trained_share(built.model)}"
        + (", of these the new position rows only" if recipe.trained == "positions" else "")
    )
    what = "whole words" if recipe.whole_words else "tokens"
    lines["masking"] = f"{recipe.mask_probability:.0%} of the {what}; {recipe.layout} blocks of {max_length:,} tokens"
    rows = rows_of_step(arguments)
    length = f"{arguments.max_steps:,} steps" if arguments.max_steps > 0 else f"{arguments.num_train_epochs:g} epochs"
    lines["training"] = (
        f"{length} of {rows} blocks ({rows * max_length:,} tokens), learning rate {arguments.learning_rate:g}, "
        f"{precision_of(arguments)}, on {arguments.device}, seed {recipe.seed}"
    )
    lines["evaluation at"] = ", ".join(f"{length:,}" for length in eval_lengths(recipe, max_length)) + " tokens"
    lines["output"] = output_line(recipe, resume_from)
    return lines
