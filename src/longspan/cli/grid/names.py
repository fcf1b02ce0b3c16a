"""What a grid names and is not here, as far as that can be told without loading anything."""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from longspan.data import CATALOGUE
from longspan.data.corpora.sources import find_files, is_hub, parse_sources
from longspan.errors import InputError

_NEEDLE = "needle"  # made by `longspan evaluate`, in no catalogue
_FILES = (".json", ".jsonl", ".gz", ".xz", ".bz2", ".zip", ".zst")


def missing_data(name: str) -> Iterator[str]:
    """A sentence where a data set is no file here, in no catalogue, and not written as a name on the hub."""
    if Path(name).expanduser().exists() or name == _NEEDLE:
        return
    if any(name == known or name.startswith(known + ".") for known in CATALOGUE):
        return
    if name.count("/") == 1 and not _is_path(name) and Path(name).suffix not in _FILES:
        return
    near = difflib.get_close_matches(name, CATALOGUE, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else "`longspan ls datasets` lists those known by name"
    yield f"{name}: no such file or data set; {hint}"


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
