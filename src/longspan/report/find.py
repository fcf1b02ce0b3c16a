"""Finding the records that a report is to be made from."""

import glob
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from longspan.errors import InputError
from longspan.limits import load_json
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
    the shell has not opened, such as `"runs/**/evaluation.json"`.

    Raises:
        InputError: a place is missing, a named file or a found record is broken or of a later version (the message
            names the file and the field), or a place holds no record.
    """
    found: dict[Path, Found] = {}
    for place in map(Path, places):
        for path in _record_files(place):
            found.setdefault(path.resolve(), Found(path, read_record(path)))
    return list(found.values())


def _record_files(place: Path) -> list[Path]:
    if place.is_dir():
        paths = _in_folder(place)
    elif place.exists():
        return [place]
    elif glob.has_magic(str(place)):
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
    files = sorted(
        path
        for path in folder.rglob("*.json")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    return _only_records(files)


def _only_records(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if _is_record(path)]


def _is_record(path: Path) -> bool:
    """Whether the file says it is a record; a file that is not JSON is a user's mistake unless it says nothing."""
    try:
        data = load_json(path)
    except ValueError:
        # Cut in the middle, or too large: records say their kind at the start, so a broken one is known and
        # reported by its reader.
        with path.open("rb") as file:
            start = file.read(200).decode("utf-8", "replace")
        return any(f'"kind": "{kind}"' in start or f'"kind":"{kind}"' in start for kind in _KINDS)
    if not isinstance(data, dict) or not isinstance(data.get("kind"), str):
        return False
    # A kind that is not known here, with a record's fields, is of a later version: its reader says so.
    return data["kind"] in _KINDS or {"schema_version", "made"} <= data.keys()
