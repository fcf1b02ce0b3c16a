"""What a grid names and is not here, as far as that can be told without loading anything."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from longspan.data.corpora.sources import find_files, is_hub, parse_sources
from longspan.errors import InputError


def missing_text(sources: list[Any]) -> Iterator[str]:
    """A sentence for each source of text that is not there; what is on the hub is not asked for.

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
    """A sentence where a model is written as a folder and is none here; what is on the hub is not asked for."""
    if not Path(name).expanduser().exists() and (_is_path(name) or name.count("/") > 1):
        yield f"{name}: no such folder; give a model's folder, a name on the hub, or run:NAME"


def _is_path(name: str) -> bool:
    return name.startswith((".", "/", "~"))
