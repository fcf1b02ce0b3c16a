"""Reads data sets of the Hugging Face hub, or of a local folder, by the library datasets."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from longspan.data.corpora.fragments import Fragment, ReadOptions
from longspan.data.corpora.readers.records import documents_of_records
from longspan.data.decoding import decoded_rows
from longspan.errors import InputError

_ROWS_AT_ONCE = 64


class HubTexts(NamedTuple):
    """A data set that was found but not read yet.

    Attributes:
        name: its name in errors.
        content: the library's fingerprint of its files, which changes with the data set.
        rows: the rows of a split.
    """

    name: str
    content: str
    rows: Any

    def read(self, options: ReadOptions) -> Iterator[Fragment]:
        """The texts in the column `options.text_field`.

        Raises:
            InputError: there is no such column, or a row has no text in it.
        """
        return documents_of_records(_texts(self, options.text_field), options.documents)


def find_on_hub(path: str, *, split: str, revision: str | None, streaming: bool) -> HubTexts:
    """Find a data set: `owner/name`, `owner/name:configuration`, a folder that `datasets` saved, or one of its files.

    Raises:
        InputError: nothing of that name, no such configuration or split, or the hub is not reachable.
    """
    import datasets
    from datasets.exceptions import DatasetNotFoundError

    if any((Path(path) / name).is_file() for name in ("dataset_info.json", "dataset_dict.json")):
        return _find_saved(path, split)
    is_folder = Path(path).is_dir()
    repository, _, config = (path, "", "") if is_folder else path.partition(":")
    try:
        builder = datasets.load_dataset_builder(repository, config or None, revision=revision)
        splits = builder.info.splits
        if splits is not None and split not in splits:
            raise InputError(f"{path} has no split {split!r}; it has {', '.join(splits)}")
        if streaming:
            rows = builder.as_streaming_dataset(split=split)
        else:
            builder.download_and_prepare()
            rows = builder.as_dataset(split=split)
    except InputError:
        raise
    except DatasetNotFoundError as error:
        raise InputError(f"{path}: the hub has no data set {repository}, or asks for a login") from error
    except ConnectionError as error:
        raise InputError(f"{path}: the Hugging Face hub is not reachable and the set is not cached") from error
    except (ValueError, RuntimeError, FileNotFoundError) as error:
        # No such configuration or split, or a repository whose loading script `datasets` no longer runs.
        raise InputError(f"{path} cannot be read by the library datasets ({error})") from error
    return HubTexts(path, f"{builder.name} {builder.config_id} {builder.hash} {split}", rows)


def _find_saved(path: str, split: str) -> HubTexts:
    import datasets

    found = datasets.load_from_disk(path)
    if isinstance(found, datasets.DatasetDict):
        if split not in found:
            raise InputError(f"{path} has no split {split!r}; it has {', '.join(map(str, found))}")
        found = found[split]
    return HubTexts(path, found._fingerprint, found)


def _texts(found: HubTexts, column: str) -> Iterator[str]:
    names = found.rows.column_names  # None for a stream whose columns are known only from its rows
    if names is not None and column not in names:
        raise InputError(
            f"{found.name} has no column {column!r}; it has {', '.join(names)}. Name the one with the text: text_field"
        )
    batches: Iterable[dict[str, list[Any]]] = (
        found.rows if names is None else found.rows.select_columns([column])
    ).iter(_ROWS_AT_ONCE)
    n_read = 0
    for batch in decoded_rows(batches, found.name, n_at_once=_ROWS_AT_ONCE):
        if column not in batch:
            raise InputError(f"{found.name} has no column {column!r}; it has {', '.join(batch)}: set text_field")
        for i, text in enumerate(batch[column]):
            if not isinstance(text, str):
                kind = "nothing" if text is None else type(text).__name__
                raise InputError(f"{found.name}: row {n_read + i + 1:,} holds {kind} in {column!r}, not text")
            yield text
        n_read += len(batch[column])
