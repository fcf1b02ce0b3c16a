"""Finding the records that a report is to be made from."""

import glob
import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from longspan.errors import InputError
from longspan.records import (
    BenchmarkRecord,
    ComparisonRecord,
    EvaluationRecord,
    GridRecord,
    ProofRecord,
    Record,
    TrainingRecord,
    read_record,
)

logger = logging.getLogger(__name__)

_KINDS = {
    kind.model_fields["kind"].default
    for kind in (ProofRecord, TrainingRecord, EvaluationRecord, BenchmarkRecord, ComparisonRecord, GridRecord)
}


class Found(NamedTuple):
    """A record and the file it was read from."""

    path: Path
    record: Record


def find_records(places: Iterable[str | Path]) -> list[Found]:
    """Read the records at `places`: record files, folders searched with all folders below them, and patterns of both.

    JSON files without one of the records' kinds (configurations, tokenizers) are passed over in folders and patterns,
    and so is whatever is hidden (a name that starts with a dot). A file found twice is read once. A pattern is one that
    the shell has not opened, such as `"runs/**/evaluation.json"`. Files and folders in them that may not be read are
    named in a warning.

    Raises:
        InputError: a place is missing or may not be read, a named file or a found record is broken or of a later
            version (the message names the file and the field), or a place holds no record.
    """
    found: dict[Path, Found] = {}
    for place in map(Path, places):
        try:
            files = _record_files(place)
        except PermissionError as error:
            raise InputError(
                f"{place} may not be read: {error.filename} is closed to you; change its permissions"
            ) from error
        for path in files:
            found.setdefault(path.resolve(), Found(path, read_record(path)))
    return list(found.values())


def _record_files(place: Path) -> list[Path]:
    if place.is_dir():
        paths = _in_folder(place)
    elif place.exists():
        return [place]
    elif glob.has_magic(str(place)):
        _warn_of_unreadable(place)
        matches = [Path(match) for match in sorted(glob.glob(str(place), recursive=True))]
        if not matches:
            raise InputError(f"nothing matches {place}; pass record files or the folder of a run")
        paths = [
            path for match in matches for path in (_in_folder(match) if match.is_dir() else _only_records([match]))
        ]
    else:
        raise InputError(f"{place}: no such file or folder; pass record files or the folder of a run")
    if not paths:
        raise InputError(
            f"{place} holds no record; pass a folder that extend, pretrain, finetune, evaluate, run or bench wrote"
        )
    return paths


def _in_folder(folder: Path) -> list[Path]:
    """The records below `folder`, links to folders followed, each folder once."""
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
    return _only_records(sorted(files))


def _warn_of_unreadable(pattern: Path) -> None:
    """Name the folders that a pattern leads to and that cannot be read: glob passes over them."""
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


def _only_records(paths: Iterable[Path]) -> list[Path]:
    found = []
    for path in paths:
        try:
            if path.is_file() and _is_record(path):
                found.append(path)
        except OSError as error:
            _warn(error)
    return found


def _is_record(path: Path) -> bool:
    """Whether the file says it is a record; a file that is not JSON is a user's mistake unless it says nothing."""
    try:
        data = json.loads(path.read_bytes())
    except ValueError:
        # Cut in the middle: records say their kind at the start, so a broken one is known and reported by its reader.
        with path.open("rb") as file:
            start = file.read(200).decode("utf-8", "replace")
        return any(f'"kind": "{kind}"' in start or f'"kind":"{kind}"' in start for kind in _KINDS)
    if not isinstance(data, dict) or not isinstance(data.get("kind"), str):
        return False
    # A kind that is not known here, with a record's fields, is of a later version: its reader says so.
    return data["kind"] in _KINDS or {"schema_version", "made"} <= data.keys()
