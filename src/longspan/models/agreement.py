"""Whether a tokenizer, a configuration and weights belong together: every verb that loads a model asks here.

A disagreement with one safe answer is settled by the tokenizer, and said; any other is refused. The texts that a model
reads hold the tokenizer's ids, so that the tokenizer knows best which id is a word and which is padding.
"""

import logging
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from longspan.errors import InputError

logger = logging.getLogger(__name__)

# Families whose position table starts after the padding token's row: rows 0 to pad_token_id are never used, and an id
# that is pad_token_id has no position. In transformers' own code such a table has that row as its `padding_idx`, too.
_POSITIONS_AFTER_PADDING = {
    "camembert",
    "data2vec-text",
    "ibert",
    "layoutlmv3",
    "lilt",
    "longformer",
    "luke",
    "markuplm",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
}
_SPECIAL_IDS = ("bos_token_id", "eos_token_id", "sep_token_id", "cls_token_id", "mask_token_id")
_PADDING_PIECES = {"[pad]", "<pad>", "<|pad|>"}
# A tokenizer without a longest input of its own gives a number far above this one.
_NO_LENGTH = 10**9

# Tokenizer -> its number of pieces and highest id; a vocabulary of 250,000 pieces takes a third of a second to look at.
_highest_ids: WeakKeyDictionary[Any, tuple[int, int]] = WeakKeyDictionary()


def max_tokens_of(model: PreTrainedModel) -> int | None:
    """The longest input `model` takes: its position rows less the reserved ones; None where it has no such limit."""
    positions = getattr(model.config, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions <= 0:
        return None
    if _counts_from_padding(model):
        pad_token_id = getattr(model.config, "pad_token_id", None)
        return positions - (1 if pad_token_id is None else pad_token_id) - 1
    return positions


def require_agreement(name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise an InputError unless `model` has a row for every id and token type that `tokenizer` makes.

    More rows than pieces are fine: many models have rows to spare. Token types beyond a model that has only one are
    fine, too: they are left out (`settle`).

    Args:
        name: of the model, for the message.
        model: with any head or none.
        tokenizer: fast or slow.
    """
    n_rows = _word_rows(model)
    highest = _highest_id(tokenizer)
    if n_rows is not None and highest >= n_rows:
        piece = tokenizer.convert_ids_to_tokens(highest)
        raise InputError(
            f"the tokenizer of {name} has {highest + 1:,} pieces, the model {n_rows:,} rows for them (the last piece "
            f"is {piece!r}, id {highest}); they don't belong together, or the model needs resize_token_embeddings"
        )
    n_types = _type_rows(model)
    if n_types > 1 and (highest := max(_highest_type(tokenizer), tokenizer.pad_token_type_id)) >= n_types:
        raise InputError(
            f"the tokenizer of {name} makes token types up to {highest}, the model has {n_types} "
            "(type_vocab_size); they don't belong together"
        )
    named = getattr(model.config, "max_position_embeddings", 0)
    for table in _position_tables(model):
        if isinstance(named, int) and table.num_embeddings < named:
            raise InputError(
                f"{name} has {table.num_embeddings:,} position rows, and its configuration names {named:,} "
                "(max_position_embeddings); they don't belong together"
            )
    limit = max_tokens_of(model)
    if limit is not None and limit < 1:
        raise InputError(
            f"{name} has {model.config.max_position_embeddings} position rows, and pad_token_id "
            f"{model.config.pad_token_id} reserves all of them; correct config.json"
        )


def settle(
    name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, notes: list[str] | None = None
) -> None:
    """Make a loaded model's configuration and its tokenizer agree, both in place.

    Args:
        name: of the model, for messages.
        model: as loaded.
        tokenizer: loaded beside it.
        notes: gets what was set right and what to know; logged as warnings where None.

    Raises:
        InputError: they cannot belong together (`require_agreement`).
    """
    require_agreement(name, model, tokenizer)
    config: Any = model.config
    found: list[str] = []
    if _counts_from_padding(model):
        found += padding_notes(config.pad_token_id, tokenizer)
        if config.model_type == "longformer" and _is_text(tokenizer, config.pad_token_id):
            found.append("if an older longspan made this Longformer of a BERT, make it again: `longspan extend`")
    else:
        _settle_padding(model, tokenizer, found)
    for key, value in special_ids(config, tokenizer, found).items():
        setattr(config, key, value)
    fit_token_types(tokenizer, _type_rows(model), found)
    limit = max_tokens_of(model)
    if limit is not None and limit < tokenizer.model_max_length < _NO_LENGTH:
        found.append(
            f"the tokenizer's model_max_length was {tokenizer.model_max_length:,}, but the model takes {limit:,} "
            "tokens; it is that now"
        )
        set_max_length(tokenizer, limit)
    if notes is not None:
        notes += found
        return
    for note in found:
        logger.warning("%s: %s", name, note)


def require_special_tokens(name: str, tokenizer: PreTrainedTokenizerBase, roles: Sequence[str]) -> None:
    """Raise an InputError unless `tokenizer` has a token for each of `roles` ("pad", "mask", ...)."""
    for role in roles:
        if getattr(tokenizer, f"{role}_token_id") is None:
            called = {"pad": "padding"}.get(role, role)
            raise InputError(
                f"the tokenizer of {name} has no {called} token; name the piece that it is and save the tokenizer: "
                f'tokenizer.add_special_tokens({{"{role}_token": "<{role}>"}})'
            )


def choose_padding_id(config: Any, tokenizer: PreTrainedTokenizerBase | None, notes: list[str]) -> int:
    """The padding id of a Longformer that is made of a model whose own positions do not depend on it (BERT).

    A Longformer counts no position for this id, so it must not stand for any part of a text: the tokenizer's padding
    token; or the configuration's id, where the tokenizer has no padding token of its own and the id is no word.

    Args:
        config: of the short model.
        tokenizer: its tokenizer; the configuration is trusted where None.
        notes: gets what was chosen against the configuration.

    Raises:
        InputError: neither of the two can be taken.
    """
    if tokenizer is None:
        return config.pad_token_id
    own = padding_of_texts(tokenizer)
    if own is not None:
        if own != config.pad_token_id:
            notes.append(
                f"the configuration's pad_token_id was {_named(tokenizer, config.pad_token_id)}; the tokenizer pads "
                f"with {_named(tokenizer, own)}, which is the new model's pad_token_id"
            )
        return own
    what = "has no padding token"
    if tokenizer.pad_token_id is not None:
        what = f"pads with {_named(tokenizer, tokenizer.pad_token_id)}, which has another role too"
    if not isinstance(config.pad_token_id, int) or _is_text(tokenizer, config.pad_token_id):
        raise InputError(
            f"the tokenizer {what}, and the configuration's pad_token_id {_named(tokenizer, config.pad_token_id)} is "
            "no padding either; a Longformer counts positions by the padding token, so it needs one of its own: "
            'tokenizer.add_special_tokens({"pad_token": "[PAD]"}), then model.resize_token_embeddings(len(tokenizer))'
        )
    notes.append(f"the tokenizer {what}; the configuration's pad_token_id {config.pad_token_id} is kept")
    return config.pad_token_id


def padding_of_texts(tokenizer: PreTrainedTokenizerBase | None) -> int | None:
    """The id that `tokenizer` pads with and no text has; None where it has none of that kind."""
    own: Any = None if tokenizer is None else tokenizer.pad_token_id
    return None if tokenizer is None or own in _ids_of_roles(tokenizer) else own


def padding_notes(pad_token_id: int | None, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """What to know of a model that counts positions by `pad_token_id`, where its tokenizer pads with another id.

    Its position rows were trained that way, so the id stays.
    """
    own: Any = tokenizer.pad_token_id
    if not isinstance(pad_token_id, int):
        return []
    if _is_text(tokenizer, pad_token_id):
        pads = "has no padding token" if own is None else f"pads with {_named(tokenizer, own)}"
        return [
            f"pad_token_id is {_named(tokenizer, pad_token_id)} in the tokenizer, which {pads}: the model counts no "
            "position for that piece, wherever it stands in a text"
        ]
    if own is not None and own != pad_token_id:
        return [
            f"the tokenizer pads with {_named(tokenizer, own)} and the model counts positions by pad_token_id "
            f"{pad_token_id}: pad on the right only, with an attention_mask"
        ]
    return []


def special_ids(
    config: Any, tokenizer: PreTrainedTokenizerBase, notes: list[str], keys: Sequence[str] = _SPECIAL_IDS
) -> dict[str, int]:
    """Configuration key -> the tokenizer's id, of those `keys` for which `config` has another id.

    A Longformer without a separator gets the tokenizer's: it finds the question by it.
    """
    found: dict[str, int] = {}
    for key in keys:
        own, other = getattr(config, key, None), getattr(tokenizer, key)
        is_needed = key == "sep_token_id" and config.model_type == "longformer"
        if isinstance(other, int) and own != other and (isinstance(own, int) or is_needed):
            found[key] = other
            notes.append(f"the configuration's {key} was {own}; it is the tokenizer's now, {_named(tokenizer, other)}")
    return found


def fit_token_types(tokenizer: PreTrainedTokenizerBase, n_types: int, notes: list[str]) -> None:
    """Let `tokenizer` leave token types out by default where it makes several and the model has one."""
    if n_types == 1 and "token_type_ids" in tokenizer.model_input_names and _highest_type(tokenizer) > 0:
        names = [name for name in tokenizer.model_input_names if name != "token_type_ids"]
        tokenizer.model_input_names = tokenizer.init_kwargs["model_input_names"] = names
        notes.append("the model has one token type and the tokenizer makes more: it leaves them out now")


def set_max_length(tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> None:
    """Make `tokenizer` one for inputs of `max_tokens`, also when it is saved."""
    tokenizer.model_max_length = tokenizer.init_kwargs["model_max_length"] = max_tokens


def _settle_padding(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, notes: list[str]) -> None:
    """The tokenizer's padding id in a model that does not count by it: there it is the row without a gradient."""
    config: Any = model.config
    old, own = getattr(config, "pad_token_id", None), padding_of_texts(tokenizer)
    if not isinstance(old, int) or own is None or own == old:
        return
    notes.append(
        f"the configuration's pad_token_id was {_named(tokenizer, old)}; it is the tokenizer's now, "
        f"{_named(tokenizer, own)}"
    )
    config.pad_token_id = own
    table: Any = model.get_input_embeddings()
    if isinstance(table, nn.Embedding) and table.padding_idx == old:
        table.padding_idx = own


def _counts_from_padding(model: PreTrainedModel) -> bool:
    """Whether positions depend on where the padding id stands."""
    if model.config.model_type in _POSITIONS_AFTER_PADDING:
        return True
    return any(table.padding_idx is not None for table in _position_tables(model))


def _position_tables(model: PreTrainedModel) -> list[nn.Embedding]:
    return [
        module
        for name, module in model.named_modules()
        if name.rpartition(".")[2] == "position_embeddings" and isinstance(module, nn.Embedding)
    ]


def _word_rows(model: PreTrainedModel) -> int | None:
    """Rows of the table of pieces; None for a family without one (CANINE hashes characters)."""
    try:
        table: Any = model.get_input_embeddings()
    except NotImplementedError:
        return None
    weight = getattr(table, "weight", None)
    return None if weight is None or weight.ndim != 2 else int(weight.shape[0])


def _type_rows(model: PreTrainedModel) -> int:
    """How many token types the configuration has; 0 where the family has none."""
    return getattr(model.config, "type_vocab_size", 0) or 0


def _highest_id(tokenizer: PreTrainedTokenizerBase) -> int:
    n_pieces = len(tokenizer)
    known = _highest_ids.get(tokenizer)
    if known is None or known[0] != n_pieces:
        # Not the number of pieces: a vocabulary may leave ids out.
        known = _highest_ids[tokenizer] = (n_pieces, max(tokenizer.get_vocab().values(), default=-1))
    return known[1]


def _highest_type(tokenizer: PreTrainedTokenizerBase) -> int:
    """The highest token type that `tokenizer` makes in a pair of texts."""
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:  # asked without setting its truncation and padding
        types: Any = backend.encode("a", "a").type_ids
    else:
        types = tokenizer("a", "a", return_token_type_ids=True).get("token_type_ids")
    return max(types or [0])


def _ids_of_roles(tokenizer: PreTrainedTokenizerBase) -> set[Any]:
    """Ids of all special tokens that stand in texts: all but padding."""
    return {getattr(tokenizer, key) for key in (*_SPECIAL_IDS, "unk_token_id")} - {None}


def _is_text(tokenizer: PreTrainedTokenizerBase, piece_id: int) -> bool:
    """Whether `piece_id` may stand in a text, as a word, an unknown one or a special token around it."""
    if piece_id in _ids_of_roles(tokenizer):
        return True
    if piece_id == tokenizer.pad_token_id or not 0 <= piece_id <= _highest_id(tokenizer):
        return False
    piece: Any = tokenizer.convert_ids_to_tokens(piece_id)
    added = tokenizer.added_tokens_decoder.get(piece_id)
    is_special = added is not None and added.special
    return piece is not None and not is_special and piece.lower() not in _PADDING_PIECES


def _named(tokenizer: PreTrainedTokenizerBase, piece_id: Any) -> str:
    """An id with its piece, for a sentence."""
    if not isinstance(piece_id, int) or not 0 <= piece_id <= _highest_id(tokenizer):
        return str(piece_id)
    return f"{piece_id} ({tokenizer.convert_ids_to_tokens(piece_id)})"
