"""Where a name leads: a file, a folder, a set of the catalogue, or one of the hub -> records with their places."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from longspan.data.decoding import decoded_rows, require_name
from longspan.data.hub import fingerprint_of, load_from_hub
from longspan.data.json_records import JsonRecords
from longspan.data.languages import language_of_name, split_of_name
from longspan.data.multihop.catalogue import MULTIHOP_CATALOGUE, Kind, MultihopEntry
from longspan.data.names import known_split, looks_like_a_path, name_of_file
from longspan.data.opening import COMPRESSIONS
from longspan.data.rows import parquet_rows
from longspan.data.unpacking import ByteCounter
from longspan.errors import InputError
from longspan.records import hash_file
from longspan.wording import did_you_mean

SPLITS = {"train": "train", "validation": "validation", "dev": "validation", "test": "test"}
_ENDINGS = tuple(kind + ending for kind in (".json", ".jsonl", ".json.txt") for ending in ("", *COMPRESSIONS))
_PARQUET = ".parquet"
_ALIASES = "id_aliases.json"


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a name stands for.

    Attributes:
        name: as in tables.
        told: what errors call it.
        language: of questions and documents.
        split: to read, where the records tell theirs; None for all.
        path: the file; None for the hub.
        rows: of the hub or of a folder that `datasets` saved; None for a file.
        aliases: the file of 2WikiMultihopQA's aliases in the same folder; None if there is none.
        entry: of the catalogue; None for other data.
    """

    name: str
    told: str
    language: str
    split: str | None
    path: Path | None = None
    rows: Any = None
    aliases: Path | None = None
    entry: MultihopEntry | None = None
    sha256: dict[str, str] = field(default_factory=dict)

    def records(self, counts: dict[str, int], *, allow_cut: bool) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The records with what errors call them; those of another split are counted as `questions_of_other_splits`.

        Args:
            counts: what is counted goes there; `cut_files` if the file was cut.
            allow_cut: as in `JsonRecords`.

        Raises:
            InputError: the file cannot be read, or a record's `split` is unknown.
        """
        for number, record in self._numbered(counts, allow_cut):
            where = f"record {number}"
            own = record.get("split")
            if self.split is not None and own is not None:
                if own not in SPLITS:
                    raise InputError(f"{self.told}: {where}.split is {own!r}; it should be one of {', '.join(SPLITS)}")
                if SPLITS[own] != self.split:
                    counts["questions_of_other_splits"] = counts.get("questions_of_other_splits", 0) + 1
                    continue
            yield where, record

    def _numbered(self, counts: dict[str, int], allow_cut: bool) -> Iterator[tuple[int, Mapping[str, Any]]]:
        if self.path is None:
            yield from enumerate(decoded_rows(self.rows, self.told), 1)
        elif self.path.suffix == _PARQUET:
            yield from parquet_rows(self.path, list, ByteCounter())
        else:
            records = JsonRecords(self.path, allow_cut=allow_cut)
            yield from records
            if records.is_cut:
                counts["cut_files"] = 1


def find_source(name: str, kind: Kind, *, split: str | None = None, name_in_tables: str | None = None) -> Source:
    """What a name stands for; see `load_multihop_dataset` for the names.

    Raises:
        InputError: there is nothing of that name, no such split, a set of the other kind, a folder without the file of
            the split, or the hub cannot be reached.
    """
    split = None if split is None else SPLITS.get(split, split)
    if not name.strip():
        raise InputError("the name of the data is empty; pass a file, a folder, or the name of a data set")
    if os.path.exists(name):
        path = Path(name)
        entry = MULTIHOP_CATALOGUE.get(path.name) if path.is_dir() else None
        if entry is not None:
            _require_kind(path.name, entry, kind)
        named = name_in_tables or (path.name if path.is_dir() else name_of_file(path).removesuffix(".json.txt"))
        return _local(path, name, entry, split, named, name_in_tables is None and path.is_dir())
    short, at, location = name.partition("@")
    stem, _, own = short.partition(".")
    entry = MULTIHOP_CATALOGUE.get(stem)
    if entry is None:
        return _of_hub(name, split, name_in_tables)
    _require_kind(stem, entry, kind)
    chosen = known_split(stem, SPLITS.get(own, own) if own else split, entry.splits)
    named = name_in_tables or f"{stem}.{chosen}"
    if at:
        if not location or not os.path.exists(location):
            raise InputError(f"{location or name}: no such file or folder; {stem} needs its files, from {entry.source}")
        return _local(Path(location), name, entry, chosen, named, False)
    if Path(stem).is_dir():
        return _local(Path(stem), name, entry, chosen, named, False)
    if entry.repository is None:
        raise InputError(f"{name}: say where its files are: {stem}.{chosen}@PATH (they come from {entry.source})")
    rows = load_from_hub(name, entry.repository, entry.config, chosen)
    told = f"{name} ({chosen})"
    return Source(
        name=named,
        told=told,
        language=entry.language,
        split=None,
        rows=rows,
        entry=entry,
        sha256={told: fingerprint_of(rows)},
    )


def _require_kind(name: str, entry: MultihopEntry, kind: Kind) -> None:
    if entry.kind != kind:
        reader = "load_wikihop_dataset" if entry.kind == "candidates" else "load_multihop_dataset"
        raise InputError(f"{name} is read with {reader}: its questions have {entry.kind}")


def _local(path: Path, told: str, entry: MultihopEntry | None, split: str | None, name: str, add_split: bool) -> Source:
    language = entry.language if entry else language_of_name(name_of_file(path)) or "en"
    if path.is_dir() and ((path / "dataset_info.json").exists() or (path / "dataset_dict.json").exists()):
        return _saved(path, split, name, language, entry)
    aliases = None
    if path.is_dir():
        split = split or (entry.splits[0] if entry else "validation")
        name = f"{name}.{split}" if add_split else name
        aliases = path / _ALIASES if (path / _ALIASES).is_file() else None
        path = _file_of_split(path, entry, split)
    else:
        of_name = split_of_name(name_of_file(path))
        if split is not None and of_name not in {None, split}:
            raise InputError(f"{told}: {path.name} is a file of the split {of_name} by its name, not of {split}")
    return Source(
        name=name,
        told=str(path),
        language=language,
        split=split,
        path=path,
        aliases=aliases,
        entry=entry,
        sha256={path.name: hash_file(path)} if path.is_file() else {},
    )


def _file_of_split(folder: Path, entry: MultihopEntry | None, split: str) -> Path:
    """The only file of a split in a folder, by the beginning of its name or, for unknown data, by its words."""
    files = sorted(file for file in folder.iterdir() if file.name.endswith((*_ENDINGS, _PARQUET)))
    for file in files:
        require_name(file)
    if entry is None:
        found = [file for file in files if split_of_name(name_of_file(file)) == split]
        wanted = f"a file whose name has the word {split}"
    else:
        starts = entry.files.get(split, ())
        found = [file for file in files if file.name.startswith(starts)] if starts else []
        wanted = f"a file {' or '.join(f'{start}*' for start in starts)}" if starts else f"files of the split {split}"
    if len(found) != 1:
        told = f"{len(found)} such files ({', '.join(file.name for file in found[:3])})" if found else "none"
        raise InputError(f"{folder}: {split} needs {wanted}, and it holds {told}; pass the path of the file")
    return found[0]


def _saved(path: Path, split: str | None, name: str, language: str, entry: MultihopEntry | None) -> Source:
    import datasets

    rows = datasets.load_from_disk(str(path))
    if isinstance(rows, datasets.DatasetDict):
        splits = sorted((str(key) for key in rows), key=lambda key: (key != "validation", key))
        rows = rows[known_split(str(path), split, tuple(splits))]
    return Source(
        name=name,
        told=str(path),
        language=language,
        split=split,
        rows=rows,
        entry=entry,
        sha256={path.name: fingerprint_of(rows)},
    )


def _of_hub(name: str, split: str | None, name_in_tables: str | None) -> Source:
    repository, _, config = name.partition(":")
    if looks_like_a_path(name) or repository.count("/") != 1:
        stem = name.partition("@")[0].partition(".")[0]
        near = did_you_mean(stem, MULTIHOP_CATALOGUE, n=2, cutoff=0.5)
        hint = f" ({near})" if near else ""
        raise InputError(
            f"{name}: no such file or folder{hint}; pass a file, a folder, NAME.SPLIT or NAME.SPLIT@PATH with "
            f"{', '.join(MULTIHOP_CATALOGUE)}, or OWNER/NAME on the Hugging Face hub"
        )
    chosen = split or "validation"
    rows = load_from_hub(name, repository, config or None, chosen)
    told = f"{name} ({chosen})"
    language = language_of_name(config or name.partition("/")[2]) or "en"
    return Source(
        name=name_in_tables or told,
        told=told,
        language=language,
        split=None,
        rows=rows,
        sha256={told: fingerprint_of(rows)},
    )
