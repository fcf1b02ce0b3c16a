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
from longspan.models.heads.losses import cross_entropy, linear_cross_entropy, linear_log_probabilities
from longspan.models.heads.outputs import with_encoder_outputs
from longspan.models.model import LongformerModel, LongformerPreTrainedModel
from longspan.models.self_attention import is_plain_linear


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
        return self.decoder(self.transform(features))

    def transform(self, features: Tensor) -> Tensor:
        """[..., C] to [..., C]: what is compared with the word embeddings."""
        return self.layer_norm(gelu(self.dense(features)))

    def loss(self, features_NC: Tensor, labels_N: Tensor, num_items_in_batch: Tensor | int | None) -> Tensor:
        """Mean cross-entropy of `labels_N` at `features_NC`, without all their scores at a time."""
        decoder = self.decoder
        if is_plain_linear(decoder):
            hidden_NC = self.transform(features_NC)
            return linear_cross_entropy(hidden_NC, decoder.weight, decoder.bias, labels_N, num_items_in_batch)
        # Somebody put another layer in place (adapters, a quantised one, hooks): only it knows its scores.
        return cross_entropy(self(features_NC), labels_N, num_items_in_batch)

    def log_probabilities(self, features_NC: Tensor, labels_N: Tensor) -> Tensor:
        """Log-probability (nats, float32 [N]) of each label, without gradient and without all scores at a time."""
        decoder = self.decoder
        if is_plain_linear(decoder):
            hidden_NC = self.transform(features_NC)
            return linear_log_probabilities(hidden_NC, decoder.weight, decoder.bias, labels_N)
        log_p_NV = self(features_NC).float().log_softmax(dim=-1)
        return log_p_NV.gather(1, labels_N.unsqueeze(1)).squeeze(1)


class LongformerForMaskedLM(LongformerPreTrainedModel):
    """Longformer with transformers' masked language modelling head; no token is global unless the caller says so.

    In training mode, with `labels`, only tokens that are asked for (a label other than -100) are scored, some at a
    time: scores of all tokens would take more memory than the rest of the model. There are then no `logits`.
    `config.sparse_prediction = False` brings them back; in evaluation mode they are always there.
    """

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
        bias = new_embeddings.bias
        # Untied, the two are saved apart: one tensor under two names would be saved under one, and the other lost.
        is_tied = self.config.tie_word_embeddings or bias is None
        self.lm_head.bias = bias if is_tied else nn.Parameter(bias.detach().clone())

    @torch.no_grad()
    def log_probabilities(self, input_ids: Tensor, labels: Tensor, **inputs: Any) -> Tensor:
        """Log-probability, in nats, of every label that is asked for, in the order of rows and tokens.

        Args:
            input_ids: int64 [B, T].
            labels: int64 [B, T], -100 where nothing is asked.
            inputs: as `forward` takes.

        Returns:
            float32 [N]; scores are made for some of the tokens asked for at a time, in evaluation mode too.
        """
        hidden_BTC = self.longformer(input_ids, return_dict=True, **inputs).last_hidden_state
        is_asked_BT = labels != -100
        return self.lm_head.log_probabilities(hidden_BTC[is_asked_BT], labels[is_asked_BT])

    def _is_sparse(self) -> bool:
        """Whether only the tokens that are asked for are scored; a compiled graph cannot: their number is data."""
        return self.training and getattr(self.config, "sparse_prediction", True) and not torch.compiler.is_compiling()

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
            `loss`, the mean cross-entropy over what is asked for (0 where nothing is), and `logits` [B, T, V]; the
            class says when there are none.
        """
        num_items_in_batch = kwargs.pop("num_items_in_batch", None)
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
            **kwargs,
        )
        hidden_BTC = outputs.last_hidden_state
        logits = loss = None
        if labels is not None and self._is_sparse():
            labels = labels.to(hidden_BTC.device)
            is_asked_BT = labels != -100
            loss = self.lm_head.loss(hidden_BTC[is_asked_BT], labels[is_asked_BT], num_items_in_batch)
        else:
            logits = self.lm_head(hidden_BTC)
            if labels is not None:
                loss = cross_entropy(logits.flatten(0, 1), labels.flatten(), num_items_in_batch)
        return with_encoder_outputs(
            LongformerMaskedLMOutput(loss=loss, logits=logits), outputs, return_dict, self.config
        )
