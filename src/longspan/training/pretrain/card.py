"""The model card of a pre-trained model."""

from typing import Any

from transformers import PreTrainedModel

from longspan.extend.card import LONG_TAGS, card_header
from longspan.extend.sources import public_name
from longspan.models.heads import HEADS
from longspan.models.model_card import stock_warning
from longspan.records import LanguageModelScore, ProofRecord, TrainingRecord
from longspan.training.run.card import extension_sentence, training_section


def pretraining_card(
    model: PreTrainedModel, source: str, record: TrainingRecord, proof: ProofRecord | None, title: str
) -> str:
    """Markdown with tags: the model's source, its training, its scores before and after, and its use."""
    config: Any = model.config
    warning = stock_warning(config)
    lines = [
        *card_header(title, source, pipeline_tag=HEADS["masked_lm"].pipeline_tag, tags=LONG_TAGS),
        f"`{public_name(source)}`, pre-trained further on long text with longspan: masked language modelling over "
        f"{record.counts.get('tokens_seen', 0):,} tokens.",
        "",
        *([warning] if warning else []),
    ]
    if proof is not None:
        lines += [
            f"Before that, {extension_sentence(proof)} After it, the projections of global tokens were copied from the "
            "local ones again: no token was global meanwhile.",
            "",
        ]
    lines += [
        *training_section(record, f"{record.n_examples:,} documents, {record.n_features:,} blocks"),
        *_scores(record.language_model),
        "## Use",
        "",
        "```python",
        "from longspan import LongformerForMaskedLM",
        "from transformers import AutoTokenizer",
        "",
        f'model = LongformerForMaskedLM.from_pretrained("{title}")',
        f'tokenizer = AutoTokenizer.from_pretrained("{title}")',
        "```",
        "",
        f"`longspan finetune RECIPE --model {title}` fine-tunes it on a task.",
        "",
    ]
    return "\n".join(lines)


def _scores(scores: list[LanguageModelScore]) -> list[str]:
    """Bits per token before and after, for each source and length of context."""
    if not scores:
        return []
    places = list(dict.fromkeys((score.dataset, score.n_tokens) for score in scores))
    of = {(score.dataset, score.n_tokens, score.when): score for score in scores}
    lines = [
        "## Masked tokens of held-out text",
        "",
        "Bits per token (loss / ln 2); the same tokens are masked at every length of context.",
        "",
        "| text | tokens of context | before | after |",
        "|---|---|---|---|",
    ]
    for dataset, n_tokens in places:
        cells = []
        for when in ("initial", "final"):
            score = of.get((dataset, n_tokens, when))
            cells.append("" if score is None else f"{score.bits_per_token:.3f}")
        lines.append(f"| {public_name(dataset)} | {n_tokens:,} | {' | '.join(cells)} |")
    return [*lines, ""]
