"""Extractive question answering: a score for each token as the start, and as the end, of the answer.

B batch rows  T tokens  S gold answers of a row, at most
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.longformer.modeling_longformer import LongformerQuestionAnsweringModelOutput
from transformers.utils import logging

from longspan.attention import GlobalSlots
from longspan.errors import InputError
from longspan.models.config import LongformerConfig, count_labels
from longspan.models.heads.losses import cross_entropy
from longspan.models.heads.shared import (
    before_first_separator,
    names_global_tokens,
    refuse_documents,
    with_encoder_outputs,
)
from longspan.models.inputs import as_bool
from longspan.models.model import LongformerModel, LongformerPreTrainedModel

logger = logging.get_logger(__name__)


class LongformerForQuestionAnswering(LongformerPreTrainedModel):
    """Longformer with transformers' question answering head.

    Without a `global_attention_mask` the question is global: all tokens before the first separator
    (`config.sep_token_id`) of each row, regardless of the number of later separators.
    """

    def __init__(self, config: LongformerConfig) -> None:
        super().__init__(config)
        self.num_labels = count_labels(config)
        if self.num_labels != 2:
            raise InputError(
                f"question answering scores two things, start and end, but config.num_labels is {self.num_labels}; "
                "load with num_labels=2"
            )
        self.longformer = LongformerModel(config, add_pooling_layer=False)
        self.qa_outputs = nn.Linear(config.hidden_size, self.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        global_attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> tuple | LongformerQuestionAnsweringModelOutput:
        """The scores and the loss; inputs as in `LongformerModel.forward`.

        `start_positions` and `end_positions`, int64 [B], are the first and last token of the answer. A position of T or
        more means an answer outside this input, which is ignored. As int64 [B, S] with S > 1 they are the first and
        last tokens of all gold answers. The loss is then the negative logarithm of the total probability of the starts
        of a row, and the same for the ends (Clark and Gardner 2018; Longformer's training on TriviaQA). Negative
        positions and those of T or more are ignored, repeated ones count once, and a row without any is ignored.

        Returns:
            `loss`, the mean of the two cross-entropies, `start_logits` and `end_logits`, both [B, T].
        """
        refuse_documents(type(self).__name__, kwargs)
        slots = None
        if global_attention_mask is None and not names_global_tokens(self.config):
            if input_ids is not None:
                is_question_BT = before_first_separator(input_ids, self.config.sep_token_id)
                # Found here instead of in the encoder, so that torch.compile breaks its graph in one place only.
                is_token_BT = as_bool("attention_mask", attention_mask, (input_ids.shape[0], input_ids.shape[1]))
                slots = GlobalSlots.find(is_question_BT, is_token_BT)
            else:
                logger.warning_once(
                    "inputs_embeds do not show the question; pass global_attention_mask to make it global"
                )
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
        start_logits, end_logits = (x.contiguous() for x in self.qa_outputs(outputs.last_hidden_state).unbind(dim=-1))
        loss = None
        if start_positions is not None and end_positions is not None:
            start_loss = _position_loss(start_logits, start_positions, kwargs.get("num_items_in_batch"))
            end_loss = _position_loss(end_logits, end_positions, kwargs.get("num_items_in_batch"))
            loss = (start_loss + end_loss) / 2
        output = LongformerQuestionAnsweringModelOutput(loss=loss, start_logits=start_logits, end_logits=end_logits)
        return with_encoder_outputs(output, outputs, return_dict, self.config)


def _position_loss(logits_BT: Tensor, positions: Tensor, num_items_in_batch: Tensor | int | None) -> Tensor:
    if positions.dim() == 2 and positions.shape[1] > 1:
        return _any_position_loss(logits_BT, positions.to(logits_BT.device), num_items_in_batch)
    outside = logits_BT.shape[1]
    positions_B = positions.reshape(-1).clamp(0, outside)
    return cross_entropy(logits_BT, positions_B, num_items_in_batch, ignore_index=outside)


def _any_position_loss(logits_BT: Tensor, positions_BS: Tensor, num_items_in_batch: Tensor | int | None) -> Tensor:
    B, T = logits_BT.shape
    # An additional column takes the ignored positions. Tokens are marked, so that a repeated position counts once.
    column_BS = torch.where((positions_BS < 0) | (positions_BS >= T), T, positions_BS)
    is_gold_BT = torch.zeros(B, T + 1, dtype=torch.bool, device=logits_BT.device).scatter(1, column_BS, True)[:, :T]
    has_gold_B = is_gold_BT.any(dim=1)
    scores_BT = logits_BT.float()
    # A row without gold answers is compared with itself: its loss and gradients are 0, without infinities.
    gold_BT = scores_BT.masked_fill(~is_gold_BT & has_gold_B[:, None], float("-inf"))
    loss_B = scores_BT.logsumexp(dim=1) - gold_BT.logsumexp(dim=1)
    n_rows = has_gold_B.sum() if num_items_in_batch is None else torch.as_tensor(num_items_in_batch)
    return loss_B.sum() / n_rows.to(loss_B.device).clamp(min=1)
