"""Corpora for pre-training: sources are split into documents, tokenised into files, and arranged in blocks.

Names are loaded when first used, so that the processes that tokenise do not import torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longspan.data.corpora.blocks import BlockDataset
    from longspan.data.corpora.corpus import Corpus, load_corpus
    from longspan.data.corpora.sources import CorpusSource

_FILE_OF_NAME = {
    "BlockDataset": "blocks",
    "Corpus": "corpus",
    "CorpusSource": "sources",
    "load_corpus": "corpus",
}

__all__ = ["BlockDataset", "Corpus", "CorpusSource", "load_corpus"]


def __getattr__(name: str) -> Any:
    if name not in _FILE_OF_NAME:
        raise AttributeError(f"module 'longspan.data.corpora' has no attribute {name!r}")
    return getattr(importlib.import_module(f"longspan.data.corpora.{_FILE_OF_NAME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
