"""Finds models and texts that a grid names and that do not exist, without loading anything."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from longspan.data.corpora.sources import find_files, is_hub, parse_sources
from longspan.errors import InputError


def missing_text(sources: list[Any]) -> Iterator[str]:
    """Yield a sentence for each missing source of text; data sets on the hub are not checked.

    Raises:
        InputError: a source has an unknown or wrong field.
    """
    for source in parse_sources(sources) if sources else []:
        if not is_hub(source):
            try:
                find_files(source)
            except InputError as error:
                yield str(error)


def missing_model(name: str) -> Iterator[str]:
    """Yield a sentence if a model is a path that does not exist; models on the hub are not checked."""
    if not Path(name).expanduser().exists() and (_is_path(name) or name.count("/") > 1):
        yield f"{name}: no such folder; give a model's folder, a name on the hub, or run:NAME"


def _is_path(name: str) -> bool:
    return name.startswith((".", "/", "~"))
