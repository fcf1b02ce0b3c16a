"""The model card of a fine-tuned model."""

from collections.abc import Sequence

from transformers import LongformerConfig as StockLongformerConfig
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from longspan.extend.card import LONG_TAGS, card_header
from longspan.extend.sources import public_name
from longspan.models.heads import HEADS
from longspan.models.model_card import separator_warning, stock_warning
from longspan.records import ProofRecord, TrainingRecord
from longspan.tasks.task import FineTuningTask
from longspan.training.run.card import extension_sentence, training_section


def finetuning_card(
    task: FineTuningTask,
    model: PreTrainedModel,
    source: str,
    record: TrainingRecord,
    proof: ProofRecord | None,
    title: str,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    adapter: Sequence[str] = (),
) -> str:
    """Markdown with tags: the model's source, its training, its scores and its use.

    `tokenizer` is the model's, `adapter` the section on the adapter, if the folder holds one instead of a model.
    """
    is_long = isinstance(model.config, StockLongformerConfig)
    header = card_header(
        title,
        source,
        pipeline_tag=HEADS[task.head].pipeline_tag,
        tags=[*(LONG_TAGS if is_long else LONG_TAGS[:1]), *(["lora"] if adapter else [])],
        library_name="longspan" if adapter else "transformers",
    )
    evaluated = [log for log in record.steps if "eval_loss" in log.values]
    lines = [
        *header,
        f"`{public_name(source)}` fine-tuned with longspan for {task.title}.",
        "",
    ]
    if is_long:
        lines += [stock_warning(model.config)]  # pyright: ignore[reportArgumentType] - it is a Longformer's
        if separators := separator_warning(type(model).__name__, tokenizer):
            lines += [separators, ""]
    if proof is not None:
        lines += [f"Before training, {extension_sentence(proof)}", ""]
    amount = f"{record.n_examples:,} {task.item_noun}s, {record.n_features:,} rows"
    lines += [*adapter, *training_section(record, amount)]
    if evaluated:
        scores = "; ".join(
            f"{name.removeprefix('eval_').replace('_', ' ')} {evaluated[-1].values[name]:.4g}"
            for name in ("eval_loss", *(f"eval_{name}" for name in task.training_metrics))
            if name in evaluated[-1].values
        )
        lines += [f"On the evaluation data of the recipe, after step {evaluated[-1].step:,}: {scores}.", ""]
    lines += [
        "## Use",
        "",
        "```",
        f"longspan predict {title} --document FILE{task.predict_example}",
        "```",
        "",
    ]
    return "\n".join(lines)
