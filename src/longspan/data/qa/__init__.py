"""Question answering data: reads files and named data sets, and makes overlapping windows with labels.

Names are loaded when first used, so that reading data does not import torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longspan.data.qa.catalogue import CATALOGUE
    from longspan.data.qa.concatenation import concatenate
    from longspan.data.qa.examples import GoldAnswer, QaDataset, QaExample
    from longspan.data.qa.features import QaFeature, QaFeatures, make_qa_features
    from longspan.data.qa.load import expand_name, load_qa_dataset, require_data
    from longspan.data.qa.padding import QaCollator
    from longspan.data.qa.squad import read_squad

_FILE_OF_NAME = {
    "CATALOGUE": "catalogue",
    "GoldAnswer": "examples",
    "QaCollator": "padding",
    "QaDataset": "examples",
    "QaExample": "examples",
    "QaFeature": "features",
    "QaFeatures": "features",
    "concatenate": "concatenation",
    "expand_name": "load",
    "load_qa_dataset": "load",
    "make_qa_features": "features",
    "read_squad": "squad",
    "require_data": "load",
}

__all__ = [
    "CATALOGUE",
    "GoldAnswer",
    "QaCollator",
    "QaDataset",
    "QaExample",
    "QaFeature",
    "QaFeatures",
    "concatenate",
    "expand_name",
    "load_qa_dataset",
    "make_qa_features",
    "read_squad",
    "require_data",
]


def __getattr__(name: str) -> Any:
    if name not in _FILE_OF_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_FILE_OF_NAME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
