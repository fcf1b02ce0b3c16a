"""Reads Parquet files: one record per row, with the text in a named column."""

from collections.abc import Iterator
from pathlib import Path

from longspan.data.corpora.fragments import Fragment, ReadOptions
from longspan.data.corpora.readers.records import documents_of_records
from longspan.data.corpora.streams import ByteCounter
from longspan.data.rows import parquet_rows
from longspan.errors import InputError


def read_parquet(path: Path, options: ReadOptions, counter: ByteCounter) -> Iterator[Fragment]:
    """Yield the texts in the column `options.text_field`.

    Raises:
        InputError: the file does not exist, is not Parquet or truncated, lacks the column, or has a row without text.
    """
    return documents_of_records(_texts(path, options.text_field, counter), options.documents)


def _texts(path: Path, column: str, counter: ByteCounter) -> Iterator[str]:
    def choose(types: dict[str, str]) -> list[str]:
        if column not in types:
            raise InputError(
                f"{path} has no column {column!r}; it has {', '.join(map(repr, types))}. "
                "Name the one with the text: text_field"
            )
        if types[column] not in {"string", "large_string"}:
            raise InputError(f"{path}: column {column!r} holds {types[column]}, not text")
        return [column]

    for i, row in parquet_rows(path, choose, counter):
        if row[column] is None:
            raise InputError(f"{path}: row {i:,} has no text in {column!r}")
        yield row[column]
