"""Windows as a batch for the model, the same for training and prediction."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from longspan.tasks.sequence_classification.merging import problem_type_of

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase


class WindowCollator:
    """Pads windows on the right and makes `<s>` global for Longformers.

    Args:
        model: decides the arguments: token types only if it has several, `global_attention_mask` for Longformers.
        tokenizer: gives the padding token.
        has_global: make the first token global; False makes none global.
    """

    def __init__(self, model: Any, tokenizer: "PreTrainedTokenizerBase", *, has_global: bool = True) -> None:
        from longspan.tasks.predicting import takes_argument

        self._pad_id: Any = tokenizer.pad_token_id
        config = model.config
        self._is_long = config.model_type == "longformer"
        self._has_global = has_global
        n_types = getattr(config, "type_vocab_size", 0) or 0
        self._takes_types = n_types > 1 and takes_argument(model, "token_type_ids")
        self._is_float = problem_type_of(config) != "single_label_classification"

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> "dict[str, Tensor]":
        """Return int64 tensors [B, T], and `labels` [B] or float [B, labels] if the rows have them."""
        import torch

        longest = max(len(row["input_ids"]) for row in rows)
        ids_BT = torch.full((len(rows), longest), int(self._pad_id))
        types_BT, is_token_BT = torch.zeros_like(ids_BT), torch.zeros_like(ids_BT)
        for i, row in enumerate(rows):
            n = len(row["input_ids"])
            ids_BT[i, :n] = torch.tensor(row["input_ids"])
            types_BT[i, :n] = torch.tensor(row["token_type_ids"])
            is_token_BT[i, :n] = 1
        batch = {"input_ids": ids_BT, "attention_mask": is_token_BT}
        if self._takes_types:
            batch["token_type_ids"] = types_BT
        if self._is_long:
            # All zeros rather than absent: without the mask the model would choose global tokens itself.
            batch["global_attention_mask"] = torch.zeros_like(ids_BT)
            batch["global_attention_mask"][:, 0] = int(self._has_global)
        if "labels" in rows[0]:
            labels = [row["labels"] for row in rows]
            batch["labels"] = torch.tensor(labels, dtype=torch.float32 if self._is_float else torch.int64)
        return batch
