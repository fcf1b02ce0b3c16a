"""`load_qa_dataset` reads questions from a file, a folder, a data set of the catalogue, or the hub."""

import os
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from longspan.data.hub import load_from_hub
from longspan.data.languages import language_of_name
from longspan.data.names import known_split, looks_like_a_path
from longspan.data.qa.catalogue import CATALOGUE, NUMBER, QaEntry
from longspan.data.qa.examples import QaDataset
from longspan.data.qa.files import files_of_folder, is_folder_of_files, read_local
from longspan.data.qa.hub_rows import dataset_from_hub_rows
from longspan.errors import InputError
from longspan.wording import did_you_mean

_SPLITS = {"train": "train", "validation": "validation", "dev": "validation", "test": "test"}
_ALL = "all"


def load_qa_dataset(name_or_path: str | Path, *, split: str | None = None, language: str | None = None) -> QaDataset:
    """Read questions from a file, a data set of the catalogue, or any data set of the hub with SQuAD's columns.

    Args:
        name_or_path: one of

            - a file in SQuAD's format (.json) or with one question per line (.jsonl), possibly compressed; a folder of
              such files, or one that `datasets` saved; a file of TriviaQA's release, or its folder;
            - a name of `CATALOGUE` with its parts: `squad`, `xquad.el`, `mlqa.en.de` (contexts in the first language,
              questions in the second), `squad_long.10` (paragraphs), `packaged/xquad.el`; a split may follow:
              `squad.train`;
            - `owner/name` or `owner/name:configuration` on the hub or in its local cache.
        split: "train", "validation" or "test"; None: the split for evaluation. A split in the name takes precedence.
            Files have no splits.
        language: language of the contexts; chooses one if a folder or file has several. None: the language in the name
            (`xquad.el.json` is Greek) or, as in TyDi QA, in the questions' ids; else English.

    Raises:
        InputError: there is no data set of that name (the message lists similar names), no such split or part, several
            languages and none chosen, the hub is not reachable and the data set not cached, or a record is wrong.
    """
    name = str(name_or_path)
    split = None if split is None else _SPLITS.get(split, split)
    if os.path.exists(name) or looks_like_a_path(name):  # `Path.exists` raises OSError for a name that is too long
        return read_local(Path(name), split, language)
    entry_name, entry = _find(name)
    if entry is None:
        return _read_owner_and_name(name, split, language)
    parts, own_split = _parts_of(name, entry_name)
    if not _fits(entry, parts):
        raise InputError(f"{name}: {_how_to_write(entry_name, entry)}")
    dataset = entry.read(entry, parts, known_split(name, own_split or split, entry.splits))
    if language is not None and dataset.language != language:
        raise InputError(f"{dataset.name} is in {dataset.language!r}, not {language!r}; leave the language out")
    return dataset


def expand_name(name_or_path: str | Path, languages: Sequence[str] | None = None) -> list[tuple[str, str | None]]:
    """Return the data sets that a name stands for, each as a name and a language for `load_qa_dataset`.

    - A name of the catalogue without languages (`xquad`, `mlqa`, `xquad_long.10`) stands for one data set per language;
      for MLQA, those whose questions are in the language of the contexts.
    - `all` in place of a language stands for each language: `mlqa.all.all` is all 49 pairs, `mlqa.en.all` all questions
      on English contexts.
    - A folder of files stands for each file.
    - Any other name stands for itself.

    Args:
        name_or_path: as for `load_qa_dataset`.
        languages: only these languages of contexts; None: all. Ignored for a name that stands for itself.

    Raises:
        InputError: the data set has no such language, or the names of a folder's files do not show their languages.
    """
    name = str(name_or_path)
    if is_folder_of_files(Path(name)):
        return [(str(file), code) for file, code in files_of_folder(Path(name), list(languages) if languages else None)]
    entry_name, entry = _find(name)
    if entry is None or not entry.languages_at or os.path.exists(name):
        return [(name, None)]
    parts, split = _parts_of(name, entry_name)
    wanted = [code for code in entry.choices if languages is None or code in languages]
    missing = [code for code in languages or () if code not in entry.choices]
    if len(parts) == len(entry.parts) - len(entry.languages_at):
        rows = []
        for code in wanted:
            numbers = iter(parts)
            rows.append([next(numbers) if part == NUMBER else code for part in entry.parts])
    elif len(parts) == len(entry.parts) and _ALL in parts:
        choices = [
            [part] if part != _ALL else wanted if i == entry.languages_at[0] else list(entry.choices)
            for i, part in enumerate(parts)
        ]
        rows = [list(row) for row in product(*choices)]
    else:
        return [(name, None)]
    if missing:
        raise InputError(f"{name} is not in {', '.join(missing)}; it is in {', '.join(entry.choices)}")
    return [(".".join([entry_name, *row, *([split] if split else [])]), None) for row in rows]


def require_data(name_or_path: str | Path) -> None:
    """Check a name for `load_qa_dataset`, without opening files or a request to the hub.

    Raises:
        InputError: no such file, no data set of that name, or wrong parts of the name.
    """
    name = str(name_or_path)
    if os.path.exists(name):
        return
    if looks_like_a_path(name):
        raise InputError(f"{name}: no such file")
    entry_name, entry = _find(name)
    if entry is None:
        _require_repository(name)
    elif not _fits(entry, _parts_of(name, entry_name)[0]):
        raise InputError(f"{name}: {_how_to_write(entry_name, entry)}")


def _find(name: str) -> tuple[str, QaEntry | None]:
    """Return the longest name of the catalogue that `name` starts with, up to a dot, and its entry."""
    for candidate in sorted(CATALOGUE, key=len, reverse=True):
        if name == candidate or name.startswith(candidate + "."):
            return candidate, CATALOGUE[candidate]
    return name, None


def _parts_of(name: str, entry_name: str) -> tuple[list[str], str | None]:
    """Return the parts that follow the entry's name, and the split if the last part is one."""
    parts = [part for part in name.removeprefix(entry_name).split(".") if part]
    split = _SPLITS[parts.pop()] if parts and parts[-1] in _SPLITS else None
    return parts, split


def _fits(entry: QaEntry, parts: list[str]) -> bool:
    if len(parts) != len(entry.parts):
        return False
    return all(
        (value.isdecimal() and value.isascii() and int(value) > 0) if kind == NUMBER else value in entry.choices
        for kind, value in zip(entry.parts, parts, strict=True)
    )


def _how_to_write(name: str, entry: QaEntry) -> str:
    text = "write " + ".".join([name, *(f"<{part}>" for part in entry.parts)])
    if entry.choices:
        text += f" with {', '.join(entry.choices)}"
    if NUMBER in entry.parts:
        text += " and" if entry.choices else " with"
        text += " the number of paragraphs in a document, for instance 10"
    return text


def _near(name: str) -> str:
    """Suggest similar names; names that begin with `name` come first."""
    begins = [known for known in CATALOGUE if known.startswith(name) or known.split("/")[-1].startswith(name)]
    stem = name.partition(".")[0]
    hint = did_you_mean(stem, CATALOGUE, first=begins, n=4, cutoff=0.5)
    return f" ({hint})" if hint else ""


def _read_owner_and_name(name: str, split: str | None, language: str | None) -> QaDataset:
    repository, config = _require_repository(name)
    rows = load_from_hub(name, repository, config or None, split or "validation")
    known = language or language_of_name(config or name.partition("/")[2]) or "en"
    return dataset_from_hub_rows(rows, source=name, name=name, language=known)


def _require_repository(name: str) -> tuple[str, str]:
    """Split `owner/name:configuration`; the configuration is "" if there is none."""
    repository, _, config = name.partition(":")
    if repository.count("/") != 1:
        raise InputError(
            f"{name}: no such file, and no data set of that name{_near(name)}; choose one of {', '.join(CATALOGUE)}, "
            "or owner/name on the Hugging Face hub"
        )
    return repository, config
