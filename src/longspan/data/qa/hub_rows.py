"""Reads questions from a data set of the Hugging Face hub."""

from collections.abc import Callable
from typing import Any

from longspan.data.decoding import decoded_rows
from longspan.data.hub import fingerprint_of
from longspan.data.qa.examples import QaDataset
from longspan.data.qa.squad import dataset_from_rows
from longspan.errors import InputError


def dataset_from_hub_rows(
    rows: Any, *, source: str, name: str, language: str, keep: Callable[[str], bool] | None = None
) -> QaDataset:
    """Make a data set from a `datasets.Dataset` with SQuAD's columns; `keep` as in `dataset_from_rows`.

    Raises:
        InputError: a column is missing, or a row is wrong.
    """
    require_columns(rows, ("id", "question", "context", "answers"), source)
    fingerprint = {source: fingerprint_of(rows)}
    return dataset_from_rows(
        decoded_rows(rows, source), source=source, name=name, language=language, sha256=fingerprint, keep=keep
    )


def require_columns(rows: Any, columns: tuple[str, ...], source: str) -> None:
    """Raise InputError unless `rows` has all `columns`."""
    missing = [column for column in columns if column not in rows.column_names]
    if missing:
        raise InputError(
            f"{source} has no column {', '.join(missing)}; it has {', '.join(rows.column_names)}. Rename its columns "
            "as in SQuAD (id, question, context, answers with text and answer_start)"
        )
