"""Masked language modelling: which tokens are asked for, and what stands in their place. The same for the same seed."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from longspan.data.vocabulary import special_token_mask, word_starts
from longspan.errors import InputError

IGNORED = -100
"""The label of a token that is not asked for."""

# A run of pieces without a mark of a new word, in languages that write none, is no word: beyond that many, its tokens
# are chosen one by one.
LONGEST_WORD = 8

_PURPOSES = {"training": 0, "evaluation": 1}


class Masker:
    """Chooses tokens (BERT's 80/10/10) anew in each epoch, by seed, epoch and index alone.

    Of the chosen tokens 80 % become `<mask>`, 10 % another ordinary piece, 10 % stay; all of them are asked for. Each
    token, or each word with all of its pieces, is chosen by itself with `probability`, so that the expected share of
    tokens is that in both cases. Special tokens are never chosen and never put in place.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        probability: float = 0.15,
        whole_words: bool = False,
        seed: int = 42,
        purpose: Literal["training", "evaluation"] = "training",
    ) -> None:
        """Take the vocabulary apart once.

        Args:
            tokenizer: with a mask token.
            probability: that a token is asked for.
            whole_words: ask for all pieces of a word or none (words of at most `LONGEST_WORD` pieces).
            seed: of the choice.
            purpose: two purposes never draw the same.

        Raises:
            InputError: there is no mask token, `probability` is not between 0 and 1, or words are not marked.
        """
        if tokenizer.mask_token_id is None:
            raise InputError(
                f"the tokenizer {tokenizer.name_or_path} has no mask token; masked language modelling needs one: "
                'tokenizer.add_special_tokens({"mask_token": "<mask>"})'
            )
        if not 0 < probability < 1:
            raise InputError(f"mask_probability is {probability}; choose a number between 0 and 1, such as 0.15")
        self.mask_id: int = int(tokenizer.mask_token_id)  # pyright: ignore[reportArgumentType] - never a list here
        self.probability = probability
        self._is_special_V = special_token_mask(tokenizer)
        self._ordinary = np.flatnonzero(~self._is_special_V)
        self._starts_V = word_starts(tokenizer) if whole_words else None
        self._seed = (seed, _PURPOSES[purpose])

    def mask(self, input_ids: NDArray[np.integer], *, epoch: int, index: int) -> tuple[NDArray, NDArray]:
        """Inputs and labels of one row.

        Args:
            input_ids: ids [T].
            epoch: how often the data has been gone through before.
            index: the row's own number in the data.

        Returns:
            What the model reads, and what it is asked for (`IGNORED` elsewhere); int64 [T], new storage.
        """
        draw = np.random.default_rng((*self._seed, epoch, index))
        original = np.asarray(input_ids, dtype=np.int64)
        n_tokens = len(original)
        is_special = self._is_special_V[original]
        unit = np.arange(n_tokens) if self._starts_V is None else self._words(original, is_special)
        # One number a unit; as many are drawn as there are tokens, so that what follows does not depend on the units.
        chosen = (draw.random(n_tokens) < self.probability)[unit] & ~is_special
        share, other = draw.random(n_tokens), self._ordinary[draw.integers(len(self._ordinary), size=n_tokens)]
        inputs = np.where(chosen & (share < 0.8), self.mask_id, original)
        inputs = np.where(chosen & (share >= 0.9), other, inputs)
        return inputs, np.where(chosen, original, IGNORED)

    def _words(self, ids: NDArray[np.int64], is_special: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The number of each token's word, [T]."""
        assert self._starts_V is not None
        begins = self._starts_V[ids] | is_special
        begins[1:] |= is_special[:-1]
        begins[:1] = True
        word = np.cumsum(begins) - 1
        is_long = np.bincount(word)[word] > LONGEST_WORD
        return np.cumsum(begins | is_long) - 1


class MaskedLmCollator:
    """Rows of blocks -> a padded batch for a masked language model.

    A row is a mapping with `input_ids` and `labels` [t] and, of packed documents, `document_ids` and `position_ids`
    [t]. The batch has `input_ids`, `labels` (`IGNORED` at padding) and `attention_mask` [B, T]; where the rows have
    them `document_ids` (padding belongs to no document: -1) and `position_ids` (padding's row of the table); and
    `block_ids` [B], where the rows have a `block_id`, which names the row in error messages. All int64.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, padding_position: int | None = None) -> None:
        """Take what padding needs.

        Args:
            tokenizer: gives the padding token.
            padding_position: padding's row of the position table; that of the padding token's id where None.

        Raises:
            InputError: the tokenizer has no padding token.
        """
        if tokenizer.pad_token_id is None:
            raise InputError("the tokenizer has no padding token; set one: tokenizer.pad_token = tokenizer.eos_token")
        pad_id = int(tokenizer.pad_token_id)  # pyright: ignore[reportArgumentType] - never a list here
        position = pad_id if padding_position is None else padding_position
        self._filler = {"input_ids": pad_id, "labels": IGNORED, "document_ids": -1, "position_ids": position}

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """One batch; see the class."""
        lengths = [len(row["input_ids"]) for row in rows]
        batch = {"attention_mask": self._pad([np.ones(n, dtype=np.int64) for n in lengths], max(lengths), 0)}
        for name, value in self._filler.items():
            if name in rows[0]:
                batch[name] = self._pad([np.asarray(row[name]) for row in rows], max(lengths), value)
        if "block_id" in rows[0]:
            batch["block_ids"] = torch.tensor([int(row["block_id"]) for row in rows])
        return batch

    @staticmethod
    def _pad(rows: Sequence[NDArray], n_tokens: int, value: int) -> Tensor:
        padded = np.full((len(rows), n_tokens), value, dtype=np.int64)
        for i, row in enumerate(rows):
            padded[i, : len(row)] = row
        return torch.from_numpy(padded)
