"""Classification or regression of a whole document, from its first token.

B batch rows  T tokens  C model width
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.longformer.modeling_longformer import LongformerSequenceClassifierOutput

from longspan.errors import InputError
from longspan.models.config import LongformerConfig, classifier_activation, count_labels
from longspan.models.encoder import first_tokens
from longspan.models.heads.losses import binary_cross_entropy, cross_entropy, squared_error
from longspan.models.heads.shared import first_token_slots, names_global_tokens, refuse_documents, with_encoder_outputs
from longspan.models.model import LongformerModel, LongformerPreTrainedModel

_ACTIVATIONS = {"tanh": torch.tanh, "relu": F.relu, "gelu": F.gelu}


class LongformerClassificationHead(nn.Module):
    """Two linear layers with `config.classifier_activation` between them (tanh in transformers)."""

    def __init__(self, config: LongformerConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.out_proj = nn.Linear(config.hidden_size, count_labels(config))
        self.config = config

    def forward(self, hidden_states: Tensor) -> Tensor:
        """[B, T, C] to [B, labels], from the first column."""
        hidden_BC = self.dense(self.dropout(hidden_states[:, 0]))
        return self.out_proj(self.dropout(_ACTIVATIONS[classifier_activation(self.config)](hidden_BC)))


class LongformerForSequenceClassification(LongformerPreTrainedModel):
    """Longformer with transformers' sequence classification head.

    Without a `global_attention_mask` the first token of each row is global.
    """

    def __init__(self, config: LongformerConfig) -> None:
        super().__init__(config)
        self.num_labels = count_labels(config)
        self.longformer = LongformerModel(config, add_pooling_layer=False)
        self.classifier = LongformerClassificationHead(config)
        self.post_init()

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
    ) -> tuple | LongformerSequenceClassifierOutput:
        """The scores and the loss; inputs as in `LongformerModel.forward`.

        `labels` are classes, int64 [B]; or numbers for a regression, float [B] or [B, labels]; or, for documents with
        several classes, 0 or 1 for each class, float [B, labels].

        Returns:
            `loss` for `config.problem_type`, or if that is None for the kind of `labels`, and `logits` [B, labels].

        Raises:
            InputError: `document_ids` were given, or `config.problem_type` is unknown.
        """
        refuse_documents(type(self).__name__, kwargs)
        slots = None
        if global_attention_mask is None and not names_global_tokens(self.config):
            slots = first_token_slots(input_ids, inputs_embeds, attention_mask)
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
            global_slots=slots,
        )
        is_token_BT = None if attention_mask is None else attention_mask > 0
        logits = self.classifier(first_tokens(outputs.last_hidden_state, is_token_BT))
        loss = None if labels is None else self._loss(logits, labels, kwargs.get("num_items_in_batch"))
        output = LongformerSequenceClassifierOutput(loss=loss, logits=logits)
        return with_encoder_outputs(output, outputs, return_dict, self.config)

    def _loss(self, logits: Tensor, labels: Tensor, num_items_in_batch: Tensor | int | None) -> Tensor:
        if self.config.problem_type is None:
            # Stored in the configuration, as in transformers, so that the checkpoint says what it was trained for.
            if self.num_labels == 1:
                self.config.problem_type = "regression"
            elif labels.dtype in (torch.long, torch.int):
                self.config.problem_type = "single_label_classification"
            else:
                self.config.problem_type = "multi_label_classification"
        match self.config.problem_type:
            case "regression":
                return squared_error(logits.reshape(labels.shape), labels, num_items_in_batch)
            case "single_label_classification":
                return cross_entropy(logits, labels.reshape(-1), num_items_in_batch)
            case "multi_label_classification":
                return binary_cross_entropy(logits, labels, num_items_in_batch)
            case other:
                raise InputError(f"config.problem_type {other!r} is unknown; choose one of transformers'")
