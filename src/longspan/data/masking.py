"""Masking for masked language modelling: chooses tokens and replaces them, reproducibly by seed."""

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
"""The label of a token that is not predicted."""

# Languages without spaces have long runs of tokens without a word start. The tokens of a run beyond this length are
# chosen one by one.
LONGEST_WORD = 8

_PURPOSES = {"training": 0, "evaluation": 1}


class Masker:
    """Masks tokens as BERT does (80/10/10); the choice depends only on seed, epoch and index.

    80 % of the chosen tokens become `<mask>`, 10 % become a random ordinary token, and 10 % stay; all are predicted.
    Each token, or each word with all of its tokens, is chosen independently with `probability`, which is the expected
    share of tokens in both cases. Special tokens are never chosen and never used as replacements.
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
        """Prepare the vocabulary.

        Args:
            tokenizer: a tokenizer with a mask token.
            probability: probability that a token is predicted.
            whole_words: predict all tokens of a word or none (words of at most `LONGEST_WORD` tokens).
            seed: seed of the choice.
            purpose: "training" and "evaluation" use different random numbers.

        Raises:
            InputError: there is no mask token, `probability` is not between 0 and 1, or the vocabulary does not mark
                words.
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
        """Mask one row.

        Args:
            input_ids: ids [T].
            epoch: number of the epoch, from 0.
            index: the row's number in the data.

        Returns:
            The model's inputs, and the labels (`IGNORED` for tokens that are not predicted); int64 [T], new storage.
        """
        draw = np.random.default_rng((*self._seed, epoch, index))
        original = np.asarray(input_ids, dtype=np.int64)
        n_tokens = len(original)
        is_special = self._is_special_V[original]
        unit = np.arange(n_tokens) if self._starts_V is None else self._words(original, is_special)
        # One random number per unit (token or word). n_tokens numbers are drawn in any case, so that the following
        # draws do not depend on the number of units.
        chosen = (draw.random(n_tokens) < self.probability)[unit] & ~is_special
        share, other = draw.random(n_tokens), self._ordinary[draw.integers(len(self._ordinary), size=n_tokens)]
        inputs = np.where(chosen & (share < 0.8), self.mask_id, original)
        inputs = np.where(chosen & (share >= 0.9), other, inputs)
        return inputs, np.where(chosen, original, IGNORED)

    def _words(self, ids: NDArray[np.int64], is_special: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Number of the word of each token, [T]."""
        assert self._starts_V is not None
        begins = self._starts_V[ids] | is_special
        begins[1:] |= is_special[:-1]
        begins[:1] = True
        word = np.cumsum(begins) - 1
        is_long = np.bincount(word)[word] > LONGEST_WORD
        return np.cumsum(begins | is_long) - 1


class MaskedLmCollator:
    """Pads rows of blocks to a batch for a masked language model.

    A row is a mapping with `input_ids` and `labels` [t] and, for packed documents, `document_ids` and `position_ids`
    [t]. The batch has `input_ids`, `labels` (`IGNORED` at padding) and `attention_mask` [B, T]. If the rows have them,
    it also has `document_ids` (-1 at padding), `position_ids` (`padding_position` at padding), and `block_ids` [B] from
    the rows' `block_id`, which error messages use. All are int64.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, padding_position: int | None = None) -> None:
        """Read the padding values.

        Args:
            tokenizer: a tokenizer with a padding token.
            padding_position: position of padding tokens; None: the padding token's id.

        Raises:
            InputError: the tokenizer has no padding token.
        """
        if tokenizer.pad_token_id is None:
            raise InputError("the tokenizer has no padding token; set one: tokenizer.pad_token = tokenizer.eos_token")
        pad_id = int(tokenizer.pad_token_id)  # pyright: ignore[reportArgumentType] - never a list here
        position = pad_id if padding_position is None else padding_position
        self._filler = {"input_ids": pad_id, "labels": IGNORED, "document_ids": -1, "position_ids": position}

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Make one batch; see the class."""
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
