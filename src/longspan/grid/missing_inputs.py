"""What a grid names and is not here, as far as that can be told without loading anything."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from longspan.data.corpora.sources import find_files, is_hub, parse_sources
from longspan.data.qa import expand_name, require_data
from longspan.errors import InputError
from longspan.training.recipe.fields import split_entry

_NEEDLE = "needle"  # made by `longspan evaluate`, in no catalogue


def missing_train_data(entries: Sequence[str]) -> Iterator[str]:
    """A sentence for each entry of `train_data` or `eval_data` that is no file here and in no catalogue."""
    for entry in entries:
        try:
            require_data(split_entry(entry)[0])
        except InputError as error:
            yield str(error)


def missing_data(names: Sequence[str], languages: Sequence[str] | None) -> Iterator[str]:
    """The same for the data of an evaluation; what is written as a name on the hub is not asked for."""
    for name in names:
        try:
            for one, _ in [] if name == _NEEDLE else expand_name(name, languages):
                require_data(one)
        except InputError as error:
            yield str(error)


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
