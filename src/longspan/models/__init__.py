"""tokens -> logits: the Longformer as transformers' `PreTrainedModel`s, and its task heads.

Names are loaded when first used, so that the table of heads (`longspan.models.heads`) needs no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from longspan.models.heads import HEADS, head_of_class

if TYPE_CHECKING:
    from longspan.models.config import LongformerConfig as LongformerConfig
    from longspan.models.fast_attention import stop_fast_attention as stop_fast_attention
    from longspan.models.fast_attention import use_fast_attention as use_fast_attention
    from longspan.models.heads import *  # noqa: F403 -- the class of every head
    from longspan.models.model import LongformerPreTrainedModel as LongformerPreTrainedModel
    from longspan.models.registration import register as register
    from longspan.models.registration import unregister as unregister

_FILE_OF_NAME = {
    "LongformerConfig": "config",
    "LongformerPreTrainedModel": "model",
    "register": "registration",
    "stop_fast_attention": "fast_attention",
    "unregister": "registration",
    "use_fast_attention": "fast_attention",
}

_CLASS_NAMES = [head.class_name for head in HEADS.values()]
__all__ = [*_FILE_OF_NAME, *_CLASS_NAMES]  # noqa: PLE0604 -- from the table; # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _FILE_OF_NAME:
        return getattr(importlib.import_module(f"longspan.models.{_FILE_OF_NAME[name]}"), name)
    if head := head_of_class(name):
        return head.load()
    raise AttributeError(f"module 'longspan.models' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
