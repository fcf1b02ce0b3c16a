"""tokens -> logits: the Longformer as transformers' `PreTrainedModel`s, and its task heads."""

from longspan.models.config import LongformerConfig
from longspan.models.fast_attention import stop_fast_attention, use_fast_attention
from longspan.models.heads.masked_lm import LongformerForMaskedLM
from longspan.models.heads.multiple_choice import LongformerForMultipleChoice
from longspan.models.heads.question_answering import LongformerForQuestionAnswering
from longspan.models.heads.sequence_classification import LongformerForSequenceClassification
from longspan.models.heads.token_classification import LongformerForTokenClassification
from longspan.models.model import LongformerModel, LongformerPreTrainedModel
from longspan.models.registration import register, unregister

__all__ = [
    "LongformerConfig",
    "LongformerForMaskedLM",
    "LongformerForMultipleChoice",
    "LongformerForQuestionAnswering",
    "LongformerForSequenceClassification",
    "LongformerForTokenClassification",
    "LongformerModel",
    "LongformerPreTrainedModel",
    "register",
    "stop_fast_attention",
    "unregister",
    "use_fast_attention",
]
