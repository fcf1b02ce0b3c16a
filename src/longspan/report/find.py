"""Finding the records that a report is to be made from."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from longspan.errors import InputError
from longspan.records import BenchmarkRecord, EvaluationRecord, ProofRecord, Record, TrainingRecord, read_record

_KINDS = {
    kind.model_fields["kind"].default for kind in (ProofRecord, TrainingRecord, EvaluationRecord, BenchmarkRecord)
}


class Found(NamedTuple):
    """A record and the file it was read from."""

    path: Path
    record: Record


def find_records(places: Iterable[str | Path]) -> list[Found]:
    """Read the records at `places`: record files, and folders searched with all folders below them.

    A folder's JSON files without one of the records' kinds (configurations, tokenizers) are passed over, and so is
    whatever is hidden (a name that starts with a dot). A file found twice is read once.

    Raises:
        InputError: a place is missing, a named file or a found record is broken (the message names the file and the
            field), or a place holds no record.
    """
    found: dict[Path, Found] = {}
    for place in map(Path, places):
        if not place.exists():
            raise InputError(f"{place}: no such file or folder; pass record files or the folder of a run")
        paths = [path for path in _json_files(place) if _is_record(path)] if place.is_dir() else [place]
        if not paths:
            raise InputError(f"{place} holds no record; pass a folder that extend, finetune, evaluate or bench wrote")
        for path in paths:
            found.setdefault(path.resolve(), Found(path, read_record(path)))
    return list(found.values())


def _json_files(folder: Path) -> list[Path]:
    files = folder.rglob("*.json")
    return sorted(
        path
        for path in files
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _is_record(path: Path) -> bool:
    """Whether the file says it is a record; a file that is not JSON is a user's mistake unless it says nothing."""
    try:
        data = json.loads(path.read_bytes())
    except ValueError:
        # Cut in the middle: records say their kind at the start, so a broken one is known and reported by its reader.
        with path.open("rb") as file:
            start = file.read(200).decode("utf-8", "replace")
        return any(f'"kind": "{kind}"' in start or f'"kind":"{kind}"' in start for kind in _KINDS)
    return isinstance(data, dict) and isinstance(data.get("kind"), str) and data["kind"] in _KINDS
