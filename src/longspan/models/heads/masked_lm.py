"""Masked language modelling: a score for every piece of the vocabulary at every token.

B batch rows  T tokens  C model width  V vocabulary
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu
from transformers import initialization as init
from transformers.models.longformer.modeling_longformer import LongformerMaskedLMOutput

from longspan.models.config import LongformerConfig
from longspan.models.heads.losses import cross_entropy
from longspan.models.heads.outputs import with_encoder_outputs
from longspan.models.model import LongformerModel, LongformerPreTrainedModel


class LongformerLMHead(nn.Module):
    """Projection, norm, and the word embeddings turned round."""

    def __init__(self, config: LongformerConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, features: Tensor) -> Tensor:
        """[B, T, C] to [B, T, V]."""
        return self.decoder(self.layer_norm(gelu(self.dense(features))))


class LongformerForMaskedLM(LongformerPreTrainedModel):
    """Longformer with transformers' masked language modelling head; no token is global unless the caller says so."""

    _tied_weights_keys = {  # noqa: RUF012 -- PreTrainedModel declares it
        "lm_head.decoder.weight": "longformer.embeddings.word_embeddings.weight",
        "lm_head.decoder.bias": "lm_head.bias",
    }

    def __init__(self, config: LongformerConfig) -> None:
        super().__init__(config)
        self.longformer = LongformerModel(config, add_pooling_layer=False)
        self.lm_head = LongformerLMHead(config)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, LongformerLMHead):
            # A checkpoint without this head leaves its bias in fresh memory.
            init.zeros_(module.bias)

    def get_output_embeddings(self) -> nn.Module:
        """The layer that scores the vocabulary."""
        return self.lm_head.decoder

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Put another such layer in place, its bias included: `resize_token_embeddings` calls this."""
        self.lm_head.decoder = new_embeddings
        self.lm_head.bias = new_embeddings.bias

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        global_attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> tuple | LongformerMaskedLMOutput:
        """Inputs as `LongformerModel.forward`; `labels`, int64 [B, T]: the piece at each token, -100 where not asked.

        Returns:
            `loss`, the mean cross-entropy over what is asked for, and `logits` [B, T, V].
        """
        outputs = self.longformer(
            input_ids,
            attention_mask=attention_mask,
            global_attention_mask=global_attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = self.lm_head(outputs.last_hidden_state)
        loss = None
        if labels is not None:
            loss = cross_entropy(logits.flatten(0, 1), labels.flatten(), kwargs.get("num_items_in_batch"))
        return with_encoder_outputs(
            LongformerMaskedLMOutput(loss=loss, logits=logits), outputs, return_dict, self.config
        )
