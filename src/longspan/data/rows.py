"""Rows of tables: JSON lines, Parquet, CSV and TSV, one after the other, each with its number."""

import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from longspan.data.decoding import BYTE_ORDER_MARK, decoded_rows, not_utf8
from longspan.data.unpacking import Meter, open_stream
from longspan.errors import InputError
from longspan.limits import LINE_BYTES, bound_of_archive, bound_of_file, too_large

_ROWS_AT_ONCE = 64


def json_line_objects(path: Path, meter: Meter) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file of JSON lines with the numbers of their lines, from 1; blank lines are left out.

    Raises:
        InputError: as `open_stream`; a line is too long, not UTF-8 (with the byte), or not a JSON object.
    """
    for line, offset, data in _lines(path, meter):
        if data.strip(b" \t\r\n\xef\xbb\xbf"):
            yield line, _object_of(path, line, data, offset)


def _lines(path: Path, meter: Meter) -> Iterator[tuple[int, int, bytes]]:
    """The lines of a file with their numbers, from 1, and the offsets of their first bytes."""
    offset = 0
    with open_stream(path, meter) as stream:
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
    path: Path, choose: Callable[[dict[str, str]], list[str]], meter: Meter
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a Parquet file with their numbers, from 1.

    Args:
        path: the file.
        choose: (column -> its type in Arrow's words) -> the columns to read; it may raise InputError.
        meter: counts what is read of the file.

    Raises:
        InputError: there is no such file, it is not Parquet or cut, unpacks to too much, or text is not UTF-8.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        before, size = meter.n_bytes, path.stat().st_size
        # Neither option of a Parquet file that would read whole row groups ahead.
        with pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
            columns = choose({field.name: str(field.type) for field in file.schema_arrow})
            for column in columns:
                _require_bound(path, size, file.metadata, column)
            n_read = 0
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=columns):
                rows = ({column: batch.column(column)[i].as_py() for column in columns} for i in range(len(batch)))
                yield from enumerate(decoded_rows(rows, path, first=n_read + 1), n_read + 1)
                n_read += len(batch)
                meter.n_bytes = before + size * n_read // max(file.metadata.num_rows, 1)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(
            f"{path} cannot be read as Parquet ({error}); it is damaged, cut, or another format"
        ) from error


def _require_bound(path: Path, n_packed: int, metadata: Any, column: str) -> None:
    """Refuse a column that declares more than a file of `n_packed` bytes may unpack to."""
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


def delimited_rows(path: Path, delimiter: str, meter: Meter) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV or TSV file with their numbers, from 1; the header is not counted.

    CSV follows RFC 4180: a cell may be quoted, a quote in it is doubled. TSV has no quoting: a quote is a character.
    Lines end with LF, CR LF, or CR alone, as spreadsheets of old Macs write them.

    Raises:
        InputError: as `open_stream`; a row is not UTF-8, has a quote in the wrong place or another number of cells
            than the header; there is no header, or a column's name comes twice in it.
    """
    row = 0
    is_csv = delimiter == ","
    quoting = csv.QUOTE_MINIMAL if is_csv else csv.QUOTE_NONE
    bound = csv.field_size_limit(bound_of_file(LINE_BYTES))
    try:
        lines = _Remembered(_decoded_lines(path, meter, lambda: row))
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
                        f"has {len(header)}; mend the row{_hint(lines.last)}"
                    )
                yield row, dict(zip(header, cells, strict=True))
                row += 1
    except csv.Error as error:
        raise InputError(f"{path}: {_told(row)} cannot be read ({error}); mend its quotes") from error
    finally:
        csv.field_size_limit(bound)


class _Remembered:
    """Lines, of which the last one that was read is kept."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines, self.last = lines, ""

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.last = line
            yield line


def _hint(line: str) -> str:
    return "; a carriage return outside of quotes ends a row, too" if line.endswith("\r") else ""


def _told(row: int) -> str:
    return f"row {row:,}" if row else "the header"


_CARRIAGE_RETURN = re.compile(rb"(?<=\r)(?!\n)")


def _decoded_lines(path: Path, meter: Meter, row: Callable[[], int]) -> Iterator[str]:
    line = 0
    for _, offset, data in _lines(path, meter):
        for part in _CARRIAGE_RETURN.split(data) if b"\r" in data else [data]:
            if not part:  # behind a carriage return that ends the file
                continue
            line += 1
            try:
                text = part.decode()
            except UnicodeDecodeError as error:
                raise not_utf8(path, offset, error, f"{_told(row())} (line {line:,})") from error
            yield text.removeprefix(BYTE_ORDER_MARK) if line == 1 else text
            offset += len(part)  # noqa: PLW2901  (of the next part)
