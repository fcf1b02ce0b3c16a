"""longspan: give the encoder you already have a long memory.

The names below are the whole public surface; they are loaded when first used, so that `import longspan` is quick
and rooms without torch stay without it.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0.dev0"

if TYPE_CHECKING:
    from longspan.extend import extend
    from longspan.models import (
        LongformerConfig,
        LongformerForMaskedLM,
        LongformerForMultipleChoice,
        LongformerForQuestionAnswering,
        LongformerForSequenceClassification,
        LongformerForTokenClassification,
        LongformerModel,
        register,
        use_fast_attention,
    )

_ROOM_OF_NAME = {
    "extend": "longspan.extend",
    "LongformerConfig": "longspan.models",
    "LongformerForMaskedLM": "longspan.models",
    "LongformerForMultipleChoice": "longspan.models",
    "LongformerForQuestionAnswering": "longspan.models",
    "LongformerForSequenceClassification": "longspan.models",
    "LongformerForTokenClassification": "longspan.models",
    "LongformerModel": "longspan.models",
    "register": "longspan.models",
    "use_fast_attention": "longspan.models",
}

__all__ = [
    "LongformerConfig",
    "LongformerForMaskedLM",
    "LongformerForMultipleChoice",
    "LongformerForQuestionAnswering",
    "LongformerForSequenceClassification",
    "LongformerForTokenClassification",
    "LongformerModel",
    "extend",
    "register",
    "use_fast_attention",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF_NAME:
        raise AttributeError(f"module 'longspan' has no attribute {name!r}")
    module = importlib.import_module(_ROOM_OF_NAME[name])
    # Importing the room `extend` binds that name to the room; the room is callable (docs/adr/0002).
    return module if name == "extend" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
