"""q, k, v -> out: who sees whom, and the backends that compute it.

Names are loaded when first used, so that `AttentionPattern` needs no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longspan.attention.dispatch import attend
    from longspan.attention.documents import Documents
    from longspan.attention.pattern import AttentionPattern
    from longspan.attention.selection import Choice, Request, explain, select
    from longspan.attention.slots import FoldedGlobalRows, GlobalRows, GlobalSlots
    from longspan.attention.weights import attention_weights

_FILE_OF_NAME = {
    "AttentionPattern": "pattern",
    "Choice": "selection",
    "Documents": "documents",
    "FoldedGlobalRows": "slots",
    "GlobalRows": "slots",
    "GlobalSlots": "slots",
    "Request": "selection",
    "attend": "dispatch",
    "attention_weights": "weights",
    "explain": "selection",
    "select": "selection",
}

__all__ = [
    "AttentionPattern",
    "Choice",
    "Documents",
    "FoldedGlobalRows",
    "GlobalRows",
    "GlobalSlots",
    "Request",
    "attend",
    "attention_weights",
    "explain",
    "select",
]


def __getattr__(name: str) -> Any:
    if name not in _FILE_OF_NAME:
        raise AttributeError(f"module 'longspan.attention' has no attribute {name!r}")
    # No file has the name of a function: importing it would put the file in the function's place.
    return getattr(importlib.import_module(f"longspan.attention.{_FILE_OF_NAME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
