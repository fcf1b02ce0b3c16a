"""checkpoint -> records: honest protocols and their baselines."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longspan.evaluation.evaluate import evaluate_question_answering
    from longspan.evaluation.systems import SYSTEM_NAMES, systems_for

__all__ = ["SYSTEM_NAMES", "evaluate_question_answering", "systems_for"]

_FILE_OF_NAME = {
    "SYSTEM_NAMES": "systems",
    "evaluate_question_answering": "evaluate",
    "systems_for": "systems",
}


def __getattr__(name: str) -> Any:
    if name not in _FILE_OF_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_FILE_OF_NAME[name]}"), name)
