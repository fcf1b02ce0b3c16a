"""Reads question answering data from local files and folders: chooses the reader and finds the language."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from longspan.data.decoding import require_name
from longspan.data.languages import language_of_id, language_of_name, languages_of_ids, split_of_name
from longspan.data.names import known_split, name_of_file
from longspan.data.opening import COMPRESSIONS, read_json
from longspan.data.qa.examples import QaDataset, QaExample
from longspan.data.qa.hub_rows import dataset_from_hub_rows
from longspan.data.qa.squad import dataset_from_rows, dataset_from_squad
from longspan.data.qa.trivia_qa import is_trivia_qa, read_trivia_qa
from longspan.data.record_checker import unique_id
from longspan.data.rows import json_line_objects
from longspan.data.unpacking import ByteCounter
from longspan.errors import InputError
from longspan.limits import DATA_BYTES
from longspan.records import hash_file

_DATA_ENDINGS = tuple(kind + ending for kind in (".json", ".jsonl") for ending in ("", *COMPRESSIONS))
_SPLIT_NAMES = {"train": "train", "validation": "dev", "test": "test-without-answers"}


def read_local(path: Path, split: str | None, language: str | None) -> QaDataset:
    """Read a file, or a folder of one language; arguments as in `load_qa_dataset`.

    Raises:
        InputError: the path is missing, holds no data set, or has several languages and none was chosen.
    """
    return _read_folder(path, split, language) if path.is_dir() else _read_file(path, language)


def _read_file(path: Path, language: str | None) -> QaDataset:
    name = name_of_file(path)
    if any(path.name.endswith(".jsonl" + ending) for ending in ("", *COMPRESSIONS)):
        rows = [row for _, row in json_line_objects(path, ByteCounter(), most_bytes=DATA_BYTES)]
        chosen, keep = _choose(path, language, (row.get("id") for row in rows))
        return dataset_from_rows(rows, source=str(path), name=name, language=chosen, sha256=_hash(path), keep=keep)
    content = read_json(path)
    if is_trivia_qa(content):
        return read_trivia_qa(path, content=content)
    chosen, keep = _choose(path, language, _ids(content))
    named = name if keep is None else f"{name}.{chosen}"
    return dataset_from_squad(content, source=str(path), name=named, language=chosen, sha256=_hash(path), keep=keep)


def _hash(path: Path) -> dict[str, str]:
    """Name -> SHA-256 of a file; call it after reading, which refuses files that are too large."""
    return {path.name: hash_file(path)} if path.is_file() else {}


def _choose(path: Path, language: str | None, identifiers: Iterable[Any]) -> tuple[str, Any]:
    """Return the language to read, and a predicate on the ids of its questions (None: all questions)."""
    found = languages_of_ids(str(identifier) for identifier in identifiers)
    wanted = language or language_of_name(name_of_file(path))
    if found is None or (len(found) == 1 and wanted is None):
        return wanted or (found[0] if found else "en"), None
    if wanted not in found:
        advice = f"none is {wanted!r}" if wanted else "say which one to read"
        raise InputError(f"{path} holds questions in {', '.join(found)}; {advice} (the language, --languages)")
    if len(found) == 1:
        return wanted, None
    return wanted, lambda identifier: language_of_id(identifier) == wanted


def _ids(content: Any) -> Iterable[Any]:
    """Yield the ids of the questions in SQuAD's JSON; malformed records are skipped, and reported by the reader."""
    for article in _list(content, "data"):
        for paragraph in _list(article, "paragraphs"):
            for question in _list(paragraph, "qas"):
                yield question.get("id") if isinstance(question, Mapping) else None


def _list(record: Any, key: str) -> list[Any]:
    value = record.get(key) if isinstance(record, Mapping) else None
    return value if isinstance(value, list) else []


# Folders.


def _read_folder(path: Path, split: str | None, language: str | None) -> QaDataset:
    if _is_saved_by_datasets(path):
        return _read_saved_folder(path, split, language or language_of_name(path.name) or "en")
    if _is_trivia_qa_folder(path):
        return read_trivia_qa(_trivia_qa_file(path, split or "validation"))
    files = files_of_folder(path, [language] if language else None, split)
    found = {code for _, code in files}
    if len(found) > 1:
        known = sorted(code for code in found if code)
        unknown = [file.name for file, code in files if code is None]
        if unknown:
            raise InputError(
                f"{path}: the names of {', '.join(unknown[:3])} do not show their language, and other files are in "
                f"{', '.join(known)}; pass the language, or read the files one by one"
            )
        raise InputError(f"{path} holds files in {', '.join(known)}; pass the language to read one of them")
    datasets = [_read_file(file, code) for file, code in files]
    return datasets[0] if len(datasets) == 1 else _merge(datasets, path.name)


def files_of_folder(
    path: Path, languages: list[str] | None = None, split: str | None = None
) -> list[tuple[Path, str | None]]:
    """Return the sorted data files of a folder (not of its subfolders), each with the language in its name, else None.

    Args:
        path: the folder.
        languages: only files in these languages. If there is a single one, files without a language in their name
            count as files of it.
        split: the split to read if file names show several (`train-v1.1.json` beside `dev-v1.1.json`), so that
            training does not read the evaluation data; None: "validation".

    Raises:
        InputError: there is no data file, or none in `languages` or of the split; or the folder has several languages
            or splits, and a file's name shows none.
    """
    files = sorted(file for file in path.iterdir() if file.is_file() and file.name.endswith(_DATA_ENDINGS))
    for file in files:
        require_name(file)
    if not files:
        raise InputError(
            f"{path} is a folder that holds no data set; pass a file, a folder of files in SQuAD's format, or one "
            "that `datasets` saved"
        )
    files = _of_split(path, files, split or "validation")
    pairs = [(file, language_of_name(name_of_file(file))) for file in files]
    if languages is None:
        return pairs
    only = languages[0] if len(languages) == 1 else None
    unknown = [file.name for file, code in pairs if code is None]
    if unknown and only is None:
        raise InputError(
            f"{path}: the names of {', '.join(unknown[:3])} do not show their language; pass these files one by one"
        )
    chosen = [(file, code or only) for file, code in pairs if (code or only) in languages]
    if not chosen:
        existing = sorted({code for _, code in pairs if code})
        raise InputError(f"{path} holds no file in {', '.join(languages)}; there are {', '.join(existing)}")
    return chosen


def _of_split(path: Path, files: list[Path], split: str) -> list[Path]:
    """Return the files of one split if their names show several splits; otherwise all files."""
    split_of = {file: split_of_name(name_of_file(file)) for file in files}
    splits = sorted({one for one in split_of.values() if one})
    if len(splits) < 2:
        return files
    unknown = [file.name for file, one in split_of.items() if one is None]
    if unknown:
        raise InputError(
            f"{path} holds files for {' and for '.join(splits)}, and the name of {', '.join(unknown[:3])} does not "
            "show its split; read the files one by one"
        )
    if split not in splits:
        raise InputError(f"{path} holds files for {' and for '.join(splits)}, none for {split}; name the file to read")
    return [file for file in files if split_of[file] == split]


def is_folder_of_files(path: Path) -> bool:
    """Whether a path is a folder in which each file is a data set."""
    return path.is_dir() and not _is_saved_by_datasets(path) and not _is_trivia_qa_folder(path)


def _merge(datasets: list[QaDataset], name: str) -> QaDataset:
    """Merge data sets into one; a repeated id gets a number, as within one file."""
    counts: Counter[str] = Counter()
    examples: list[QaExample] = []
    unlocatable: list[str] = []
    seen: set[str] = set()
    for dataset in datasets:
        counts.update(dataset.counts)
        new_ids: dict[str, str] = {}
        for example in dataset.examples:
            new_ids[example.id] = unique_id(example.id, seen)
            counts["repeated_ids"] += new_ids[example.id] != example.id
            examples.append(replace(example, id=new_ids[example.id]))
        unlocatable += [new_ids[identifier] for identifier in dataset.unlocatable_ids]
    return QaDataset(
        name=name,
        language=datasets[0].language,
        examples=examples,
        counts={key: n for key, n in counts.items() if n},
        unlocatable_ids=unlocatable,
        sha256={key: value for dataset in datasets for key, value in dataset.sha256.items()},
    )


def _is_saved_by_datasets(path: Path) -> bool:
    return (path / "dataset_info.json").exists() or (path / "dataset_dict.json").exists()


def _read_saved_folder(path: Path, split: str | None, language: str) -> QaDataset:
    import datasets

    found = datasets.load_from_disk(str(path))
    if isinstance(found, datasets.DatasetDict):
        splits = sorted((str(key) for key in found), key=lambda key: (key != "validation", key))
        found = found[known_split(str(path), split, tuple(splits))]
    return dataset_from_hub_rows(found, source=str(path), name=path.name, language=language)


def _is_trivia_qa_folder(path: Path) -> bool:
    return (path / "qa").is_dir() and (path / "evidence").is_dir()


def _trivia_qa_file(path: Path, split: str) -> Path:
    start = f"wikipedia-{_SPLIT_NAMES.get(split, split)}.json"
    found = [path / "qa" / (start + ending) for ending in ("", *COMPRESSIONS)]
    existing = [file for file in found if file.exists()]
    if not existing:
        raise InputError(f"{found[0]}: no such file; longspan reads TriviaQA's Wikipedia part")
    return existing[0]
