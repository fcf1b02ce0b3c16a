"""Pads question answering features to batches of tensors."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from longspan.data.qa.features import QaFeature
from longspan.errors import InputError


class QaCollator:
    """Pads features to the longest of the batch, on the tokenizer's padding side.

    A call returns a dict of int64 tensors:

    - `input_ids` and `attention_mask` [B, T];
    - `token_type_ids` [B, T], if the tokenizer's models take them;
    - `global_attention_mask` [B, T], 1 on `is_question`, if `global_tokens` is "question";
    - `start_positions` and `end_positions`, counted in the padded row, if the features have labels: [B], or [B, S]
      with -1 after a row's last position if a feature is labelled with all its answers at once and `several_answers`
      is True.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        pad_to_multiple_of: int | None = None,
        global_tokens: Literal["question", "none"] = "question",
        several_answers: bool = True,
    ) -> None:
        """Read the padding token, its type and the padding side.

        Args:
            tokenizer: a tokenizer with a padding token.
            pad_to_multiple_of: pad every batch to a multiple of this.
            global_tokens: "none" for models without global attention.
            several_answers: False for models whose loss takes one answer per row, which get the first answer.

        Raises:
            InputError: the tokenizer has no padding token, or an argument is out of range.
        """
        if tokenizer.pad_token_id is None:
            raise InputError("the tokenizer has no padding token; set one: tokenizer.pad_token = tokenizer.eos_token")
        if pad_to_multiple_of is not None and pad_to_multiple_of < 1:
            raise InputError(f"pad_to_multiple_of is {pad_to_multiple_of}; choose 1 or more, or None")
        if global_tokens not in ("question", "none"):
            raise InputError(f"global_tokens is {global_tokens!r}; choose 'question' or 'none'")
        self.pad_token_id: int = int(tokenizer.pad_token_id)  # pyright: ignore[reportArgumentType] - never a list here
        self.pad_type_id: int = tokenizer.pad_token_type_id
        self.is_left = tokenizer.padding_side == "left"
        self.multiple = pad_to_multiple_of or 1
        self.global_tokens = global_tokens
        self.several_answers = several_answers

    def __call__(self, features: Sequence[QaFeature]) -> dict[str, Tensor]:
        """Make one batch; see the class."""
        longest = max(len(feature.input_ids) for feature in features)
        n_tokens = -(-longest // self.multiple) * self.multiple
        batch = {
            "input_ids": self._pad([feature.input_ids for feature in features], n_tokens, self.pad_token_id),
            "attention_mask": self._pad([feature.attention_mask for feature in features], n_tokens, 0),
        }
        types = [feature.token_type_ids for feature in features if feature.token_type_ids is not None]
        if len(types) == len(features):
            batch["token_type_ids"] = self._pad(types, n_tokens, self.pad_type_id)
        if self.global_tokens == "question":
            batch["global_attention_mask"] = self._pad([feature.is_question for feature in features], n_tokens, 0)
        starts = [feature.start_position for feature in features]
        ends = [feature.end_position for feature in features]
        assert len({label is None for label in starts + ends}) == 1, "either all features have labels or none"
        if starts[0] is not None:
            shifts = torch.tensor([n_tokens - len(feature.input_ids) if self.is_left else 0 for feature in features])
            if self.several_answers and any(feature.start_positions is not None for feature in features):
                several = [
                    (f.start_positions or [f.start_position or 0], f.end_positions or [f.end_position or 0])
                    for f in features
                ]
                batch["start_positions"] = _shifted([row[0] for row in several], shifts)
                batch["end_positions"] = _shifted([row[1] for row in several], shifts)
            else:
                batch["start_positions"] = torch.tensor(starts) + shifts
                batch["end_positions"] = torch.tensor(ends) + shifts
        return batch

    def _pad(self, rows: Sequence[Sequence[int]], n_tokens: int, value: int) -> Tensor:
        padded = torch.full((len(rows), n_tokens), value, dtype=torch.int64)
        for i, row in enumerate(rows):
            part = slice(n_tokens - len(row), None) if self.is_left else slice(0, len(row))
            padded[i, part] = torch.tensor(row, dtype=torch.int64)
        return padded


def _shifted(rows: Sequence[Sequence[int]], shift_B: Tensor) -> Tensor:
    """Rows of positions as int64 [B, S], each moved by its shift; -1 after a row's last position."""
    longest = max(len(row) for row in rows)
    positions_BS = torch.tensor([[*row, *[-1] * (longest - len(row))] for row in rows])
    return torch.where(positions_BS < 0, positions_BS, positions_BS + shift_B[:, None])
