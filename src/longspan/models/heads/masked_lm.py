"""Masked language modelling: a score for every entry of the vocabulary at every token.

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
from longspan.models.heads.shared import with_encoder_outputs
from longspan.models.model import LongformerModel, LongformerPreTrainedModel
from longspan.models.self_attention import is_plain_linear


class LongformerLMHead(nn.Module):
    """Projection, norm, and a decoder tied to the word embeddings."""

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
        """[..., C] to [..., C]: the vectors that are multiplied with the word embeddings."""
        return self.layer_norm(gelu(self.dense(features)))

    def loss(self, features_NC: Tensor, labels_N: Tensor, num_items_in_batch: Tensor | int | None) -> Tensor:
        """Mean cross-entropy of `labels_N` at `features_NC`, without all scores in memory."""
        decoder = self.decoder
        if is_plain_linear(decoder):
            hidden_NC = self.transform(features_NC)
            return linear_cross_entropy(hidden_NC, decoder.weight, decoder.bias, labels_N, num_items_in_batch)
        # Another layer replaced the decoder (an adapter, a quantised layer, hooks): it must compute the scores.
        return cross_entropy(self(features_NC), labels_N, num_items_in_batch)

    def log_probabilities(self, features_NC: Tensor, labels_N: Tensor) -> Tensor:
        """The log-probability (nats, float32 [N]) of each label, without gradient and without all scores in memory."""
        decoder = self.decoder
        if is_plain_linear(decoder):
            hidden_NC = self.transform(features_NC)
            return linear_log_probabilities(hidden_NC, decoder.weight, decoder.bias, labels_N)
        log_p_NV = self(features_NC).float().log_softmax(dim=-1)
        return log_p_NV.gather(1, labels_N.unsqueeze(1)).squeeze(1)


class LongformerForMaskedLM(LongformerPreTrainedModel):
    """Longformer with transformers' masked language modelling head; only the caller makes tokens global.

    In training mode with `labels`, only tokens with a label other than -100 are scored, some at a time, because the
    scores of all tokens would take more memory than the rest of the model. There are then no `logits`. With
    `config.sparse_prediction = False`, and in evaluation mode, there always are.
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
            # A checkpoint without this head leaves the bias uninitialised.
            init.zeros_(module.bias)

    def get_output_embeddings(self) -> nn.Module:
        """The layer that scores the vocabulary."""
        return self.lm_head.decoder

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Replace this layer and its bias; `resize_token_embeddings` calls it."""
        self.lm_head.decoder = new_embeddings
        bias = new_embeddings.bias
        # Untied, the two are saved apart: one tensor under two names would be saved under one, and the other lost.
        is_tied = self.config.tie_word_embeddings or bias is None
        self.lm_head.bias = bias if is_tied else nn.Parameter(bias.detach().clone())

    @torch.no_grad()
    def log_probabilities(self, input_ids: Tensor, labels: Tensor, **inputs: Any) -> Tensor:
        """The log-probability (nats) of every label other than -100, in the order of rows and tokens.

        Args:
            input_ids: int64 [B, T].
            labels: int64 [B, T], -100 at tokens without a label.
            inputs: more inputs of `forward`.

        Returns:
            float32 [N]; scores are computed for some tokens at a time, also in evaluation mode.
        """
        hidden_BTC = self.longformer(input_ids, return_dict=True, **inputs).last_hidden_state
        is_asked_BT = labels != -100
        return self.lm_head.log_probabilities(hidden_BTC[is_asked_BT], labels[is_asked_BT])

    def _is_sparse(self) -> bool:
        """Whether to score only tokens with a label; a compiled graph cannot, since it does not know their number."""
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
        """The scores and the loss; inputs as in `LongformerModel.forward`.

        `labels`, int64 [B, T], hold the vocabulary entry of each token, or -100 for no label.

        Returns:
            `loss`, the mean cross-entropy over the labels (0 without any), and `logits` [B, T, V], which the class may
            leave out.
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
