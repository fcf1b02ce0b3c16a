"""The last step of every task head's forward."""

from typing import TypeVar

import transformers
from transformers.utils import ModelOutput

from longspan.models.inputs import default

Output = TypeVar("Output", bound=ModelOutput)


def with_encoder_outputs(
    output: Output, encoded: ModelOutput, return_dict: bool | None, config: transformers.LongformerConfig
) -> Output | tuple:
    """Add to a head's `output` what was asked of the encoder; as a tuple where `return_dict` is False."""
    for name in ("hidden_states", "attentions", "global_attentions"):
        if getattr(encoded, name) is not None:
            output[name] = getattr(encoded, name)
    return output if default(return_dict, config.return_dict) else output.to_tuple()
