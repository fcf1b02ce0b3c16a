"""Reads JSON lines: one object per line, with the text in a named field."""

from collections.abc import Iterator
from pathlib import Path

from longspan.data.corpora.fragments import Fragment, ReadOptions
from longspan.data.corpora.readers.records import documents_of_records
from longspan.data.corpora.streams import ByteCounter
from longspan.data.decoding import require_text
from longspan.data.rows import json_line_objects
from longspan.errors import InputError


def read_json_lines(path: Path, options: ReadOptions, counter: ByteCounter) -> Iterator[Fragment]:
    """Yield the texts in `options.text_field`. Each line is read as a whole into memory.

    Raises:
        InputError: as `json_line_objects`; a line lacks the field, or has something other than text in it (with the
            line's number, from 1).
    """
    return documents_of_records(_texts(path, options.text_field, counter), options.documents)


def _texts(path: Path, field: str, counter: ByteCounter) -> Iterator[str]:
    for line, record in json_line_objects(path, counter):
        if field not in record:
            raise InputError(
                f"{path}: line {line:,} has no field {field!r}; it has {', '.join(map(repr, record)) or 'none'}. "
                "Name the one with the text: text_field"
            )
        if not isinstance(record[field], str):
            raise InputError(f"{path}: line {line:,}: {field!r} holds {type(record[field]).__name__}, not text")
        yield require_text(record[field], f"{path}: line {line:,}: {field!r}")
