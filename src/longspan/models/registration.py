"""Make transformers' Auto classes build the models of this room."""

from collections.abc import Iterator
from typing import Any

import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from longspan.models.config import LongformerConfig
from longspan.models.heads import HEADS

# What `register` replaced: transformers' table, key, and the value before; None if not registered.
_replaced: list[tuple[Any, Any, Any]] | None = None
_NOTHING = object()


def register() -> None:
    """Make `transformers.AutoConfig` and the `AutoModel*` classes build longspan's Longformer in this process.

    It affects every checkpoint of `model_type` "longformer", and configurations of transformers' own class. Calling it
    again changes nothing. `unregister` undoes it.
    """
    global _replaced  # noqa: PLW0603 -- transformers' tables are global too
    if _replaced is not None:
        return
    _replaced = []
    for table, key, value in _entries():
        # As the `register` of the Auto classes, which in some versions ignores transformers' own configurations.
        _replaced.append((table, key, table._extra_content.get(key, _NOTHING)))
        table._extra_content[key] = value


def unregister() -> None:
    """Undo `register`: the Auto classes build what they built before."""
    global _replaced  # noqa: PLW0603
    for table, key, old in _replaced or ():
        if old is _NOTHING:
            table._extra_content.pop(key, None)
        else:
            table._extra_content[key] = old
    _replaced = None


def _entries() -> Iterator[tuple[Any, Any, Any]]:
    """Every entry that `register` writes: transformers' table, key, value."""
    yield CONFIG_MAPPING, "longformer", LongformerConfig
    for head in HEADS.values():
        for auto_class in head.auto_classes:
            for config_class in (LongformerConfig, transformers.LongformerConfig):
                yield getattr(transformers, auto_class)._model_mapping, config_class, head.load()
