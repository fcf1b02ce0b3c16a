"""`load_labelled_dataset`: a file, a folder, a name with a path, or a name of the hub -> labelled texts."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from longspan.data.classification.examples import LabelledDataset
from longspan.data.classification.folders import read_class_folders
from longspan.data.classification.hyperpartisan import is_hyperpartisan, read_hyperpartisan
from longspan.data.classification.newsgroups import read_newsgroups
from longspan.data.classification.tables import Columns, is_table, name_of_table, read_hub_rows, read_table
from longspan.data.hub import load_from_hub
from longspan.data.languages import language_of_name
from longspan.data.names import known_split, looks_like_a_path
from longspan.errors import InputError
from longspan.wording import did_you_mean

_SPLITS = {"train": "train", "validation": "validation", "dev": "validation", "test": "test"}


@dataclass(frozen=True, kw_only=True)
class ClassificationEntry:
    """One data set by name; the user gives the path of its files.

    Attributes:
        read: (path, split, name in tables) -> the data set.
        splits: that the set has.
        description: one line.
        licence: of the data.
        path: what to give after the @.
        language: of the texts.
    """

    read: Callable[[Path, str, str], LabelledDataset]
    splits: tuple[str, ...]
    description: str
    licence: str
    path: str
    language: str = "en"


CLASSIFICATION_CATALOGUE = {
    "imdb": ClassificationEntry(
        read=lambda path, split, name: read_class_folders(path, split=split, name=name, language="en"),
        splits=("train", "validation", "test"),
        description="IMDB: film reviews, positive or negative (Maas et al. 2011); validation if the folder has one",
        licence="free for research",
        path="the folder aclImdb",
    ),
    "hyperpartisan": ClassificationEntry(
        read=lambda path, split, name: read_hyperpartisan(path, split=split, name=name),
        splits=("train", "validation", "test"),
        description="Hyperpartisan news (Kiesel et al. 2019), split by Beltagy et al. 2020 without its overlaps",
        licence="CC BY 4.0",
        path="articles-training-byarticle-20181122.xml or its folder, with the ground truth file",
    ),
    "hyperpartisan_released": ClassificationEntry(
        read=lambda path, split, name: read_hyperpartisan(path, split=split, name=name, released=True),
        splits=("train", "validation", "test"),
        description="the same, split as released: 51 of its 65 test articles are in its training part too",
        licence="CC BY 4.0",
        path="articles-training-byarticle-20181122.xml or its folder, with the ground truth file",
    ),
    "20newsgroups": ClassificationEntry(
        read=lambda path, split, name: read_newsgroups(path, split=split, name=name),
        splits=("train", "test"),
        description="20 Newsgroups: posts by group; 60 per cent of each group to train, by hash and not by date",
        licence="none (public posts)",
        path="a file of JSON lines with group, file and text",
    ),
}


def load_labelled_dataset(
    name: str,
    *,
    text_column: str | None = None,
    pair_column: str | None = None,
    label_column: str | None = None,
    label_separator: str | None = None,
    problem_type: str | None = None,
    language: str | None = None,
    split: str | None = None,
    name_in_tables: str | None = None,
) -> LabelledDataset:
    """Read labelled texts from a file, a folder, a set of the catalogue, or the Hugging Face hub.

    Args:
        name: one of

            - a file .csv, .tsv, .jsonl, .json (JSON lines or one array) or .parquet, maybe compressed;
            - a folder of class folders, maybe within train and test as IMDB's, or one that `datasets` saved;
            - Hyperpartisan's articles-*.xml with its ground truth file beside it, or the folder of both;
            - `NAME.SPLIT@PATH` with a name of `CLASSIFICATION_CATALOGUE`: `imdb.test@data/aclImdb`;
            - `OWNER/NAME` or `OWNER/NAME:CONFIGURATION` on the hub or in its local cache.
        text_column: with the text; the only one of `TEXT_COLUMNS` (tables.py) if None.
        pair_column: with the second text of a pair; no pairs if None.
        label_column: with the label or number; the only one of `LABEL_COLUMNS` if None.
        label_separator: between the labels in a cell; makes the data multi-label.
        problem_type: transformers' name; if None, multi-label if the first label is a list, else single-label.
        language: of the texts; what the file's name tells, else English, if None.
        split: "train", "validation" or "test"; needed if the data has several. The name's own split comes first.
        name_in_tables: the data set's name in tables; made from `name` if None.

    Raises:
        InputError: nothing of that name, no such split, a missing column, a row that is not as it should be, or the
            hub is not reachable.
    """
    columns = Columns(
        text=text_column,
        pair=pair_column,
        label=label_column,
        separator=label_separator,
        problem_type=cast("Any", problem_type),
    )
    split = None if split is None else _SPLITS.get(split, split)
    if _exists(name):
        return _read_path(Path(name), columns, split, language, name_in_tables)
    if "@" in name:
        return _read_entry(name, columns, split, language, name_in_tables)
    repository, config = _hub_parts(name)
    rows, chosen = _one_split(name, load_from_hub(name, repository, config or None, split), split)
    return read_hub_rows(
        rows,
        columns,
        source=f"{name} ({chosen})" if chosen else name,
        name=name_in_tables or (f"{name} ({chosen})" if chosen else name),
        language=language or language_of_name(config or name.partition("/")[2]) or "en",
    )


def require_data(name: str, *, split: str | None = None) -> None:
    """Refuse what `load_labelled_dataset` cannot find by its name alone; nothing is opened, and the hub not asked.

    Args:
        name: as in `load_labelled_dataset`.
        split: to read where the name has none; see `load_labelled_dataset`.

    Raises:
        InputError: no such file or folder, no data set of that name, or not a split that it has.
    """
    if _exists(name):
        return
    if "@" in name:
        _entry_parts(name, None if split is None else _SPLITS.get(split, split))
    else:
        _hub_parts(name)


def _exists(name: str) -> bool:
    if not name.strip():
        raise InputError("the name of the data is empty; pass a file, a folder, or the name of a data set")
    return os.path.exists(name)  # `Path.exists` raises OSError for a name that is too long


def _hub_parts(name: str) -> tuple[str, str]:
    """The repository and the configuration of a name on the hub; "" for no configuration."""
    if looks_like_a_path(name) or is_table(Path(name)):
        raise InputError(f"{name}: no such file")
    stem = name.partition(".")[0]
    if stem in CLASSIFICATION_CATALOGUE:
        raise InputError(f"{name}: say where its files are: {name}@PATH ({CLASSIFICATION_CATALOGUE[stem].path})")
    repository, _, config = name.partition(":")
    if repository.count("/") != 1:
        raise InputError(
            f"{name}: no such file or folder{_near(stem)}; pass a file, a folder, NAME.SPLIT@PATH with "
            f"{', '.join(CLASSIFICATION_CATALOGUE)}, or OWNER/NAME on the Hugging Face hub"
        )
    return repository, config


def _one_split(name: str, rows: Any, split: str | None) -> tuple[Any, str | None]:
    """The rows of a split and its name; the only split if none was asked for."""
    import datasets

    if not isinstance(rows, datasets.DatasetDict):
        return rows, split
    if split is None and len(rows) > 1:
        raise InputError(f"{name} has the splits {', '.join(map(str, rows))}; say which one to read (split)")
    chosen = known_split(name, split, tuple(map(str, rows)))
    return rows[chosen], chosen


def _read_path(
    path: Path, columns: Columns, split: str | None, language: str | None, name: str | None
) -> LabelledDataset:
    name = name or name_of_table(path) + (f".{split}" if split else "")
    told = language or language_of_name(name_of_table(path)) or "en"
    if is_hyperpartisan(path):
        _refuse_columns(path, columns)
        return read_hyperpartisan(path, split=split, name=name, language=told)
    if path.is_dir():
        if (path / "dataset_info.json").exists() or (path / "dataset_dict.json").exists():
            import datasets

            rows, _ = _one_split(str(path), datasets.load_from_disk(str(path)), split)
            return read_hub_rows(rows, columns, source=str(path), name=name, language=told)
        _refuse_columns(path, columns)
        return read_class_folders(path, split=split, name=name, language=told)
    if not is_table(path):
        raise InputError(f"{path} is no table of labelled texts; pass .csv, .tsv, .jsonl, .json or .parquet")
    if split is not None:
        raise InputError(f"{path} is one file without splits; leave split out, or pass the file of the split")
    return read_table(path, columns, name=name, language=told)


def _entry_parts(name: str, split: str | None) -> tuple[str, str, Path]:
    """The set's name in the catalogue, the split and the path of `NAME.SPLIT@PATH`; `split` where it names none."""
    short, _, location = name.partition("@")
    path = Path(location)
    stem, _, own = short.partition(".")
    entry = CLASSIFICATION_CATALOGUE.get(stem)
    if entry is None:
        raise InputError(
            f"{name}: no data set is called {stem}{_near(stem)}; known are {', '.join(CLASSIFICATION_CATALOGUE)}"
        )
    chosen = _SPLITS.get(own, own) or split
    if chosen is None:
        raise InputError(f"{name}: say which split: {stem}.{entry.splits[0]}@{path} (or {', '.join(entry.splits[1:])})")
    chosen = known_split(stem, chosen, entry.splits)
    if not location or not _exists(location):
        raise InputError(f"{location or name}: no such file or folder; {stem} needs {entry.path}")
    return stem, chosen, path


def _read_entry(
    name: str, columns: Columns, split: str | None, language: str | None, name_in_tables: str | None
) -> LabelledDataset:
    stem, chosen, path = _entry_parts(name, split)
    if language not in {None, "en"}:
        raise InputError(f"{name} is in 'en', not {language!r}; leave the language out")
    _refuse_columns(path, columns)
    return CLASSIFICATION_CATALOGUE[stem].read(path, chosen, name_in_tables or f"{stem}.{chosen}")


def _refuse_columns(path: Path, columns: Columns) -> None:
    if columns.problem_type not in {None, "single_label_classification"}:
        raise InputError(f"{path} is single-label data, not {columns.problem_type}; leave problem_type out")
    if (columns.text, columns.pair, columns.label, columns.separator) != (None,) * 4:
        raise InputError(f"{path} is no table: it has no columns; leave the names of columns out")


def _near(name: str) -> str:
    hint = did_you_mean(name, CLASSIFICATION_CATALOGUE, n=2, cutoff=0.5)
    return f" ({hint})" if hint else ""
