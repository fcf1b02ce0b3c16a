"""files -> features: readers, concatenation, overlapping windows, corpora in blocks, masking.

Names are loaded when first used: reading and concatenating need no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longspan.data.catalogue import CATALOGUE
    from longspan.data.collate import QaCollator
    from longspan.data.concatenation import concatenate
    from longspan.data.corpora import BlockDataset, Corpus, CorpusSource, load_corpus
    from longspan.data.examples import GoldAnswer, QaDataset, QaExample
    from longspan.data.named import expand_name, load_qa_dataset, require_data
    from longspan.data.qa_features import QaFeature, QaFeatures, make_qa_features
    from longspan.data.squad import read_squad
    from longspan.data.text import load_text

_FILE_OF_NAME = {
    "CATALOGUE": "catalogue",
    "BlockDataset": "corpora",
    "Corpus": "corpora",
    "CorpusSource": "corpora",
    "GoldAnswer": "examples",
    "QaCollator": "collate",
    "QaDataset": "examples",
    "QaExample": "examples",
    "QaFeature": "qa_features",
    "QaFeatures": "qa_features",
    "concatenate": "concatenation",
    "expand_name": "named",
    "load_corpus": "corpora",
    "load_qa_dataset": "named",
    "load_text": "text",
    "make_qa_features": "qa_features",
    "read_squad": "squad",
    "require_data": "named",
}

__all__ = [
    "CATALOGUE",
    "BlockDataset",
    "Corpus",
    "CorpusSource",
    "GoldAnswer",
    "QaCollator",
    "QaDataset",
    "QaExample",
    "QaFeature",
    "QaFeatures",
    "concatenate",
    "expand_name",
    "load_corpus",
    "load_qa_dataset",
    "load_text",
    "make_qa_features",
    "read_squad",
    "require_data",
]


def __getattr__(name: str) -> Any:
    if name not in _FILE_OF_NAME:
        raise AttributeError(f"module 'longspan.data' has no attribute {name!r}")
    return getattr(importlib.import_module(f"longspan.data.{_FILE_OF_NAME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
