"""Makes batches of question answering for a model's forward, in training and in prediction."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from longspan.data.qa import QaCollator, QaFeature
from longspan.models import LongformerForQuestionAnswering
from longspan.tasks.predicting import takes_argument

GlobalTokens = Literal["question", "none"]


class ModelCollator:
    """Pads features and keeps the arguments that a model's forward takes.

    Rows are padded on the right, whatever the tokenizer prefers, because BERT counts positions from the row's start.

    Args:
        model: decides the arguments: `token_type_ids` if it has more than one type, `global_attention_mask` if its
            `model_type` is "longformer". All gold answers of a window, for data sets with several (TriviaQA), go to
            longspan's own classes only; other models get the first one.
        tokenizer: gives the padding token.
        global_tokens: "question" makes the question's tokens (with the first special token) global, "none" makes
            no token global; it has no effect on models without global attention.

    Raises:
        InputError: the tokenizer has no padding token, or `global_tokens` is neither of the two.
    """

    def __init__(
        self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, *, global_tokens: GlobalTokens = "question"
    ) -> None:
        several_answers = isinstance(getattr(model, "get_base_model", lambda: model)(), LongformerForQuestionAnswering)
        self._pad = QaCollator(tokenizer, global_tokens=global_tokens, several_answers=several_answers)
        self._pad.global_tokens = "question"
        self._pad.is_left = False
        self._has_global_tokens = global_tokens == "question"
        config = getattr(model, "config", None)
        self._takes_global_tokens = getattr(config, "model_type", None) == "longformer"
        # A tokenizer may make two token types for a model that has one (BERT's tokenizer on a RoBERTa body).
        n_types = getattr(config, "type_vocab_size", 0) or 0
        self._takes_token_types = n_types > 1 and takes_argument(model, "token_type_ids")

    def __call__(self, features: Sequence[QaFeature]) -> dict[str, Tensor]:
        """Return a batch: int64 tensors (B, T) and, if the features have labels, their positions, (B,) or (B, S)."""
        batch = self._pad(features)
        if not self._takes_global_tokens:
            del batch["global_attention_mask"]
        elif not self._has_global_tokens:
            # All zeros, not None: without the mask the model would choose global tokens itself.
            batch["global_attention_mask"].zero_()
        if not self._takes_token_types:
            batch.pop("token_type_ids", None)
        return batch
