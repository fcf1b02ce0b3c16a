"""Finds the records for a report."""

import glob
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from longspan.errors import InputError
from longspan.records import Record, read_record, read_record_if_one

logger = logging.getLogger(__name__)


class Found(NamedTuple):
    """A record and the file it was read from."""

    path: Path
    record: Record


def find_records(places: Iterable[str | Path]) -> list[Found]:
    """Read the records at `places`: record files, folders (recursively), and patterns of both.

    In folders and patterns, JSON files that are no records (configurations, tokenizers) are passed over, and so is what
    is hidden (a name that starts with a dot). A file found twice is read once. A pattern is one that the shell has not
    expanded, such as `"runs/**/evaluation.json"`. Files and folders that may not be read are named in a warning.

    Raises:
        InputError: a place is missing or may not be read, a named file or a found record is broken or of a later
            version (the message names the file and the field), or a place holds no record.
    """
    found: dict[Path, Found | None] = {}
    for place in map(Path, places):
        n_records = 0
        for path, is_named in _files(place):
            key = path.resolve()
            if key not in found or (is_named and found[key] is None):
                found[key] = _read(path, is_named=is_named)
            n_records += found[key] is not None
        if not n_records:
            raise InputError(
                f"{place} holds no record; pass a folder that extend, pretrain, finetune, evaluate, run or bench wrote"
            )
    return [one for one in found.values() if one is not None]


def _read(path: Path, *, is_named: bool) -> Found | None:
    try:
        record = read_record(path) if is_named else read_record_if_one(path)
    except OSError as error:
        _warn(error)
        return None
    return None if record is None else Found(path, record)


def _files(place: Path) -> Iterator[tuple[Path, bool]]:
    """Yield each file of a place, and whether the user named it, so that it must be a record."""
    if place.is_dir():
        yield from ((path, False) for path in _in_folder(place))
    elif place.exists():
        yield place, True
    elif glob.has_magic(str(place)):
        _warn_of_unreadable(place)
        matches = [Path(match) for match in sorted(glob.glob(str(place), recursive=True))]
        if not matches:
            raise InputError(f"nothing matches {place}; pass record files or the folder of a run")
        for match in matches:
            yield from ((path, False) for path in (_in_folder(match) if match.is_dir() else [match]))
    else:
        raise InputError(f"{place}: no such file or folder; pass record files or the folder of a run")


def _in_folder(folder: Path) -> list[Path]:
    """Return the JSON files below `folder`, links to folders followed, each folder once."""
    files: list[Path] = []
    seen: set[tuple[int, int]] = set()
    for place, folders, names in os.walk(folder, onerror=_warn, followlinks=True):
        state = os.stat(place)
        if (state.st_dev, state.st_ino) in seen:
            folders.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += [Path(place, name) for name in names if name.endswith(".json") and not name.startswith(".")]
    return sorted(path for path in files if path.is_file())


def _warn_of_unreadable(pattern: Path) -> None:
    """Warn of folders that match a pattern and cannot be read, which glob skips silently."""
    for part in reversed(pattern.parents):
        for match in glob.glob(str(part), recursive=True) if glob.has_magic(str(part)) else [str(part)]:
            if os.path.isdir(match):
                try:
                    with os.scandir(match):
                        pass
                except OSError as error:
                    _warn(error)


def _warn(error: OSError) -> None:
    logger.warning(
        "%s cannot be read (%s), and what is in it is not in the report; change its permissions, or name other places",
        error.filename,
        error.strerror,
    )
