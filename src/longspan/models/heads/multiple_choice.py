"""Multiple choice: a score for each of several texts, from the first token of each.

B batch rows  T tokens  A answers (choices) per row
"""

from typing import Any

from torch import Tensor, nn
from transformers.models.longformer.modeling_longformer import LongformerMultipleChoiceModelOutput

from longspan.attention import GlobalSlots
from longspan.errors import InputError
from longspan.models.config import LongformerConfig
from longspan.models.heads.losses import cross_entropy
from longspan.models.heads.shared import (
    after_first_separators,
    names_global_tokens,
    refuse_documents,
    with_encoder_outputs,
)
from longspan.models.inputs import as_bool
from longspan.models.model import LongformerModel, LongformerPreTrainedModel


class LongformerForMultipleChoice(LongformerPreTrainedModel):
    """Longformer with transformers' multiple choice head.

    Without a `global_attention_mask`, the tokens after the first run of separators of each text are global: the
    question and the choice, if the passage comes first.
    """

    def __init__(self, config: LongformerConfig) -> None:
        super().__init__(config)
        self.longformer = LongformerModel(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, 1)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        global_attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> tuple | LongformerMultipleChoiceModelOutput:
        """The scores and the loss; inputs as in `LongformerModel.forward` with one more axis, [B, A, T].

        `labels`, int64 [B], hold the index of the right choice.

        Returns:
            `loss`, the cross-entropy over the choices, and `logits` [B, A].
        """
        refuse_documents(type(self).__name__, kwargs)
        inputs = input_ids if input_ids is not None else inputs_embeds
        if inputs is None or inputs.dim() != (3 if input_ids is not None else 4):
            raise InputError(
                "multiple choice takes input_ids of shape (rows, choices, tokens) or inputs_embeds of shape (rows, "
                f"choices, tokens, width), not {None if inputs is None else tuple(inputs.shape)}"
            )
        flat_ids = _flat(input_ids)
        slots = None
        if global_attention_mask is None and flat_ids is not None and not names_global_tokens(self.config):
            is_choice_BT = after_first_separators(flat_ids, self.config.sep_token_id)
            # Found here instead of in the encoder, so that torch.compile breaks its graph in one place only.
            shape = (flat_ids.shape[0], flat_ids.shape[1])
            slots = GlobalSlots.find(is_choice_BT, as_bool("attention_mask", _flat(attention_mask), shape))
        outputs = self.longformer(
            flat_ids,
            position_ids=_flat(position_ids),
            token_type_ids=_flat(token_type_ids),
            attention_mask=_flat(attention_mask),
            global_attention_mask=_flat(global_attention_mask),
            inputs_embeds=_flat(inputs_embeds),
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            global_slots=slots,
        )
        logits_BA = self.classifier(self.dropout(outputs.pooler_output)).view(inputs.shape[0], inputs.shape[1])
        loss = None if labels is None else cross_entropy(logits_BA, labels, kwargs.get("num_items_in_batch"))
        output = LongformerMultipleChoiceModelOutput(loss=loss, logits=logits_BA)
        return with_encoder_outputs(output, outputs, return_dict, self.config)


def _flat(x: Tensor | None) -> Tensor | None:
    """[B, A, T, ...] to [B * A, T, ...]."""
    return None if x is None else x.flatten(0, 1)
