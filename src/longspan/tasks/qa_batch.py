"""Features of question answering -> one padded batch of tensors, the same for training and prediction.

Letters: B rows, T tokens of the longest row.
"""

import inspect
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from longspan.data import QaFeature

GlobalTokens = Literal["question", "none"]


class QaCollator:
    """Pads features to the longest of a batch and keeps the arguments that a model's forward takes.

    Args:
        model: decides the arguments: `token_type_ids` only where it has more than one type, `global_attention_mask`
            only where its `model_type` is "longformer".
        pad_token_id: the token that fills up rows.
        padding_side: "right" or "left".
        global_tokens: "question" makes the question's tokens (with the first special token) global, "none" makes
            no token global; of no effect on models without global attention.
        pad_to_multiple_of: rounds T up, for hardware that likes it.
        with_labels: adds `start_positions` and `end_positions`.
    """

    def __init__(
        self,
        model: nn.Module,
        pad_token_id: int,
        *,
        padding_side: str = "right",
        global_tokens: GlobalTokens = "question",
        pad_to_multiple_of: int | None = None,
        with_labels: bool = False,
    ) -> None:
        config = getattr(model, "config", None)
        self.pad_token_id = pad_token_id
        self.padding_side = padding_side
        self.global_tokens = global_tokens
        self.pad_to_multiple_of = pad_to_multiple_of or 1
        self.with_labels = with_labels
        self.has_global_tokens = getattr(config, "model_type", None) == "longformer"
        # A tokenizer may make two token types for a model that has one (BERT's tokenizer on a RoBERTa body).
        n_types = getattr(config, "type_vocab_size", 0) or 0
        self.has_token_types = n_types > 1 and _takes(model, "token_type_ids")

    def __call__(self, features: Sequence[QaFeature]) -> dict[str, Tensor]:
        """One batch: int64 tensors (B, T), labels int64 (B,).

        Raises:
            ValueError: labels are wanted and a feature has none.
        """
        longest = max(len(feature.input_ids) for feature in features)
        n_tokens = -(-longest // self.pad_to_multiple_of) * self.pad_to_multiple_of
        batch = {
            "input_ids": self._pad([feature.input_ids for feature in features], n_tokens, self.pad_token_id),
            "attention_mask": self._pad([feature.attention_mask for feature in features], n_tokens, 0),
        }
        if self.has_token_types:
            types = [feature.token_type_ids or [0] * len(feature.input_ids) for feature in features]
            batch["token_type_ids"] = self._pad(types, n_tokens, 0)
        if self.has_global_tokens:
            # Given even when nothing is global: without it the model would choose global tokens itself.
            is_global = self.global_tokens == "question"
            rows = [[int(is_global and token) for token in feature.is_question] for feature in features]
            batch["global_attention_mask"] = self._pad(rows, n_tokens, 0)
        if self.with_labels:
            for name in ("start_position", "end_position"):
                positions = [getattr(feature, name) for feature in features]
                if None in positions:
                    raise ValueError(f"a feature has no {name}; make the features with with_labels=True")
                if self.padding_side == "left":
                    pairs = zip(positions, features, strict=True)
                    positions = [place + n_tokens - len(feature.input_ids) for place, feature in pairs]
                batch[name + "s"] = torch.tensor(positions, dtype=torch.long)
        return batch

    def _pad(self, rows: list[list[int]], n_tokens: int, filler: int) -> Tensor:
        padded = torch.full((len(rows), n_tokens), filler, dtype=torch.long)
        for i, row in enumerate(rows):
            at = n_tokens - len(row) if self.padding_side == "left" else 0
            padded[i, at : at + len(row)] = torch.tensor(row, dtype=torch.long)
        return padded


def _takes(model: nn.Module, argument: str) -> bool:
    """Whether the model's forward has an argument of this name (PEFT's wrappers forward what they are given)."""
    inner = getattr(model, "get_base_model", lambda: model)()
    return argument in inspect.signature(inner.forward).parameters
