"""q, k, v -> out: who sees whom, and the backends that compute it.

Names are loaded when first used, so that `AttentionPattern` needs no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longspan.attention.backends import BackendChoice, explain, select
    from longspan.attention.call import attend
    from longspan.attention.documents import Documents
    from longspan.attention.inputs import BackendRequest
    from longspan.attention.pattern import AttentionPattern
    from longspan.attention.probabilities import attention_weights
    from longspan.attention.slots import FoldedGlobalRows, GlobalRows, GlobalSlots

_FILE_OF_NAME = {
    "AttentionPattern": "pattern",
    "BackendChoice": "backends",
    "BackendRequest": "inputs",
    "Documents": "documents",
    "FoldedGlobalRows": "slots",
    "GlobalRows": "slots",
    "GlobalSlots": "slots",
    "attend": "call",
    "attention_weights": "probabilities",
    "explain": "backends",
    "select": "backends",
}

__all__ = [
    "AttentionPattern",
    "BackendChoice",
    "BackendRequest",
    "Documents",
    "FoldedGlobalRows",
    "GlobalRows",
    "GlobalSlots",
    "attend",
    "attention_weights",
    "explain",
    "select",
]


def __getattr__(name: str) -> Any:
    if name not in _FILE_OF_NAME:
        raise AttributeError(f"module 'longspan.attention' has no attribute {name!r}")
    # No file may have the name of a function: importing the file would put the module in the function's place.
    return getattr(importlib.import_module(f"longspan.attention.{_FILE_OF_NAME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
