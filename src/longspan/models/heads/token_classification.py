"""Classification of every token.

B batch rows  T tokens
"""

from typing import Any

from torch import Tensor, nn
from transformers.models.longformer.modeling_longformer import LongformerTokenClassifierOutput

from longspan.models.config import LongformerConfig, count_labels
from longspan.models.heads.losses import cross_entropy
from longspan.models.heads.shared import with_encoder_outputs
from longspan.models.model import LongformerModel, LongformerPreTrainedModel


class LongformerForTokenClassification(LongformerPreTrainedModel):
    """Longformer with transformers' token classification head; only the caller makes tokens global."""

    def __init__(self, config: LongformerConfig) -> None:
        super().__init__(config)
        self.num_labels = count_labels(config)
        self.longformer = LongformerModel(config, add_pooling_layer=False)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, count_labels(config))
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
    ) -> tuple | LongformerTokenClassifierOutput:
        """The scores and the loss; inputs as in `LongformerModel.forward`.

        `labels`, int64 [B, T], hold the class of each token, or -100 for no class.

        Returns:
            `loss`, the mean cross-entropy, and `logits` [B, T, labels].
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
            document_ids=kwargs.get("document_ids"),
        )
        logits = self.classifier(self.dropout(outputs.last_hidden_state))
        loss = None
        if labels is not None:
            loss = cross_entropy(logits.flatten(0, 1), labels.flatten(), kwargs.get("num_items_in_batch"))
        output = LongformerTokenClassifierOutput(loss=loss, logits=logits)
        return with_encoder_outputs(output, outputs, return_dict, self.config)
