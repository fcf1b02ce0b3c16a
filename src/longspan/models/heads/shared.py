"""What several task heads share: which tokens they make global where the caller names none, and their outputs.

A configuration with `global_attention_size` names its global tokens already: then the heads add none.

B batch rows  T tokens  G global slots
"""

from typing import Any, TypeVar

import torch
import transformers
from torch import Tensor
from transformers.utils import ModelOutput, logging

from longspan.attention import GlobalSlots
from longspan.errors import InputError
from longspan.models.inputs import value_or_config

logger = logging.get_logger(__name__)

Output = TypeVar("Output", bound=ModelOutput)


def refuse_documents(head: str, inputs: dict[str, Any]) -> None:
    """Raise if the inputs of a head hold `document_ids`: the head has one answer per row, not per document.

    Raises:
        InputError: they do.
    """
    if inputs.get("document_ids") is not None:
        raise InputError(f"{head} has one answer a row, so document_ids mean nothing to it; give each document a row")


def names_global_tokens(config: transformers.LongformerConfig) -> bool:
    """Whether the configuration makes tokens global, so that the head makes none."""
    return getattr(config, "global_attention_size", 0) > 0


def first_token_slots(
    input_ids: Tensor | None, inputs_embeds: Tensor | None, attention_mask: Tensor | None
) -> GlobalSlots | None:
    """One slot per row: its first token that is not padding. It does not wait for the device.

    None if the inputs have a shape that the model refuses.
    """
    inputs = input_ids if input_ids is not None else inputs_embeds
    if inputs is None or inputs.dim() < 2 or (attention_mask is not None and attention_mask.dim() != 2):
        return None
    if attention_mask is None:
        return GlobalSlots.first(1, torch.ones(inputs.shape[:2], dtype=torch.bool, device=inputs.device))
    return GlobalSlots.first_tokens(1, attention_mask > 0)


def before_first_separator(input_ids: Tensor, sep_token_id: int | None) -> Tensor:
    """True for the tokens of each row before its first separator, the question of a pair, bool [B, T].

    A row without separator gets no global token, and one warning is logged.
    """
    is_separator_BT, has_one_B = _separators(input_ids, sep_token_id)
    return (is_separator_BT.cumsum(dim=1) == 0) & has_one_B[:, None]


def after_first_separators(input_ids: Tensor, sep_token_id: int | None) -> Tensor:
    """True for the tokens of each row after its first run of separators, the second text of a pair, bool [B, T].

    A row without separator gets no global token, and one warning is logged.
    """
    is_separator_BT, has_one_B = _separators(input_ids, sep_token_id)
    is_past_BT = is_separator_BT.cumsum(dim=1) > 0
    # The second text begins with the first token after a separator that is no separator.
    begins_BT = is_past_BT & ~is_separator_BT
    return (begins_BT.cumsum(dim=1) > 0) & has_one_B[:, None]


def _separators(input_ids: Tensor, sep_token_id: int | None) -> tuple[Tensor, Tensor]:
    if input_ids.dim() != 2:
        raise InputError(f"input_ids must have shape (rows, tokens), not {tuple(input_ids.shape)}")
    is_separator_BT = torch.zeros_like(input_ids, dtype=torch.bool)
    if sep_token_id is not None:
        is_separator_BT = input_ids == sep_token_id
    has_one_B = is_separator_BT.any(dim=1)
    if not torch.compiler.is_compiling() and not bool(has_one_B.all()):
        logger.warning_once(
            f"a row has no separator token (config.sep_token_id is {sep_token_id}), so no token of it was made global; "
            "pass global_attention_mask to choose them yourself"
        )
    return is_separator_BT, has_one_B


def with_encoder_outputs(
    output: Output, encoded: ModelOutput, return_dict: bool | None, config: transformers.LongformerConfig
) -> Output | tuple:
    """A head's `output` with the requested outputs of the encoder; as a tuple if `return_dict` is False."""
    for name in ("hidden_states", "attentions", "global_attentions"):
        if getattr(encoded, name) is not None:
            output[name] = getattr(encoded, name)
    return output if value_or_config(return_dict, config.return_dict) else output.to_tuple()
