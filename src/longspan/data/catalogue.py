"""The data sets longspan knows by name, and `load_qa_dataset`, which reads those and any file.

A data set is one `Entry` in `CATALOGUE` (docs/how-to-add-a-data-set.md).
"""

import difflib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from longspan.data.examples import QaDataset
from longspan.data.opening import COMPRESSIONS, read_text
from longspan.data.squad import dataset_from_rows, name_of_file, read_squad
from longspan.errors import InputError
from longspan.records import hash_file

_SPLITS = {"train": "train", "validation": "validation", "dev": "validation", "test": "test"}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One data set by name.

    Attributes:
        read: (the entry, what follows its name, split) -> the data set.
        parts: what follows the name after a dot, e.g. `("language",)` for `xquad.el`.
        choices: values each of `parts` takes.
        splits: that the set has, the one for evaluation first.
        description: one line.
        licence: of the data.
        size: in words.
        repository: on the hub; None for what comes with longspan.
        config: name of the hub's configuration, with `{0}` for the first part; None for the only one.
        revision: on the hub; None for the newest.
        language: of the contexts, where the set has no parts; the first part otherwise.
    """

    read: Callable[["Entry", list[str], str], QaDataset]
    parts: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    splits: tuple[str, ...] = ("validation",)
    description: str
    licence: str
    size: str
    repository: str | None = None
    config: str | None = None
    revision: str | None = None
    language: str = "en"


def load_qa_dataset(name_or_path: str | Path, *, split: str | None = None, language: str | None = None) -> QaDataset:
    """Read questions from a file, a set of the catalogue, or any set of the Hugging Face hub with SQuAD's columns.

    Args:
        name_or_path: one of
            - a file in SQuAD's format (.json) or with one question a line (.jsonl), maybe compressed, or a folder
              that `datasets` saved;
            - a name of `CATALOGUE` with its parts: `squad`, `xquad.el`, `mlqa.en.de` (contexts in the first language,
              questions in the second), `packaged/xquad.el`; a split may follow it: `squad.train`;
            - `owner/name` or `owner/name:configuration` on the hub or in its local cache.
        split: "train", "validation" or "test"; the one for evaluation where None. The name's own split, where it has
            one, comes first. Files have none.
        language: of the contexts; known from the name where None (`xquad.el.json` is Greek), else English.

    Raises:
        InputError: nothing of that name, no such split or part, the hub is not reachable and the set not cached, or
            its records are not as they should be.
    """
    name = str(name_or_path)
    if Path(name).exists() or _looks_like_a_file(name):
        return _read_local(Path(name), split, language)
    entry_name, entry = _find(name)
    if entry is None:
        return _read_owner_and_name(name, split, language)
    parts = name.removeprefix(entry_name).strip(".").split(".")
    parts = [part for part in parts if part]
    if parts and parts[-1] in _SPLITS:
        split = parts.pop()
    if len(parts) != len(entry.parts) or any(part not in entry.choices for part in parts):
        wanted = ".".join([entry_name, *(f"<{part}>" for part in entry.parts)])
        raise InputError(f"{name}: write {wanted}" + (f" with {', '.join(entry.choices)}" if entry.choices else ""))
    dataset = entry.read(entry, parts, _known_split(name, split, entry.splits))
    return dataset if language is None else _with_language(dataset, language)


def _find(name: str) -> tuple[str, Entry | None]:
    """The longest name of the catalogue that `name` starts with, up to a dot."""
    for candidate in sorted(CATALOGUE, key=len, reverse=True):
        if name == candidate or name.startswith(candidate + "."):
            return candidate, CATALOGUE[candidate]
    return name, None


def _known_split(name: str, split: str | None, splits: tuple[str, ...]) -> str:
    split = splits[0] if split is None else _SPLITS.get(split, split)
    if split not in splits:
        raise InputError(f"{name} has no split {split!r}; it has {', '.join(splits)}")
    return split


def _with_language(dataset: QaDataset, language: str) -> QaDataset:
    if dataset.language != language:
        raise InputError(f"{dataset.name} is in {dataset.language!r}, not {language!r}; leave the language out")
    return dataset


# Files and folders.


def _looks_like_a_file(name: str) -> bool:
    return name.endswith((".json", ".jsonl", *COMPRESSIONS)) or name.startswith((".", "~")) or Path(name).is_absolute()


def _read_local(path: Path, split: str | None, language: str | None) -> QaDataset:
    name = name_of_file(path)
    language = language or _language_in(name) or "en"
    if path.is_dir():
        return _read_saved_folder(path, split, language)
    if any(path.name.endswith(".jsonl" + ending) for ending in ("", *COMPRESSIONS)):
        return dataset_from_rows(
            _json_lines(path), source=str(path), name=name, language=language, sha256={path.name: hash_file(path)}
        )
    return read_squad(path, language=language, name=name)


def _json_lines(path: Path) -> Iterable[Any]:
    for i, line in enumerate(read_text(path).split("\n")):
        if line.strip():
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise InputError(f"{path}: line {i + 1} is not JSON: {error.msg} at column {error.colno}") from error


def _read_saved_folder(path: Path, split: str | None, language: str) -> QaDataset:
    import datasets

    if not (path / "dataset_info.json").exists() and not (path / "dataset_dict.json").exists():
        raise InputError(f"{path} is a folder that holds no data set; pass a file, or a folder `datasets` saved")
    found = datasets.load_from_disk(str(path))
    if isinstance(found, datasets.DatasetDict):
        splits = sorted((str(key) for key in found), key=lambda key: (key != "validation", key))
        found = found[_known_split(str(path), split, tuple(splits))]
    return _from_hub_rows(found, source=str(path), name=path.name, language=language)


_LANGUAGE = re.compile(
    "ar|bg|bn|ca|cs|da|de|el|en|es|et|eu|fa|fi|fr|gl|he|hi|hr|hu|hy|id|is|it|ja|ka|kk|km|ko|lo|lt|lv|mk|"
    "ml|mr|ms|my|nb|nl|nn|no|pl|pt|ro|ru|sk|sl|sq|sr|sv|sw|ta|te|th|tl|tr|uk|ur|vi|zh"
)


def _language_in(name: str) -> str | None:
    """The language a file's name gives: `context-xx` as in MLQA, else its last part that is a language's code."""
    context = re.search(r"context-([a-z]{2})\b", name)
    codes = [context[1]] if context else re.split(r"[._-]", name)
    return next((code for code in reversed(codes) if _LANGUAGE.fullmatch(code)), None)


# The hub.


def _read_owner_and_name(name: str, split: str | None, language: str | None) -> QaDataset:
    repository, _, config = name.partition(":")
    if repository.count("/") != 1:
        near = difflib.get_close_matches(name, CATALOGUE, n=1, cutoff=0.4)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise InputError(
            f"{name}: no such file, and no data set of that name{hint}; known are {', '.join(CATALOGUE)}, and "
            "owner/name on the Hugging Face hub"
        )
    rows = _load_from_hub(name, repository, config or None, _SPLITS.get(split or "validation", split), None)
    return _from_hub_rows(rows, source=name, name=name, language=language or _language_in(config or name) or "en")


def _read_hub_entry(entry: Entry, parts: list[str], split: str) -> QaDataset:
    assert entry.repository is not None
    short = next(key for key, value in CATALOGUE.items() if value is entry)
    name = ".".join([short, *parts])
    config = entry.config and entry.config.format(*parts)
    rows = _load_from_hub(name, entry.repository, config, split, entry.revision)
    return _from_hub_rows(
        rows,
        source=f"{name} ({split})",
        name=name if split == entry.splits[0] else f"{name}.{split}",
        language=parts[0] if parts else entry.language,
    )


def _load_from_hub(name: str, repository: str, config: str | None, split: str | None, revision: str | None) -> Any:
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


def _from_hub_rows(rows: Any, *, source: str, name: str, language: str) -> QaDataset:
    missing = [column for column in ("id", "question", "context", "answers") if column not in rows.column_names]
    if missing:
        raise InputError(
            f"{source} has no column {', '.join(missing)}; it has {', '.join(rows.column_names)}. Rename its columns "
            "as in SQuAD (id, question, context, answers with text and answer_start)"
        )
    fingerprint = str(rows._fingerprint)
    return dataset_from_rows(rows, source=source, name=name, language=language, sha256={source: fingerprint})


# What comes with longspan.


def _read_packaged_xquad(entry: Entry, parts: list[str], split: str) -> QaDataset:
    language = parts[0]
    is_train = split == "train"
    if is_train and language != "en":
        raise InputError("packaged/xquad has a training part in English only: packaged/xquad.en.train")
    folder = resources.files("longspan.data") / "packaged" / "xquad"
    file_name = f"xquad.{language}.train.json.gz" if is_train else f"xquad.{language}.json.gz"
    with resources.as_file(folder / file_name) as path:
        return read_squad(path, language=language, name="packaged/" + name_of_file(path))


_XQUAD_LANGUAGES = ("ar", "de", "el", "en", "es", "hi", "ro", "ru", "th", "tr", "vi", "zh")

CATALOGUE: dict[str, Entry] = {
    "packaged/xquad": Entry(
        read=_read_packaged_xquad,
        parts=("language",),
        choices=_XQUAD_LANGUAGES,
        splits=("validation", "train"),
        description="excerpt of XQuAD that comes with longspan: 50 paragraphs in 12 languages, 190 in English to train",
        licence="CC BY-SA 4.0",
        size="0.4 MB, 220 questions in each language; 970 to train on (packaged/xquad.en.train)",
    ),
    "squad": Entry(
        read=_read_hub_entry,
        splits=("validation", "train"),
        description="SQuAD 1.1: English questions on Wikipedia paragraphs (Rajpurkar et al. 2016)",
        licence="CC BY-SA 4.0",
        size="35 MB, 87,599 questions to train on, 10,570 in validation",
        repository="rajpurkar/squad",
    ),
    "squad_v2": Entry(
        read=_read_hub_entry,
        splits=("validation", "train"),
        description="SQuAD 2.0: with questions that have no answer (Rajpurkar, Jia and Liang 2018)",
        licence="CC BY-SA 4.0",
        size="46 MB, 130,319 questions to train on, 11,873 in validation",
        repository="rajpurkar/squad_v2",
    ),
    "xquad": Entry(
        read=_read_hub_entry,
        parts=("language",),
        choices=_XQUAD_LANGUAGES,
        description="XQuAD: 240 paragraphs of SQuAD translated by hand into 11 languages (Artetxe et al. 2020)",
        licence="CC BY-SA 4.0",
        size="0.6 to 2 MB and 1,190 questions a language",
        repository="google/xquad",
        config="xquad.{0}",
    ),
    "mlqa": Entry(
        read=_read_hub_entry,
        parts=("context language", "question language"),
        choices=("ar", "de", "en", "es", "hi", "vi", "zh"),
        splits=("test", "validation"),
        description="MLQA: Wikipedia in 7 languages, questions in any of them (Lewis et al. 2020)",
        licence="CC BY-SA 3.0",
        size="76 MB, 504 to 1,148 questions in validation and 4,517 to 11,590 in test a pair",
        repository="facebook/mlqa",
        config="mlqa.{0}.{1}",
        # The repository's own branch is a loading script, which `datasets` 4 no longer runs; the hub's copy is not.
        revision="refs/convert/parquet",
    ),
}
