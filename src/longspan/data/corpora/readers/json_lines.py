"""JSON lines: one object a line, the text in a named field."""

import json
from collections.abc import Iterator
from pathlib import Path

from longspan.data.corpora.fragments import Fragment, Reading
from longspan.data.corpora.readers.records import documents_of_records
from longspan.data.corpora.streams import Meter, open_stream
from longspan.data.decoding import not_utf8, require_text
from longspan.errors import InputError
from longspan.limits import LINE_BYTES, bound_of_file, too_large


def read_json_lines(path: Path, reading: Reading, meter: Meter) -> Iterator[Fragment]:
    """The texts in `reading.text_field`. A line is read whole: memory holds the longest one.

    Raises:
        InputError: as `open_stream`; a line is too long, not UTF-8 (with the byte), not a JSON object, has no such
            field, or something other than text in it (with the line's number, from 1).
    """
    return documents_of_records(_texts(path, reading.text_field, meter), reading.documents)


def _texts(path: Path, field: str, meter: Meter) -> Iterator[str]:
    offset = 0
    with open_stream(path, meter) as stream:
        bound = bound_of_file(LINE_BYTES)
        for i, data in enumerate(iter(lambda: stream.readline(bound + 1), b""), 1):
            if len(data) > bound:
                raise too_large(f"{path}: line {i:,}", len(data), bound, is_whole=False)
            if data.strip(b" \t\r\n\xef\xbb\xbf"):
                yield _text_of(path, i, data, offset, field)
            offset += len(data)


def _text_of(path: Path, line: int, data: bytes, offset: int, field: str) -> str:
    try:
        record = json.loads(data.decode("utf-8-sig" if line == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        raise not_utf8(path, offset, error) from error
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: line {line:,} is not JSON: {error.msg} at column {error.colno}") from error
    except RecursionError:
        raise InputError(f"{path}: line {line:,} is nested too deeply") from None
    if not isinstance(record, dict):
        raise InputError(f"{path}: line {line:,} is not a JSON object but {type(record).__name__}")
    if field not in record:
        raise InputError(
            f"{path}: line {line:,} has no field {field!r}; it has {', '.join(map(repr, record)) or 'none'}. "
            "Name the one with the text: text_field"
        )
    if not isinstance(record[field], str):
        raise InputError(f"{path}: line {line:,}: {field!r} holds {type(record[field]).__name__}, not text")
    return require_text(record[field], f"{path}: line {line:,}: {field!r}")
