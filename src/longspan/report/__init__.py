"""Makes tables, plots and one HTML page from records. Imports no torch."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longspan.report.find import Found, find_records
    from longspan.report.page import write_report

__all__ = ["Found", "find_records", "write_report"]

_FILE_OF_NAME = {"Found": "find", "find_records": "find", "write_report": "page"}


def __getattr__(name: str) -> Any:
    if name not in _FILE_OF_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_FILE_OF_NAME[name]}"), name)
