"""The model card of a fine-tuned model."""

from collections.abc import Sequence
from typing import Any

import yaml
from transformers import LongformerConfig as StockLongformerConfig
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from longspan.extend.sources import find_facts, public_name
from longspan.models.model_card import separator_warning, stock_warning
from longspan.records import ProofRecord, TrainingRecord


def write_card(
    model: PreTrainedModel,
    source: str,
    record: TrainingRecord,
    proof: ProofRecord | None,
    title: str,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    adapter: Sequence[str] = (),
) -> str:
    """Markdown with tags: what the model was made from, how it was trained, what came out, how to use it.

    `tokenizer` is the model's, `adapter` the lines about the adapter, where the folder holds one instead of a model.
    """
    facts = find_facts(source)
    is_long = isinstance(model.config, StockLongformerConfig)
    tags: dict[str, Any] = {
        "library_name": "longspan" if adapter else "transformers",
        "pipeline_tag": "question-answering",
        "tags": ["longspan", *(["longformer", "long-context"] if is_long else []), *(["lora"] if adapter else [])],
    }
    for key, value in (
        ("base_model", facts.base_model),
        ("license", facts.license),
        ("language", facts.languages),
    ):
        if value:
            tags[key] = value
    evaluated = [log for log in record.steps if "eval_loss" in log.values]
    lines = [
        "---",
        yaml.safe_dump(tags, sort_keys=False, allow_unicode=True).strip(),
        "---",
        "",
        f"# {title}",
        "",
        f"`{public_name(source)}` fine-tuned with longspan to answer questions with a span of the document.",
        "",
    ]
    if is_long:
        lines += [stock_warning(model.config)]  # pyright: ignore[reportArgumentType] - it is a Longformer's
        if separators := separator_warning(type(model).__name__, tokenizer):
            lines += [separators, ""]
    if proof is not None:
        windows = ", ".join(map(str, sorted(set(proof.attention_window))))
        lines += [
            f"Before training, the encoder of {proof.old_max_tokens:,} tokens was extended to {proof.max_tokens:,} "
            f"(attention window {windows}, positions: {proof.positions}); `proof.json` shows what that kept.",
            "",
        ]
    lines += [
        *adapter,
        "## Training",
        "",
        f"{record.n_examples:,} questions, {record.n_features:,} windows, "
        f"{record.n_steps:,} steps, {record.seconds / 60:.1f} minutes; all of it in `training.json`.",
        "",
        "| field | value |",
        "|---|---|",
        *[f"| `{name}` | {cell(value)} |" for name, value in record.recipe.items() if name not in PRIVATE],
        "",
    ]
    if evaluated:
        scores = "; ".join(
            f"{name.removeprefix('eval_').replace('_', ' ')} {evaluated[-1].values[name]:.4g}"
            for name in ("eval_loss", "eval_exact_match", "eval_f1")
            if name in evaluated[-1].values
        )
        lines += [f"On the evaluation data of the recipe, after step {evaluated[-1].step:,}: {scores}.", ""]
    lines += [
        "## Use",
        "",
        "```",
        f'longspan predict {title} --document FILE --question "..."',
        "```",
        "",
    ]
    return "\n".join(lines)


# Where things lie on somebody's disk, and secrets, are nobody's business.
PRIVATE = {"hub_token", "output_dir", "resume_from_checkpoint", "overwrite_output_dir"}


def cell(value: Any) -> str:
    """A field's value in a table; of a folder its own name only."""
    if isinstance(value, list):
        return ", ".join(cell(one) for one in value)
    return public_name(value) if isinstance(value, str) else str(value)
