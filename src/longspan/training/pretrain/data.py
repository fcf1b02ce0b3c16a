"""Text -> an endless stream of masked blocks with random access by number."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from longspan.data.corpora import BlockDataset, Corpus, load_corpus
from longspan.data.masking import Masker
from longspan.errors import InputError
from longspan.training.pretrain.recipe import PretrainRecipe


class TrainingStream(Dataset[dict[str, Any]]):
    """Blocks of one epoch after the other, masked; `n_rows` of them.

    Row k depends on k and the seed alone (its epoch is k // blocks). So a run that resumes at row k reads what an
    uninterrupted run reads, whatever the batches and processes.
    """

    def __init__(self, blocks: BlockDataset, masker: Masker, n_rows: int, *, first_position: int) -> None:
        """Take `blocks`, whose epoch is set here as needed; positions count from `first_position` (padding id + 1)."""
        self.blocks, self.n_rows = blocks, n_rows
        self._masker, self._first_position = masker, first_position

    def __len__(self) -> int:
        return self.n_rows

    def __getitem__(self, row: int) -> dict[str, Any]:
        epoch, index = divmod(row, len(self.blocks))
        if self.blocks.epoch != epoch:
            self.blocks.set_epoch(epoch)
        block = self.blocks[index]
        inputs, labels = self._masker.mask(np.asarray(block["input_ids"]), epoch=epoch, index=index)
        found = {"input_ids": inputs, "labels": labels, "block_id": block["block"]}
        if "document_ids" in block:
            positions = np.asarray(block["positions"]) + self._first_position
            found |= {"document_ids": np.asarray(block["document_ids"]), "position_ids": positions}
        return found


def load_corpora(recipe: PretrainRecipe, tokenizer: Any, *, progress: bool = True) -> tuple[Corpus, list[Corpus]]:
    """The text to train on, and the texts to evaluate on (none if the recipe names none).

    Raises:
        InputError: a source cannot be read or is empty.
    """
    cache_dir = Path(recipe.cache_dir).expanduser() if recipe.cache_dir else default_cache_dir()
    options = {"cache_dir": cache_dir, "n_processes": recipe.n_processes, "progress": progress}
    train = load_corpus(recipe.train_data, tokenizer, **options)
    evaluation = []
    if recipe.held_out:
        train, held_out = train.split(recipe.held_out, seed=recipe.seed)
        evaluation.append(held_out)
    if recipe.eval_data:
        evaluation.append(load_corpus(recipe.eval_data, tokenizer, **options))
    return train, evaluation


def make_blocks(recipe: PretrainRecipe, corpus: Corpus, max_length: int) -> BlockDataset:
    """The blocks of an epoch.

    Raises:
        InputError: the corpus is shorter than one block.
    """
    n_framing = len(corpus.frame.before) + len(corpus.frame.after)
    n_framed = corpus.n_documents if recipe.layout == "documents" else 1
    if corpus.n_tokens + n_framed * n_framing < max_length:
        raise InputError(
            f"the training text has {corpus.n_tokens:,} tokens, less than one block of {max_length:,}; pass more text, "
            "or a smaller max_length"
        )
    data_seed = recipe.training.get("data_seed")
    return BlockDataset(
        corpus, max_tokens=max_length, layout=recipe.layout, seed=recipe.seed if data_seed is None else data_seed,
        last_block="keep",
    )  # fmt: skip


def default_cache_dir() -> Path:
    """Longspan's folder in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "longspan" / "corpora"
