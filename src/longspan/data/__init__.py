"""files -> features: documents, corpora in blocks, masking; each family of tasks has a folder (`qa/`).

Names are loaded when they are first used: reading data needs no torch.
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
