"""Reads data files: documents, corpora in blocks, question answering (`qa/`) and classification data.

Names are loaded when first used, so that reading data does not import torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longspan.data.corpora import BlockDataset, Corpus, CorpusSource, load_corpus
    from longspan.data.text import load_text

_FILE_OF_NAME = {
    "BlockDataset": "corpora",
    "Corpus": "corpora",
    "CorpusSource": "corpora",
    "load_corpus": "corpora",
    "load_text": "text",
}

__all__ = [
    "BlockDataset",
    "Corpus",
    "CorpusSource",
    "load_corpus",
    "load_text",
]


def __getattr__(name: str) -> Any:
    if name not in _FILE_OF_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_FILE_OF_NAME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
