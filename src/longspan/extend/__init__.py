"""Extends a 512-token encoder to thousands of tokens: name maps, position rows, global projections, and the proof.

The package is callable: `longspan.extend(...)` calls the function `extend` (docs/adr/0002).
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longspan.extend.extension import Extended, copy_global_projections, extend
    from longspan.extend.saving import save_extended
    from longspan.extend.sources import load_source

_FILE_OF_NAME = {
    "Extended": "longspan.extend.extension",
    "copy_global_projections": "longspan.extend.extension",
    "extend": "longspan.extend.extension",
    "load_source": "longspan.extend.sources",
    "save_extended": "longspan.extend.saving",
}

__all__ = ["Extended", "copy_global_projections", "extend", "load_source", "save_extended"]


def __getattr__(name: str) -> Any:
    if name not in _FILE_OF_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_FILE_OF_NAME[name]), name)


class _CallablePackage(ModuleType):
    """A module that forwards calls to the function of its name."""

    def __call__(self, *args: Any, **kwargs: Any) -> "Extended":
        from longspan.extend.extension import extend

        return extend(*args, **kwargs)


sys.modules[__name__].__class__ = _CallablePackage
