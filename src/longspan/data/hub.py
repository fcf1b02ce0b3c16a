"""Data sets of the Hugging Face hub, or of its local cache."""

from collections.abc import Callable
from typing import Any

from longspan.data.decoding import decoded_rows
from longspan.data.qa.examples import QaDataset
from longspan.data.qa.squad import dataset_from_rows
from longspan.errors import InputError


def load_from_hub(
    name: str, repository: str, config: str | None, split: str | None, revision: str | None = None
) -> Any:
    """The rows of one split, as `datasets` gives them.

    Raises:
        InputError: the hub has no such set, configuration or split, asks for a login, or is not reachable while the
            set is not cached.
    """
    import datasets
    from datasets.exceptions import DatasetNotFoundError

    local = "a local file works too: pass the path of a JSON file in SQuAD's format instead of the name"
    try:
        return datasets.load_dataset(repository, config, split=split, revision=revision)
    except DatasetNotFoundError as error:
        raise InputError(f"{name}: the hub has no data set {repository}, or asks for a login; {local}") from error
    except ConnectionError as error:
        raise InputError(f"{name}: the Hugging Face hub is not reachable and the set is not cached; {local}") from error
    except (ValueError, RuntimeError, FileNotFoundError) as error:
        # No such configuration or split, or a repository whose loading script `datasets` no longer runs.
        raise InputError(f"{name}: {repository} cannot be read ({error}); {local}") from error


def dataset_from_hub_rows(
    rows: Any, *, source: str, name: str, language: str, keep: Callable[[str], bool] | None = None
) -> QaDataset:
    """The data set in a `datasets.Dataset` with SQuAD's columns; `keep` as in `dataset_from_rows`.

    Raises:
        InputError: a column is missing, or a row is not as it should be.
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


def fingerprint_of(rows: Any) -> str:
    """What tells these rows from others: `datasets` keeps no hash of the files."""
    return str(rows._fingerprint)
