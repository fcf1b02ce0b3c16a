"""The forward of transformers' LED encoder with longspan's attention, for `use_fast_attention`.

LED (Longformer-Encoder-Decoder, Beltagy et al. 2020, section 7) has Longformer's attention in its encoder only.

B batch rows  T tokens  C model width
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.led.modeling_led import LEDEncoder, LEDEncoderBaseModelOutput

from longspan.errors import InputError
from longspan.models.inputs import as_bool, check_input, none_if_all, value_or_config
from longspan.models.plan import plan_attention
from longspan.models.unpadding import unpad


def led_encoder_forward(
    self: LEDEncoder,
    input_ids: Tensor | None = None,
    attention_mask: Tensor | None = None,
    global_attention_mask: Tensor | None = None,
    inputs_embeds: Tensor | None = None,
    output_attentions: bool | None = None,
    output_hidden_states: bool | None = None,
    return_dict: bool | None = None,
    **_: Any,
) -> tuple | LEDEncoderBaseModelOutput:
    """The encoding of `input_ids` [B, T]; arguments and outputs as in transformers' `LEDEncoder.forward`.

    Inputs are not padded to the window. The output at padding differs from that of transformers; the decoder's
    cross-attention ignores it.

    Raises:
        InputError: not exactly one of `input_ids` and `inputs_embeds` was given, a mask has another shape, or the input
            is longer than the position table.
    """
    inputs, shape = check_input(input_ids, inputs_embeds)
    n_positions = self.embed_positions.num_embeddings
    if shape[1] > n_positions:
        raise InputError(
            f"the input has {shape[1]} tokens, but this model's encoder takes at most {n_positions}; truncate it or "
            "cut it into windows (tokenizers: max_length, stride and return_overflowing_tokens)"
        )
    is_token_BT = none_if_all(as_bool("attention_mask", attention_mask, shape))
    is_global_BT = as_bool("global_attention_mask", global_attention_mask, shape)
    plan = plan_attention(self.config, shape, inputs.device, is_token_BT, is_global_BT)
    output_attentions = value_or_config(output_attentions, self.config.output_attentions)
    packed_row = None
    if not output_attentions:
        plan, packed_row = unpad(plan, shape, self.config)

    position_TC = self.embed_positions(torch.Size(shape))
    if packed_row is not None:
        input_ids, inputs_embeds = (
            None if part is None else packed_row.pack(part) for part in (input_ids, inputs_embeds)
        )
        position_TC = position_TC.index_select(0, packed_row.place_N % shape[1])
    embedded_BTC = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
    hidden_BTC = self.layernorm_embedding(embedded_BTC + position_TC)
    hidden_BTC = F.dropout(hidden_BTC, p=self.dropout, training=self.training)

    all_hidden = [hidden_BTC]
    local_weights, global_weights = [], []
    for layer in self.layers:
        # LayerDrop (Fan et al. 2019) leaves out random layers.
        if not (self.training and self.layerdrop > 0 and torch.rand([]) < self.layerdrop):
            # The layer is transformers' own and passes the plan to the attention by this name.
            hidden_BTC, *weights = layer(hidden_BTC, attention_mask=plan, output_attentions=output_attentions)
            local_weights += weights[:1]
            global_weights += [weight.transpose(2, 3) for weight in weights[1:]]
        all_hidden.append(hidden_BTC)
    wants_hidden = value_or_config(output_hidden_states, self.config.output_hidden_states)
    if packed_row is not None:
        all_hidden = [packed_row.unpack(hidden) for hidden in (all_hidden if wants_hidden else all_hidden[-1:])]
    output = LEDEncoderBaseModelOutput(
        last_hidden_state=all_hidden[-1],
        hidden_states=tuple(all_hidden) if wants_hidden else None,
        attentions=tuple(local_weights) if output_attentions else None,
        global_attentions=tuple(global_weights) if global_weights else None,
    )
    return output if value_or_config(return_dict, self.config.return_dict) else output.to_tuple()
