"""Makes the Longformer's configuration from the source's."""

import copy
from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from longspan.errors import InputError
from longspan.extend.families import Family, Kind, refuse
from longspan.models import LongformerConfig
from longspan.models.agreement import choose_padding_id, padding_notes, special_ids
from longspan.models.config import attention_windows

# Configuration keys that mean the same in every family and in the Longformer.
_CARRIED_KEYS = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "type_vocab_size",
    "initializer_range",
    "layer_norm_eps",
    "bos_token_id",
    "eos_token_id",
    "tie_word_embeddings",
    "problem_type",
)


def count_positions(config: Any, family: Family) -> int:
    """Longest input, in tokens, of a model with this configuration."""
    reserved = config.pad_token_id + 1 if family.reserves_rows else 0
    return config.max_position_embeddings - reserved


def require_max_tokens(max_tokens: int, old_max_tokens: int) -> None:
    """Raise an InputError unless `max_tokens` is a whole number and not below the old maximum."""
    if isinstance(max_tokens, bool) or not isinstance(max_tokens, int):
        raise InputError(f"max_tokens must be a whole number, not {max_tokens!r}")
    if max_tokens < old_max_tokens:
        raise InputError(
            f"max_tokens is {max_tokens}, below the {old_max_tokens} tokens that the model takes already; "
            f"give at least {old_max_tokens}"
        )


def make_config(
    old: Any,
    family: Family,
    kind: Kind,
    tokenizer: PreTrainedTokenizerBase | None,
    max_tokens: int,
    attention_window: int | Sequence[int],
    notes: list[str],
) -> LongformerConfig:
    """Make the Longformer's configuration; settings that it cannot express are added to `notes`.

    The ids of special tokens are the tokenizer's. The padding id stays if the family counts positions by it, as a
    Longformer does, because the position rows were trained with it.

    Raises:
        InputError: the head cannot be extended, a window is odd or not above 0, the number of windows is not that of
            the layers, or no token id can serve as padding id.
    """
    head = family.require_head(kind)
    values: dict[str, Any] = {}
    for key in _CARRIED_KEYS:
        values[key] = family.fixed[key] if key in family.fixed else getattr(old, family.renamed.get(key, key))
    if head.follows_hidden_act and values["hidden_act"] != "gelu":
        raise refuse(
            f"this {family.name} with its masked-language-model head",
            f"the head uses {values['hidden_act']}, the Longformer's uses gelu (extend the encoder alone)",
        )
    own_dropout = getattr(old, head.dropout, None) if head.dropout else None
    if own_dropout is not None and own_dropout != values["hidden_dropout_prob"]:
        notes.append(
            f"{head.dropout} was {own_dropout}; a Longformer's head drops as its layers do, "
            f"{values['hidden_dropout_prob']} (this matters in training only)"
        )
    if head.activation != "tanh":
        values["classifier_activation"] = head.activation
    if family.reserves_rows:
        values["pad_token_id"] = old.pad_token_id
        notes += padding_notes(old.pad_token_id, tokenizer) if tokenizer is not None else []
    else:
        values["pad_token_id"] = choose_padding_id(old, tokenizer, notes)
    sep: Any = None
    if tokenizer is not None:
        values |= special_ids(old, tokenizer, notes, ("bos_token_id", "eos_token_id"))
        sep = tokenizer.eos_token_id if tokenizer.sep_token_id is None else tokenizer.sep_token_id
    if sep is None:
        sep = getattr(old, "sep_token_id", None)
    if sep is None and family.reserves_rows:
        sep = old.eos_token_id
    if sep is None:
        notes.append(
            "sep_token_id is unknown without a tokenizer; set config.sep_token_id before using automatic global "
            "attention for question answering"
        )
    return LongformerConfig(
        **values,
        sep_token_id=sep,
        attention_window=list(attention_windows(attention_window, values["num_hidden_layers"])),
        max_position_embeddings=max_tokens + values["pad_token_id"] + 1,
        id2label=copy.copy(old.id2label),
        label2id=copy.copy(old.label2id),
    )
