"""Reading and writing records as JSON files."""

from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from longspan.errors import InputError
from longspan.files import replace_file
from longspan.limits import load_json
from longspan.records.older import upgrade
from longspan.records.schema import SCHEMA_VERSION, Record

_ANY_RECORD: TypeAdapter[Record] = TypeAdapter(Record)
_KINDS = frozenset(kind.model_fields["kind"].default for kind in get_args(get_args(Record)[0]))


def write_record(record: Record, path: str | Path) -> Path:
    """Write `record` as JSON to `path` and return the path; a killed write leaves the old file or the new one."""
    path = Path(path)
    with replace_file(path) as temporary:
        temporary.write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return path


def read_record(path: str | Path) -> Record:
    """Read a record as the type it was written as; one of an earlier version is converted.

    Raises:
        InputError: there is no such file, it is too large, or it is not a record (the message names the first wrong
            field).
    """
    path = Path(path)
    try:
        fields = load_json(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such record; pass the JSON file that a run wrote") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; pass the JSON file that a run wrote into it") from None
    except PermissionError:
        raise InputError(f"{path} may not be read; change its permissions") from None
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{path} is not a longspan record: the file is not JSON ({error})") from error
    return parse_record(fields, path)


def read_record_if_one(path: Path) -> Record | None:
    """Read a record; None if the file is something else, such as a model's configuration.

    Raises:
        InputError: it is a record that is broken or of a later version.
    """
    try:
        fields = load_json(path)
    except ValueError:
        # Records state their kind at the start, so one that was cut off, or is too large, is still known as one.
        with path.open("rb") as file:
            start = file.read(200).decode("utf-8", "replace")
        if any(f'"kind": "{kind}"' in start or f'"kind":"{kind}"' in start for kind in _KINDS):
            return read_record(path)
        return None
    if not isinstance(fields, dict) or not isinstance(fields.get("kind"), str):
        return None
    # An unknown kind with the fields of a record is of a later version: `parse_record` refuses it.
    is_record = fields["kind"] in _KINDS or {"schema_version", "made"} <= fields.keys()
    return parse_record(fields, path) if is_record else None


def parse_record(fields: Any, path: Path) -> Record:
    """Return the record that the JSON value `fields` holds; `path` is named in errors.

    Raises:
        InputError: it is not a record (the message names the first wrong field), or of a later version.
    """
    try:
        return _ANY_RECORD.validate_python(upgrade(fields) if isinstance(fields, dict) else fields)
    except ValidationError as error:
        first = error.errors()[0]
        if first["loc"][-1:] == ("schema_version",):
            raise InputError(
                f"{path} has schema version {first['input']}, and this longspan reads 1 to {SCHEMA_VERSION}; "
                "update longspan"
            ) from error
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InputError(f"{path} is not a longspan record: {field}: {first['msg']}") from error
