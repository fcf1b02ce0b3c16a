"""Reads the rows of tables (JSON lines, Parquet, CSV, TSV) one by one, with their numbers."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from longspan.data.decoding import BYTE_ORDER_MARK, decoded_rows, not_utf8
from longspan.data.unpacking import ByteCounter, open_stream
from longspan.errors import InputError
from longspan.limits import LINE_BYTES, bound_of_archive, bound_of_file, too_large

_ROWS_AT_ONCE = 64


def json_line_objects(path: Path, counter: ByteCounter) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the line numbers, from 1, and objects of a file of JSON lines; blank lines are skipped.

    Raises:
        InputError: as `open_stream`; a line is too long, not UTF-8 (with the byte), or not a JSON object.
    """
    for line, offset, data in _lines(path, counter):
        if data.strip(b" \t\r\n\xef\xbb\xbf"):
            yield line, _object_of(path, line, data, offset)


def _lines(path: Path, counter: ByteCounter) -> Iterator[tuple[int, int, bytes]]:
    """Yield the number (from 1), the byte offset and the bytes of each line."""
    offset = 0
    with open_stream(path, counter) as stream:
        bound = bound_of_file(LINE_BYTES)
        for line, data in enumerate(iter(lambda: stream.readline(bound + 1), b""), 1):
            if len(data) > bound:
                raise too_large(f"{path}: line {line:,}", len(data), bound, is_whole=False)
            yield line, offset, data
            offset += len(data)


def _object_of(path: Path, line: int, data: bytes, offset: int) -> dict[str, Any]:
    try:
        record = json.loads(data.decode("utf-8-sig" if line == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        raise not_utf8(path, offset, error, f"line {line:,}") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: line {line:,} is not JSON: {error.msg} at column {error.colno}") from error
    except ValueError:  # Python reads no integer of more than 4,300 digits
        raise InputError(f"{path}: line {line:,} holds an integer that is too long") from None
    except RecursionError:
        raise InputError(f"{path}: line {line:,} is nested too deeply") from None
    if not isinstance(record, dict):
        raise InputError(f"{path}: line {line:,} is not a JSON object but {type(record).__name__}")
    return record


def parquet_rows(
    path: Path, choose: Callable[[dict[str, str]], list[str]], counter: ByteCounter
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the numbers, from 1, and rows of a Parquet file.

    Args:
        path: the file.
        choose: (column -> name of its Arrow type) -> the columns to read; it may raise InputError.
        counter: counts the bytes read.

    Raises:
        InputError: the file does not exist, is not Parquet or truncated, unpacks to too much, or has text that is not
            UTF-8.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        before, size = counter.n_bytes, path.stat().st_size
        # Without the two options that would read whole row groups ahead.
        with pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
            columns = choose({field.name: str(field.type) for field in file.schema_arrow})
            for column in columns:
                _require_bound(path, size, file.metadata, column)
            n_read = 0
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=columns):
                rows = ({column: batch.column(column)[i].as_py() for column in columns} for i in range(len(batch)))
                yield from enumerate(decoded_rows(rows, path, first=n_read + 1), n_read + 1)
                n_read += len(batch)
                counter.n_bytes = before + size * n_read // max(file.metadata.num_rows, 1)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(
            f"{path} cannot be read as Parquet ({error}); it is damaged, cut, or another format"
        ) from error


def _require_bound(path: Path, n_packed: int, metadata: Any, column: str) -> None:
    """Refuse a column whose declared size is above the bound for a file of `n_packed` bytes."""
    groups = (metadata.row_group(i) for i in range(metadata.num_row_groups))
    declared = sum(
        group.column(i).total_uncompressed_size
        for group in groups
        for i in range(group.num_columns)
        if group.column(i).path_in_schema.split(".")[0] == column
    )
    bound = bound_of_archive(n_packed)
    if declared > bound:
        raise too_large(path, declared, bound, is_packed=True)


def delimited_rows(path: Path, delimiter: str, counter: ByteCounter) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the numbers, from 1, and rows of a CSV or TSV file; the header is not counted.

    CSV follows RFC 4180: a cell may be quoted, and a quote in it is doubled. TSV has no quoting: a quote is an ordinary
    character.

    Raises:
        InputError: as `open_stream`; a row is not UTF-8, has a quote in the wrong place or another number of cells
            than the header; there is no header, or a column's name occurs twice in it.
    """
    row = 0
    is_csv = delimiter == ","
    quoting = csv.QUOTE_MINIMAL if is_csv else csv.QUOTE_NONE
    bound = csv.field_size_limit(bound_of_file(LINE_BYTES))
    try:
        lines = _decoded_lines(path, counter, lambda: row)
        reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
        header = next(reader, [])
        if not any(header):
            raise InputError(f"{path} has no header; its first line names the columns")
        repeated = sorted({name for name in header if header.count(name) > 1})
        if repeated:
            raise InputError(f"{path} has more than one column {', '.join(map(repr, repeated))}; rename them")
        row = 1
        for cells in reader:
            if cells:  # a blank line is no row
                if len(cells) != len(header):
                    raise InputError(
                        f"{path}: row {row:,} (it ends in line {reader.line_num:,}) has {len(cells)} cells, the header "
                        f"has {len(header)}; correct the row"
                    )
                yield row, dict(zip(header, cells, strict=True))
                row += 1
    except csv.Error as error:
        raise InputError(f"{path}: {_name_of_row(row)} cannot be read ({error}); correct its quotes") from error
    finally:
        csv.field_size_limit(bound)


def _name_of_row(row: int) -> str:
    return f"row {row:,}" if row else "the header"


def _decoded_lines(path: Path, counter: ByteCounter, row: Callable[[], int]) -> Iterator[str]:
    for line, offset, data in _lines(path, counter):
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise not_utf8(path, offset, error, f"{_name_of_row(row())} (line {line:,})") from error
        yield text.removeprefix(BYTE_ORDER_MARK) if line == 1 else text
