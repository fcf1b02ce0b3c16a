"""A batch of question answering as one model's forward wants it, the same for training and prediction."""

import inspect
from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from longspan.data.qa import QaCollator, QaFeature
from longspan.models import LongformerForQuestionAnswering

GlobalTokens = Literal["question", "none"]


class ModelCollator:
    """Pads features and keeps the arguments that a model's forward takes.

    Rows are filled on the right whatever the tokenizer prefers: BERT counts positions from the row's start.

    Args:
        model: decides the arguments: `token_type_ids` only where it has more than one type, `global_attention_mask`
            only where its `model_type` is "longformer"; all gold answers at once, where the data set wants that
            (TriviaQA), only where it is longspan's own, the first one of a window otherwise.
        tokenizer: gives the padding token.
        global_tokens: "question" makes the question's tokens (with the first special token) global, "none" makes
            no token global; of no effect on models without global attention.

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
        self._takes_token_types = n_types > 1 and _takes(model, "token_type_ids")

    def __call__(self, features: Sequence[QaFeature]) -> dict[str, Tensor]:
        """One batch: int64 tensors (B, T) and, where the features have labels, their positions, (B,) or (B, S)."""
        batch = self._pad(features)
        if not self._takes_global_tokens:
            del batch["global_attention_mask"]
        elif not self._has_global_tokens:
            # All zeros rather than absent: without the mask the model would choose global tokens itself.
            batch["global_attention_mask"].zero_()
        if not self._takes_token_types:
            batch.pop("token_type_ids", None)
        return batch


def _takes(model: nn.Module, argument: str) -> bool:
    """Whether the model's forward has an argument of this name (PEFT's wrappers pass on what they are given)."""
    inner = getattr(model, "get_base_model", lambda: model)()
    return argument in inspect.signature(inner.forward).parameters
