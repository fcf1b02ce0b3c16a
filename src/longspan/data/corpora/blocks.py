"""`BlockDataset` gives random access to a corpus in blocks of equal length, in an order determined by a seed."""

import hashlib
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from longspan.data.corpora.corpus import Corpus
from longspan.data.corpora.layouts import ContinuousLayout, DocumentsLayout, Layout, Segment
from longspan.errors import InputError

_ORDER = 1  # spawn key of the random numbers for orders


class BlockDataset(Dataset[dict[str, Any]]):
    """Blocks of `max_tokens` tokens of a corpus. T: tokens of a block.

    An item is a dict:

    - `input_ids`: int64 [T], framed by the tokenizer's special tokens.
    - `attention_mask`: int64 [T], 0 for padding.
    - `special_tokens_mask`: int64 [T], 1 for added special tokens, separators and padding.
    - `document_ids` (layout "documents"): int64 [T], 0, 1, ... in the order of the block, -1 for padding. Tokens must
      not see tokens with another number.
    - `positions` (layout "documents"): int64 [T], 0, 1, ... from the start of each document's segment. A RoBERTa-like
      model adds its offset (padding id + 1).
    - `token_characters` (on request): int64 [T], number of characters of the text per token; 0 for special tokens.
    - `n_tokens`, `n_characters`: number of tokens and characters of the text, without special tokens. The sum of the
      tokens' losses in nats over `n_characters` ln 2 is the loss in bits per character.
    - `source` (its name), `language`, `block` (its number, the same in every epoch).

    Every token of the corpus is in exactly one block, except those of the last short block with `last_block="drop"`. An
    item is found directly, without reading the items before it.
    """

    def __init__(
        self,
        corpus: Corpus,
        *,
        max_tokens: int,
        layout: Literal["documents", "continuous"] = "documents",
        seed: int = 0,
        epoch: int = 0,
        shuffle: bool = True,
        separator: bool = True,
        last_block: Literal["pad", "keep", "drop"] = "pad",
        token_characters: bool = False,
    ) -> None:
        """Arrange a corpus in blocks.

        Args:
            corpus: a corpus from `load_corpus`.
            max_tokens: tokens per block, special tokens included.
            layout: "documents": documents are packed into blocks, each framed by special tokens, and only documents
                longer than a block are cut (for attention within documents). "continuous": RoBERTa's full sentences,
                one stream that is cut when a block is full, with special tokens once per block.
            seed: seed of the order.
            epoch: the first epoch; `set_epoch` changes it.
            shuffle: False: every block once per epoch, in the order of the text, whatever the weights.
            separator: put the tokenizer's separator between documents of a stream.
            last_block: treatment of a block that is not full: "pad" adds padding, "keep" returns it short, "drop"
                leaves it out (only the last block of a stream; counted in `n_dropped_tokens`).
            token_characters: include `token_characters` in items.

        Raises:
            InputError: `max_tokens` leaves no room for text beside special tokens, the tokenizer has no separator,
                every block is dropped, or the options contradict each other.
        """
        _check(corpus, max_tokens, layout, separator, last_block)
        self.corpus, self.max_tokens, self.layout_name = corpus, max_tokens, layout
        self.seed, self.shuffle, self.last_block = seed, shuffle, last_block
        self.has_separator, self.gives_token_characters = separator, token_characters
        self.layouts: list[Layout] = [
            DocumentsLayout(source, corpus.frame, max_tokens)
            if layout == "documents"
            else ContinuousLayout(
                source, corpus.frame, max_tokens, has_separator=separator, drops_last=last_block == "drop"
            )
            for source in corpus.sources
        ]
        n_blocks = np.array([layout.n_blocks for layout in self.layouts], np.int64)
        for source, n in zip(corpus.sources, n_blocks, strict=True):
            if not n:
                raise InputError(
                    f"{source.source.label} has {source.n_tokens:,} tokens, less than one block of {max_tokens:,}, and "
                    'short blocks are dropped: pass more text, a smaller max_tokens, or last_block="pad"'
                )
        self._first_of_source = np.concatenate([[0], np.cumsum(n_blocks)])
        weights = np.array([source.source.weight for source in corpus.sources]) if shuffle else np.ones(len(n_blocks))
        self._n_drawn = np.maximum(np.rint(weights * n_blocks).astype(np.int64), 1)
        self.set_epoch(epoch)

    @property
    def n_blocks(self) -> int:
        """Number of different blocks, which is the length of an epoch if all weights are 1."""
        return int(self._first_of_source[-1])

    @property
    def n_dropped_tokens(self) -> int:
        """Number of tokens of the text that are in no block."""
        return sum(layout.n_dropped_tokens for layout in self.layouts)

    @property
    def fingerprint(self) -> str:
        """A hash of the blocks and their order in every epoch; a resumed run compares it."""
        options = (self.max_tokens, self.layout_name, self.seed, self.shuffle, self.has_separator, self.last_block)
        return hashlib.sha256(f"{self.corpus.fingerprint} {options}".encode()).hexdigest()

    def set_epoch(self, epoch: int) -> None:
        """Set the order of blocks of an epoch. A source of weight w gives each block w times per epoch on average.

        Every block of a source comes once before any of its blocks is repeated.
        """
        self.epoch = epoch
        self._order = self._order_of(epoch)

    def _order_of(self, epoch: int) -> NDArray[np.int64]:
        """int64 [items]: number of the block of each item."""
        drawn = []
        for i, n_drawn in enumerate(self._n_drawn.tolist()):
            first, n = int(self._first_of_source[i]), self.layouts[i].n_blocks
            start = epoch * n_drawn if self.shuffle else 0
            rounds = range(start // n, -(-(start + n_drawn) // n))
            blocks = np.concatenate([self._permutation(n, i, k) for k in rounds])
            at = start - rounds.start * n
            drawn.append(first + blocks[at : at + n_drawn])
        everything = np.concatenate(drawn)
        return everything[self._permutation(len(everything), len(drawn), epoch)]

    def _permutation(self, n: int, *salt: int) -> NDArray[np.int64]:
        if not self.shuffle:
            return np.arange(n, dtype=np.int64)
        # The spawn key separates these random numbers from those of masks (longspan.data.masking), which have no key.
        seeds = np.random.SeedSequence(self.seed % 2**64, spawn_key=(_ORDER, *salt))
        # RandomState instead of Generator, because numpy guarantees the same numbers in later versions.
        return np.random.RandomState(np.random.MT19937(seeds)).permutation(n).astype(np.int64)

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.block(int(self._order[index]))

    def segments(self, block: int) -> tuple[int, list[Segment]]:
        """Return the index of a block's source, and the block's segments."""
        source = int(np.searchsorted(self._first_of_source, block, side="right")) - 1
        return source, self.layouts[source].segments(block - int(self._first_of_source[source]))[0]

    def block(self, block: int) -> dict[str, Any]:
        """Return the block of that number, independent of the epoch; see the class for its keys."""
        i = int(np.searchsorted(self._first_of_source, block, side="right")) - 1
        tokens = self.corpus.sources[i]
        segments, has_separator_first = self.layouts[i].segments(block - int(self._first_of_source[i]))
        if self.layout_name == "documents":
            columns = self._framed_documents(segments)
        else:
            columns = self._framed_stream(segments, has_separator_first)
        texts = [(part.at, part.at + part.length) for part in segments]
        is_text = np.concatenate(columns["is_text"])
        ids = np.full(len(is_text), self.corpus.frame.pad, np.int64)
        ids[~is_text] = np.concatenate(columns["special"])
        ids[is_text] = np.concatenate([tokens.store.ids(*text) for text in texts])
        characters = np.zeros(len(is_text), np.int64)
        characters[is_text] = np.concatenate([tokens.store.n_characters(*text) for text in texts])
        item: dict[str, Any] = {
            "input_ids": self._fill(ids, self.corpus.frame.pad),
            "attention_mask": self._fill(np.ones(len(ids), np.int64), 0),
            "special_tokens_mask": self._fill(1 - is_text, 1),
        }
        if self.layout_name == "documents":
            item["document_ids"] = self._fill(np.concatenate(columns["document"]), -1)
            item["positions"] = self._fill(np.concatenate(columns["position"]), 0)
        if self.gives_token_characters:
            item["token_characters"] = self._fill(characters, 0)
        return item | {
            "n_tokens": int(is_text.sum()),
            "n_characters": int(characters.sum()),
            "source": tokens.source.label,
            "language": tokens.source.language,
            "block": block,
        }

    def _fill(self, values: NDArray[Any], padding: int) -> Tensor:
        if self.last_block == "keep" or len(values) == self.max_tokens:
            return torch.from_numpy(values.astype(np.int64, copy=False))
        filled = np.full(self.max_tokens, padding, np.int64)
        filled[: len(values)] = values
        return torch.from_numpy(filled)

    def _framed_documents(self, segments: list[Segment]) -> dict[str, list[NDArray[Any]]]:
        """Columns of a block: `special` tokens in order; per token `is_text`, `document` and `position`."""
        before, after = self.corpus.frame.before, self.corpus.frame.after
        columns: dict[str, list[NDArray[Any]]] = {"special": [], "is_text": [], "document": [], "position": []}
        for i, segment in enumerate(segments):
            size = len(before) + segment.length + len(after)
            is_text = np.zeros(size, bool)
            is_text[len(before) : size - len(after)] = True
            columns["special"].append(np.array([*before, *after], np.int64))
            columns["is_text"].append(is_text)
            columns["document"].append(np.full(size, i, np.int64))
            columns["position"].append(np.arange(size, dtype=np.int64))
        return columns

    def _framed_stream(self, segments: list[Segment], has_separator_first: bool) -> dict[str, list[NDArray[Any]]]:
        """Columns of a block: `special` tokens in order; per token `is_text`."""
        before, after = self.corpus.frame.before, self.corpus.frame.after
        is_text = [np.zeros(len(before) + has_separator_first, bool)]
        for i, segment in enumerate(segments):
            if i and self.has_separator:
                is_text.append(np.zeros(1, bool))
            is_text.append(np.ones(segment.length, bool))
        is_text.append(np.zeros(len(after), bool))
        n_separators = sum(len(some) for some in is_text) - len(before) - len(after)
        n_separators -= sum(segment.length for segment in segments)
        separators = [self.corpus.frame.separator] * n_separators
        return {"special": [np.array([*before, *separators, *after], np.int64)], "is_text": is_text}


def _check(corpus: Corpus, max_tokens: int, layout: str, separator: bool, last_block: str) -> None:
    n_special = len(corpus.frame.before) + len(corpus.frame.after)
    if max_tokens <= n_special:
        raise InputError(
            f"max_tokens is {max_tokens}, and a block needs room for {n_special} special tokens and one of the text; "
            "ask for more"
        )
    if layout not in {"documents", "continuous"}:
        raise InputError(f"layout is {layout!r}; it must be documents or continuous")
    if last_block not in {"pad", "keep", "drop"}:
        raise InputError(f"last_block is {last_block!r}; it must be pad, keep or drop")
    if layout == "documents" and last_block == "drop":
        raise InputError(
            'last_block="drop" is for layout="continuous", whose last block alone is short; packed documents leave '
            "some room in many blocks: pad or keep them"
        )
    if layout == "continuous" and separator and corpus.frame.separator is None:
        raise InputError("the tokenizer has neither a separator nor an end-of-text token: set one, or separator=False")
