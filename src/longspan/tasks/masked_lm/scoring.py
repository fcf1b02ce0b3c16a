"""Scores how well a model fills in masked tokens, with longer and shorter context around the same tokens.

A text is cut into blocks of the greatest length; tokens of a block are masked once. For a shorter context the
same masked text is cut into pieces of that length, each framed by the special tokens, so that every length predicts the
same tokens: a model that gains nothing beyond 512 tokens has the same loss at 512 and at 4,096.

N masked tokens
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from longspan.data.corpora import BlockDataset, Corpus
from longspan.data.masking import IGNORED, MaskedLmCollator, Masker
from longspan.errors import InputError
from longspan.metrics.language_modelling import LossSums
from longspan.models import LongformerForMaskedLM
from longspan.progress import progress_bar


class HeldOutText(NamedTuple):
    """One source's blocks, masked once.

    blocks: the longest ones, special tokens taken off: (masked ids, labels, characters of each token), int64 [T] each.
    """

    name: str
    language: str
    before: tuple[int, ...]
    after: tuple[int, ...]
    blocks: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]


def hold_out(corpus: Corpus, masker: Masker, *, max_tokens: int, max_blocks: int) -> list[HeldOutText]:
    """Mask the first `max_blocks` blocks of each source of `corpus`, drawn evenly over its length.

    Raises:
        InputError: a source is shorter than one block.
    """
    texts = []
    for tokens in corpus.sources:
        source = tokens.source
        alone = Corpus((tokens,), corpus.frame, corpus.tokenizer_fingerprint)
        n_framing = len(corpus.frame.before) + len(corpus.frame.after)
        if tokens.n_tokens < max_tokens - n_framing:
            raise InputError(
                f"{source.label} has {tokens.n_tokens:,} tokens, less than one block of {max_tokens:,} to evaluate on; "
                "pass more text, or shorter eval_lengths"
            )
        whole = BlockDataset(
            alone, max_tokens=max_tokens, layout="continuous", shuffle=False, last_block="drop", token_characters=True
        )
        n_blocks = min(max_blocks, len(whole))
        blocks = []
        for index in np.linspace(0, len(whole) - 1, n_blocks).round().astype(int).tolist():
            item = whole[index]
            text = slice(len(corpus.frame.before), max_tokens - len(corpus.frame.after))
            ids, labels = masker.mask(np.asarray(item["input_ids"])[text], epoch=0, index=index)
            blocks.append((ids, labels, np.asarray(item["token_characters"])[text]))
        texts.append(HeldOutText(source.label, source.language, corpus.frame.before, corpus.frame.after, blocks))
    return texts


class MaskedLmScorer:
    """Scores a model on held-out text at several lengths of context.

    Args:
        tokenizer: of the model; it frames and pads.
        lengths: tokens of context, special ones included, ascending; the blocks of the texts have the longest.
        batch_tokens: approximate number of tokens in one forward.
        dtype: of autocast; None for the model's own.
        rank, n_processes: of this process; each process calls `score` and gets the sums of its share.
    """

    def __init__(
        self,
        tokenizer: Any,
        lengths: Sequence[int],
        *,
        batch_tokens: int,
        dtype: torch.dtype | None = None,
        rank: int = 0,
        n_processes: int = 1,
    ) -> None:
        self.lengths = sorted(set(lengths))
        self._collate = MaskedLmCollator(tokenizer)
        self._batch_tokens, self._dtype = batch_tokens, dtype
        self._rank, self._n_processes = rank, n_processes

    def score(
        self, model: LongformerForMaskedLM, texts: Sequence[HeldOutText], *, progress: bool = False
    ) -> dict[tuple[int, int], LossSums]:
        """(number of the text, length) -> sums of this process' share.

        Texts are cut to a length that all lengths divide into whole pieces, up to the special tokens of a piece. All
        processes run the same number of forwards, because a sharded model needs them together.
        """
        was_training = model.training
        model.eval()
        found = {}
        jobs = [(i, length) for i in range(len(texts)) for length in self.lengths]
        try:
            for i, length in progress_bar(jobs, is_shown=progress, desc="evaluating", leave=False):
                found[i, length] = self._score_at(model, texts[i], length)
        finally:
            model.train(was_training)
        return found

    def _score_at(self, model: LongformerForMaskedLM, text: HeldOutText, length: int) -> LossSums:
        sums = LossSums(length)
        device = next(model.parameters()).device
        batches = list(self._batches(text, length))
        n_rounds = -(-len(batches) // self._n_processes)
        for k in range(n_rounds):
            place = k * self._n_processes + self._rank
            is_mine = place < len(batches)
            rows = batches[place if is_mine else -1]
            batch = self._collate([{"input_ids": ids, "labels": labels} for ids, labels, _ in rows])
            characters = np.concatenate([of_row[labels != IGNORED] for _, labels, of_row in rows])
            positions = np.concatenate([np.flatnonzero(labels != IGNORED) for _, labels, _ in rows])
            with torch.no_grad(), self._autocast(device.type):
                log_p = model.log_probabilities(**{name: x.to(device) for name, x in batch.items()})
            if is_mine:
                sums.add(-log_p.cpu().double().numpy(), positions, characters)
        return sums

    def _batches(self, text: HeldOutText, length: int) -> Iterator[list[tuple[NDArray, NDArray, NDArray]]]:
        """Pieces of `length` tokens with special tokens, in batches of pieces of similar length."""
        n_framing = len(text.before) + len(text.after)
        shortest, longest = self.lengths[0] - n_framing, self.lengths[-1] - n_framing
        usable = longest // shortest * shortest
        rows: list[tuple[NDArray, NDArray, NDArray]] = []
        for ids, labels, characters in text.blocks:
            for start in range(0, usable, length - n_framing):
                part = slice(start, min(start + length - n_framing, usable))
                before, after = len(text.before), len(text.after)
                rows.append(
                    (
                        np.concatenate([text.before, ids[part], text.after]).astype(np.int64),
                        np.pad(labels[part], (before, after), constant_values=IGNORED),
                        np.pad(characters[part], (before, after)),
                    )
                )
        n_rows = max(1, self._batch_tokens // length)
        for start in range(0, len(rows), n_rows):
            yield rows[start : start + n_rows]

    def _autocast(self, device: str) -> contextlib.AbstractContextManager[Any]:
        if self._dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(device, self._dtype)
