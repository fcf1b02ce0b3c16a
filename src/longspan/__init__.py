"""longspan: give the encoder you already have a long memory.

`__all__` is the whole public surface. Names are loaded when first used, so that `import longspan` is quick and does
not import torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from longspan.models.heads import HEADS, head_of_class

__version__ = "0.1.0.dev0"

if TYPE_CHECKING:
    from longspan.extend import extend as extend
    from longspan.models import LongformerConfig as LongformerConfig
    from longspan.models import register as register
    from longspan.models import use_fast_attention as use_fast_attention
    from longspan.models.heads import *  # noqa: F403 -- the class of every head

_ROOM_OF_NAME = {
    "LongformerConfig": "longspan.models",
    "extend": "longspan.extend",
    "register": "longspan.models",
    "use_fast_attention": "longspan.models",
}

_CLASS_NAMES = [head.class_name for head in HEADS.values()]
__all__ = [*_ROOM_OF_NAME, *_CLASS_NAMES]  # noqa: PLE0604 -- from the table; # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF_NAME:
        if head := head_of_class(name):
            return head.load()
        raise AttributeError(f"module 'longspan' has no attribute {name!r}")
    module = importlib.import_module(_ROOM_OF_NAME[name])
    # Importing the package `longspan.extend` binds `extend` to the package, which is callable (docs/adr/0002).
    return module if name == "extend" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
