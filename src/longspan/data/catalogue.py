"""The data sets longspan knows by name, and `load_qa_dataset`, which reads those and any file.

A data set is one `Entry` in `CATALOGUE` (docs/how-to-add-a-data-set.md).
"""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from itertools import product
from pathlib import Path

from longspan.data.concatenation import concatenate
from longspan.data.examples import QaDataset
from longspan.data.hub import dataset_from_hub_rows, load_from_hub
from longspan.data.languages import TYDIQA_LANGUAGES, language_of_id, language_of_name
from longspan.data.local import files_of_folder, is_folder_of_files, known_split, looks_like_a_path, read_local
from longspan.data.squad import name_of_file, read_squad
from longspan.data.trivia_qa import trivia_qa_from_rows
from longspan.errors import InputError

_SPLITS = {"train": "train", "validation": "validation", "dev": "validation", "test": "test"}
# A part of a name that is a number instead of one of the entry's choices.
_NUMBER = "paragraphs"
_ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One data set by name.

    Attributes:
        read: (the entry, what follows its name, split) -> the data set.
        parts: what follows the name after a dot, e.g. `("language",)` for `xquad.el`; "paragraphs" is a number.
        choices: values each of the other `parts` takes.
        splits: that the set has, the one for evaluation first.
        description: one line.
        licence: of the data.
        size: in words.
        repository: on the hub; None for what comes with longspan.
        config: name of the hub's configuration, with `{0}` for the first part; None for the only one.
        revision: on the hub; None for the newest.
        language: of the contexts, where the set has no language among its parts; the first part otherwise.
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

    @property
    def languages_at(self) -> list[int]:
        """Which of `parts` are languages."""
        return [i for i, part in enumerate(self.parts) if part != _NUMBER]


def load_qa_dataset(name_or_path: str | Path, *, split: str | None = None, language: str | None = None) -> QaDataset:
    """Read questions from a file, a set of the catalogue, or any set of the Hugging Face hub with SQuAD's columns.

    Args:
        name_or_path: one of
            - a file in SQuAD's format (.json) or with one question a line (.jsonl), maybe compressed; a folder of such
              files, or one that `datasets` saved; a file of TriviaQA's release, or its folder;
            - a name of `CATALOGUE` with its parts: `squad`, `xquad.el`, `mlqa.en.de` (contexts in the first language,
              questions in the second), `squad_long.10` (paragraphs), `packaged/xquad.el`; a split may follow it:
              `squad.train`;
            - `owner/name` or `owner/name:configuration` on the hub or in its local cache.
        split: "train", "validation" or "test"; the one for evaluation where None. The name's own split, where it has
            one, comes first. Files have none.
        language: of the contexts. Where None: what the name tells (`xquad.el.json` is Greek) or, as in TyDi QA, the
            questions' ids; else English. Of a folder or file in several languages it says which to read.

    Raises:
        InputError: nothing of that name (the message lists near ones), no such split or part, several languages and
            none chosen, the hub is not reachable and the set not cached, or records are not as they should be.
    """
    name = str(name_or_path)
    split = None if split is None else _SPLITS.get(split, split)
    if Path(name).exists() or looks_like_a_path(name):
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
    """The data sets that a name stands for, each as a name and a language for `load_qa_dataset`.

    - A name of the catalogue without its languages, `xquad`, `mlqa`, `xquad_long.10`: one data set a language; of
      MLQA those whose questions are in the language of the contexts.
    - `all` in the place of a language: each of them. `mlqa.all.all` is all 49 pairs, `mlqa.en.all` all questions on
      English contexts.
    - A folder of files: each file.
    - Everything else stands for itself.

    Args:
        name_or_path: as for `load_qa_dataset`.
        languages: only these (of the contexts); all where None. Without effect on a name that stands for itself.

    Raises:
        InputError: a language is not one of the data set's, or a folder's files do not tell theirs.
    """
    name = str(name_or_path)
    if is_folder_of_files(Path(name)):
        return [(str(file), code) for file, code in files_of_folder(Path(name), list(languages) if languages else None)]
    entry_name, entry = _find(name)
    if entry is None or not entry.languages_at or Path(name).exists():
        return [(name, None)]
    parts, split = _parts_of(name, entry_name)
    wanted = [code for code in entry.choices if languages is None or code in languages]
    missing = [code for code in languages or () if code not in entry.choices]
    if len(parts) == len(entry.parts) - len(entry.languages_at):
        rows = []
        for code in wanted:
            numbers = iter(parts)
            rows.append([next(numbers) if part == _NUMBER else code for part in entry.parts])
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
    """Refuse what `load_qa_dataset` cannot read by its name alone; nothing is opened, and the hub not asked.

    Raises:
        InputError: no such file, no data set of that name, or not the parts that it takes.
    """
    name = str(name_or_path)
    if Path(name).exists():
        return
    if looks_like_a_path(name):
        raise InputError(f"{name}: no such file")
    entry_name, entry = _find(name)
    if entry is None:
        _require_repository(name)
    elif not _fits(entry, _parts_of(name, entry_name)[0]):
        raise InputError(f"{name}: {_how_to_write(entry_name, entry)}")


def _find(name: str) -> tuple[str, Entry | None]:
    """The longest name of the catalogue that `name` starts with, up to a dot."""
    for candidate in sorted(CATALOGUE, key=len, reverse=True):
        if name == candidate or name.startswith(candidate + "."):
            return candidate, CATALOGUE[candidate]
    return name, None


def _parts_of(name: str, entry_name: str) -> tuple[list[str], str | None]:
    """What follows the entry's name: its parts, and the split where the last of them is one."""
    parts = [part for part in name.removeprefix(entry_name).split(".") if part]
    split = _SPLITS[parts.pop()] if parts and parts[-1] in _SPLITS else None
    return parts, split


def _fits(entry: Entry, parts: list[str]) -> bool:
    if len(parts) != len(entry.parts):
        return False
    return all(
        (value.isdecimal() and value.isascii() and int(value) > 0) if kind == _NUMBER else value in entry.choices
        for kind, value in zip(entry.parts, parts, strict=True)
    )


def _how_to_write(name: str, entry: Entry) -> str:
    text = "write " + ".".join([name, *(f"<{part}>" for part in entry.parts)])
    if entry.choices:
        text += f" with {', '.join(entry.choices)}"
    if _NUMBER in entry.parts:
        text += " and" if entry.choices else " with"
        text += " the number of paragraphs in a document, for instance 10"
    return text


def _near(name: str) -> str:
    """Names like this one, in words; a name's beginning counts as near to it."""
    begins = [known for known in CATALOGUE if known.startswith(name) or known.split("/")[-1].startswith(name)]
    stem = name.partition(".")[0]
    near = list(dict.fromkeys([*begins, *difflib.get_close_matches(stem, CATALOGUE, n=4, cutoff=0.5)]))
    return f" (did you mean {' or '.join(near[:4])}?)" if near else ""


# The hub.


def _read_owner_and_name(name: str, split: str | None, language: str | None) -> QaDataset:
    repository, config = _require_repository(name)
    rows = load_from_hub(name, repository, config or None, split or "validation")
    known = language or language_of_name(config or name.partition("/")[2]) or "en"
    return dataset_from_hub_rows(rows, source=name, name=name, language=known)


def _require_repository(name: str) -> tuple[str, str]:
    """`owner/name:configuration` in two; the configuration is "" where there is none."""
    repository, _, config = name.partition(":")
    if repository.count("/") != 1:
        raise InputError(
            f"{name}: no such file, and no data set of that name{_near(name)}; known are {', '.join(CATALOGUE)}, and "
            "owner/name on the Hugging Face hub"
        )
    return repository, config


def _name_of(entry: Entry, parts: list[str], split: str) -> str:
    short = next(key for key, value in CATALOGUE.items() if value is entry)
    return ".".join([short, *parts, *([] if split == entry.splits[0] else [split])])


def _read_hub_entry(entry: Entry, parts: list[str], split: str) -> QaDataset:
    assert entry.repository is not None
    name = _name_of(entry, parts, split)
    config = entry.config and entry.config.format(*parts)
    rows = load_from_hub(name, entry.repository, config, split, entry.revision)
    language = parts[0] if parts else entry.language
    return dataset_from_hub_rows(rows, source=f"{name} ({split})", name=name, language=language)


def _read_tydiqa(entry: Entry, parts: list[str], split: str) -> QaDataset:
    assert entry.repository is not None
    name, language = _name_of(entry, parts, split), parts[0]
    rows = load_from_hub(name, entry.repository, entry.config, split)
    return dataset_from_hub_rows(
        rows,
        source=f"{name} ({split})",
        name=name,
        language=language,
        keep=lambda identifier: language_of_id(identifier) == language,
    )


def _read_trivia_qa(entry: Entry, parts: list[str], split: str) -> QaDataset:
    assert entry.repository is not None
    name = _name_of(entry, parts, split)
    rows = load_from_hub(name, entry.repository, entry.config, split)
    documents = "pages" if split == "train" else "joined"
    return trivia_qa_from_rows(rows, source=f"{name} ({split})", name=name, documents=documents)


# Long documents made of short ones.


def _read_long(of: str) -> Callable[[Entry, list[str], str], QaDataset]:
    """A reader of the entry `of`, whose paragraphs it joins; the last part says how many."""

    def read(entry: Entry, parts: list[str], split: str) -> QaDataset:
        short = CATALOGUE[of].read(CATALOGUE[of], parts[:-1], split)
        return replace(concatenate(short, int(parts[-1])), name=_name_of(entry, parts, split))

    return read


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
    "squad_long": Entry(
        read=_read_long("squad"),
        parts=(_NUMBER,),
        splits=("validation", "train"),
        description="SQ-n: n neighbouring paragraphs of SQuAD 1.1 joined, the first question of each (Sagen 2021)",
        licence="CC BY-SA 4.0",
        size="as squad; 18,895 questions to train on, 2,067 in validation",
        repository="rajpurkar/squad",
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
    "xquad_long": Entry(
        read=_read_long("xquad"),
        parts=("language", _NUMBER),
        choices=_XQUAD_LANGUAGES,
        description="XQ-n: n neighbouring paragraphs of XQuAD joined, the first question of each (Sagen 2021)",
        licence="CC BY-SA 4.0",
        size="as xquad; 240 questions a language",
        repository="google/xquad",
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
    "tydiqa": Entry(
        read=_read_tydiqa,
        parts=("language",),
        choices=tuple(sorted(TYDIQA_LANGUAGES.values())),
        splits=("validation", "train"),
        description="TyDi QA's gold passage task: questions written in 9 languages (Clark et al. 2020)",
        licence="Apache-2.0 (Wikipedia's text: CC BY-SA 3.0)",
        size="29 MB, 49,881 questions to train on, 5,077 in validation (113 to 921 a language)",
        repository="google-research-datasets/tydiqa",
        config="secondary_task",
    ),
    "trivia_qa": Entry(
        read=_read_trivia_qa,
        splits=("validation", "train"),
        description="TriviaQA on whole Wikipedia pages, answers marked by their aliases (Joshi et al. 2017)",
        licence="none stated for the questions; Wikipedia's text: CC BY-SA",
        size="gigabytes; 110,648 pages of 61,888 questions to train on, 7,993 questions in validation",
        repository="mandarjoshi/trivia_qa",
        config="rc.wikipedia",
    ),
}
