"""Finding the records that a report is made from."""

import glob
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from longspan.errors import InputError
from longspan.records import Record, read_record, read_record_if_one


class Found(NamedTuple):
    """A record and the file it was read from."""

    path: Path
    record: Record


def find_records(places: Iterable[str | Path]) -> list[Found]:
    """Read the records at `places`: record files, folders with all folders below them, and patterns of both.

    In folders and patterns, JSON files that are no records (configurations, tokenizers) are passed over, and so is what
    is hidden (a name that starts with a dot). A file found twice is read once. A pattern is one that the shell has not
    expanded, such as `"runs/**/evaluation.json"`.

    Raises:
        InputError: a place is missing, a named file or a found record is broken or of a later version (the message
            names the file and the field), or a place holds no record.
    """
    found: dict[Path, Found | None] = {}
    for place in map(Path, places):
        n_records = 0
        for path, is_named in _files(place):
            key = path.resolve()
            if key not in found or (is_named and found[key] is None):
                record = read_record(path) if is_named else read_record_if_one(path)
                found[key] = None if record is None else Found(path, record)
            n_records += found[key] is not None
        if not n_records:
            raise InputError(
                f"{place} holds no record; pass a folder that extend, pretrain, finetune, evaluate, run or bench wrote"
            )
    return [one for one in found.values() if one is not None]


def _files(place: Path) -> Iterator[tuple[Path, bool]]:
    """Yield each file of a place, and whether the user named it (then it has to be a record)."""
    if place.is_dir():
        yield from ((path, False) for path in _in_folder(place))
    elif place.exists():
        yield place, True
    elif glob.has_magic(str(place)):
        matches = [Path(match) for match in sorted(glob.glob(str(place), recursive=True))]
        if not matches:
            raise InputError(f"nothing matches {place}; pass record files or the folder of a run")
        for match in matches:
            yield from ((path, False) for path in (_in_folder(match) if match.is_dir() else [match]))
    else:
        raise InputError(f"{place}: no such file or folder; pass record files or the folder of a run")


def _in_folder(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*.json")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
