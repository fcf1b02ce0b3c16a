"""Corpora to pre-train on: sources -> documents -> tokens on the disk -> blocks.

Names are loaded when first used: the processes that tokenise need no torch.
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
