"""Parquet: one row a record, the text in a named column."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from longspan.data.corpora.fragments import Fragment, Reading
from longspan.data.corpora.readers.records import documents_of_records
from longspan.data.corpora.streams import Meter
from longspan.data.decoding import decoded_rows
from longspan.errors import InputError
from longspan.limits import bound_of_archive, too_large

_ROWS_AT_ONCE = 64


def read_parquet(path: Path, reading: Reading, meter: Meter) -> Iterator[Fragment]:
    """The texts in the column `reading.text_field`.

    Raises:
        InputError: there is no such file, it is not Parquet or cut, has no such column, or a row has no text in it.
    """
    return documents_of_records(_texts(path, reading.text_field, meter), reading.documents)


def _require_bound(path: Path, n_packed: int, metadata: Any, column: int) -> None:
    """Refuse a column that declares more than a file of `n_packed` bytes may unpack to."""
    groups = (metadata.row_group(i) for i in range(metadata.num_row_groups))
    if metadata.num_columns > column:
        declared = sum(group.column(column).total_uncompressed_size for group in groups)
        bound = bound_of_archive(n_packed)
        if declared > bound:
            raise too_large(path, declared, bound, is_packed=True)


def _texts(path: Path, column: str, meter: Meter) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    before, size = meter.n_bytes, path.stat().st_size
    try:
        # Neither option of a Parquet file that would read whole row groups ahead.
        with pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
            names = file.schema_arrow.names
            if column not in names:
                raise InputError(
                    f"{path} has no column {column!r}; it has {', '.join(map(repr, names))}. "
                    "Name the one with the text: text_field"
                )
            _require_bound(path, size, file.metadata, file.schema_arrow.get_field_index(column))
            n_read = 0
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=[column]):
                texts = batch.column(0)
                if not (pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type)):
                    raise InputError(f"{path}: column {column!r} holds {texts.type}, not text")
                values = (value.as_py() for value in texts)
                for i, text in enumerate(decoded_rows(values, path, first=n_read + 1)):
                    if text is None:
                        raise InputError(f"{path}: row {n_read + i + 1:,} has no text in {column!r}")
                    yield text
                n_read += len(texts)
                meter.n_bytes = before + size * n_read // max(file.metadata.num_rows, 1)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(
            f"{path} cannot be read as Parquet ({error}); it is damaged, cut, or another format"
        ) from error
