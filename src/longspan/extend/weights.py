"""Builds the Longformer's weights: renamed source weights, the long position table, the global projections."""

from fnmatch import fnmatchcase

import torch
from torch import Tensor
from transformers import PreTrainedModel

from longspan.errors import InputError
from longspan.extend.families import Family, Kind
from longspan.extend.positions import Positions, extend_positions
from longspan.models import LongformerConfig
from longspan.models.heads import HEADS

LEFT_BEHIND = "left behind"
"""First words of a note about weights that are not carried over."""

_POSITION_ROWS = "longformer.embeddings.position_embeddings.weight"
_TOKEN_TYPE_ROWS = "longformer.embeddings.token_type_embeddings.weight"


def make_longformer(
    source: PreTrainedModel,
    family: Family,
    kind: Kind,
    config: LongformerConfig,
    *,
    max_tokens: int,
    positions: Positions,
    generator: torch.Generator,
    share: bool,
    notes: list[str],
) -> PreTrainedModel:
    """Build the longspan model of `kind` with the weights of `source`, in eval mode.

    Weights that are left behind are added to `notes`. With `share` the model uses the source's storage, otherwise
    copies.

    Raises:
        InputError: the source has a parameter that no Longformer has, lacks a parameter, or has a parameter of another
            shape than its configuration says.
    """
    weights = _carry_weights(source, family, kind, notes, share=share)
    _replace_rows(weights, family, config, max_tokens, positions, generator)
    _fill_in(weights, kind)
    if kind == "base":
        weights = {name.removeprefix("longformer."): tensor for name, tensor in weights.items()}
        if "pooler.dense.weight" not in weights:
            notes.append("the source has no pooler, so neither has the extended model")
    return _build(kind, config, weights)


def _carry_weights(
    source: PreTrainedModel, family: Family, kind: Kind, notes: list[str], *, share: bool
) -> dict[str, Tensor]:
    """Return the source's parameters under the Longformer's names; with `share` without copying them.

    Weights that are left behind are added to `notes`.
    """
    names = family.names(kind)
    left_behind = {**family.left_behind, f"{family.base}.pooler.*": "the pooler, which this head does not use"}
    has_pooler = HEADS[kind].has_pooler
    prefix = "" if hasattr(source, family.base) else f"{family.base}."
    weights: dict[str, Tensor] = {}
    clones: dict[tuple[int, torch.Size], Tensor] = {}
    for name, tensor in source.state_dict().items():
        new_name = names.to_longformer(prefix + name)
        if new_name is None or (new_name.startswith("longformer.pooler.") and not has_pooler):
            why = next((why for template, why in left_behind.items() if fnmatchcase(prefix + name, template)), None)
            if why is None:
                raise InputError(
                    f"{type(source).__name__} has a parameter {name} of shape {tuple(tensor.shape)} that longspan's "
                    f"map of {family.name} does not know; extend its encoder alone"
                )
            if (note := f"{LEFT_BEHIND}: {why}") not in notes:
                notes.append(note)
            continue
        # Tied parameters stay one tensor and are copied once.
        tensor = tensor.detach()  # noqa: PLW2901
        place = (tensor.data_ptr(), tensor.shape)
        if not share and place not in clones:
            clones[place] = tensor.clone()
        weights[new_name] = tensor if share else clones[place]
    return weights


def _replace_rows(
    weights: dict[str, Tensor],
    family: Family,
    config: LongformerConfig,
    max_tokens: int,
    positions: Positions,
    generator: torch.Generator,
) -> None:
    """Replace the position table by the long one, and add rows of token types if the family has none."""
    rows = weights[_POSITION_ROWS]
    assert config.pad_token_id is not None, "make_config chose it"
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
    """Add the global projections, and the output bias under its second name."""
    if kind == "masked_lm":
        bias = weights.get("lm_head.decoder.bias", weights.get("lm_head.bias"))
        assert bias is not None, "every family's head has an output bias"
        weights["lm_head.bias"] = weights["lm_head.decoder.bias"] = bias
    for name in [name for name in weights if ".attention.self." in name]:
        place, projection, part = name.rsplit(".", 2)
        weights[f"{place}.{projection}_global.{part}"] = weights[name].clone()


def _build(kind: Kind, config: LongformerConfig, weights: dict[str, Tensor]) -> PreTrainedModel:
    """Build a longspan model from `weights`, without initialising parameters first."""
    has_no_pooler = kind == "base" and "pooler.dense.weight" not in weights
    options = {"add_pooling_layer": False} if has_no_pooler else {}
    with torch.device("meta"):
        model = HEADS[kind].load()(config, **options)
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
