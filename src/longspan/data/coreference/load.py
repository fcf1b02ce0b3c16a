"""`load_coreference_dataset`: a file, a folder, a tar or a name of the catalogue -> documents with clusters."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from longspan.data.coreference import brat, conll, gap, preco
from longspan.data.coreference.catalogue import COREFERENCE_CATALOGUE, CoreferenceEntry, is_in_split
from longspan.data.coreference.documents import (
    CoreferenceDataset,
    CoreferenceDocument,
    FaultLog,
    make_coreference_dataset,
)
from longspan.data.coreference.members import Member, paths_of_members, read_members, without_compression
from longspan.data.languages import language_of_name
from longspan.data.names import known_split
from longspan.errors import InputError
from longspan.wording import did_you_mean

_SPLITS = {"dev": "validation", "development": "validation"}
_ENDINGS = {"conll": conll.ENDINGS, "brat": brat.ENDINGS, "gap": gap.ENDINGS, "preco": preco.ENDINGS}
_READERS: dict[str, Callable[[Member, FaultLog], Iterator[CoreferenceDocument]]] = {
    "conll": conll.read_conll,
    "gap": gap.read_gap,
    "preco": preco.read_preco,
}
_PARENTS = (Path(), Path("data"))


def load_coreference_dataset(
    name: str,
    *,
    split: str | None = None,
    language: str | None = None,
    faults: str | None = None,
    name_in_tables: str | None = None,
) -> CoreferenceDataset:
    """Read documents with coreference clusters from a file, a folder, a tar or a set of the catalogue.

    Args:
        name: one of

            - a file of CoNLL columns (a name that ends in `conll`), of PreCo (.jsonl, .json) or of GAP (.tsv), maybe
              compressed; brat's .ann with its .txt beside it;
            - a folder or a tar of such files of one format;
            - `NAME.SPLIT@PATH` with a name of `COREFERENCE_CATALOGUE`: `litbank.test@corpora/litbank`. PATH may be the
              folder that holds a folder NAME;
            - `NAME.SPLIT` if there is a folder NAME here or in `data` (`./NAME` is the folder without its splits).
        split: one of the set's; needed if the name has none and the set has several.
        language: of the texts; what the name tells, else English, if None.
        faults: "refuse" or "leave_out" what a corpus has wrong: unbalanced brackets, a mention in two clusters,
            offsets outside of the text, relations without a mention, ids that come twice. What is left out is counted
            and described (`counts`, `notes`). If None, faults are refused, but in sets of the catalogue that are known
            to have some.
        name_in_tables: the data set's name in tables; made from `name` if None.

    Raises:
        InputError: nothing of that name, no such split, or a document is not as its format says.
    """
    if faults not in {None, "refuse", "leave_out"}:
        raise InputError(f"faults is {faults!r}; it must be 'refuse' or 'leave_out'")
    if name not in COREFERENCE_CATALOGUE and _exists(name):
        path = Path(name)
        if split is not None:
            raise InputError(f"{path} has no splits; leave split out, or pass NAME.SPLIT@{path}")
        return _read(
            path,
            _format_of(path),
            FaultLog(refuse=faults != "leave_out"),
            name=name_in_tables or without_compression(path.name),
            language=language,
        )
    stem, chosen, path = _entry_parts(name, split)
    entry = COREFERENCE_CATALOGUE[stem]
    if language not in {None, entry.language}:
        raise InputError(f"{name} is in {entry.language!r}, not {language!r}; leave the language out")
    return _read(
        path,
        entry.format,
        FaultLog(refuse=(faults or entry.faults) == "refuse"),
        name=name_in_tables or f"{stem}.{chosen}",
        language=entry.language,
        entry=entry,
        stem=stem,
        split=chosen,
    )


def require_coreference_data(name: str, *, split: str | None = None) -> None:
    """Refuse what `load_coreference_dataset` cannot find by its name alone; nothing is read.

    Raises:
        InputError: no such file or folder, no data set of that name, or not a split that it has.
    """
    if name in COREFERENCE_CATALOGUE or not _exists(name):
        _entry_parts(name, split)


def _exists(name: str) -> bool:
    if not name.strip():
        raise InputError("the name of the data set is empty; pass a file, a folder or NAME.SPLIT@PATH")
    return os.path.exists(name)  # `Path.exists` raises an error for a name that is too long


def _entry_parts(name: str, split: str | None) -> tuple[str, str, Path]:
    """The set's name in the catalogue, the split and the path of `NAME.SPLIT@PATH`."""
    short, at, location = name.partition("@")
    stem, _, own = short.partition(".")
    entry = COREFERENCE_CATALOGUE.get(stem)
    if entry is None:
        near = did_you_mean(stem, COREFERENCE_CATALOGUE, n=2, cutoff=0.5)
        raise InputError(
            f"{name}: no such file or folder{near and f' ({near})'}; pass a file, a "
            f"folder, a tar, or NAME.SPLIT@PATH with {', '.join(COREFERENCE_CATALOGUE)}"
        )
    chosen = own or split or (entry.splits[0] if len(entry.splits) == 1 else None)
    if chosen is None:
        raise InputError(
            f"{name}: say which split: {stem}.{entry.splits[0]}{at}{location} (or {', '.join(entry.splits[1:])})"
        )
    chosen = known_split(stem, _SPLITS.get(chosen, chosen), entry.splits)
    if not at:
        path = next((one / stem for one in _PARENTS if (one / stem).is_dir()), None)
        if path is None:
            raise InputError(f"{name}: say where its files are: {name}@PATH ({entry.path})")
        return stem, chosen, path
    if not location or not _exists(location):
        raise InputError(f"{location or name}: no such file or folder; {stem} needs {entry.path}")
    path = Path(location)
    return stem, chosen, path / stem if (path / stem).is_dir() else path


def _format_of(path: Path) -> str:
    """The format of a file, or of the files in a folder or tar, by their endings.

    Raises:
        InputError: there is none, or there are several.
    """
    names = [without_compression(one).lower() for one in paths_of_members(path)]
    found = [one for one, endings in _ENDINGS.items() if any(name.endswith(endings) for name in names)]
    if "brat" in found and not any(name.endswith(".ann") for name in names):
        found.remove("brat")  # texts alone, such as a licence
    if len(found) != 1:
        told = f"of several formats ({', '.join(found)})" if found else "of no known format"
        raise InputError(
            f"{path} is {told}; pass CoNLL columns (names that end in conll), brat's .ann with .txt, GAP's .tsv or "
            "PreCo's .jsonl"
        )
    return found[0]


def _read(
    path: Path,
    format: str,
    faults: FaultLog,
    *,
    name: str,
    language: str | None,
    entry: CoreferenceEntry | None = None,
    stem: str = "",
    split: str = "",
) -> CoreferenceDataset:
    endings = _ENDINGS[format] if entry is None else entry.endings
    members, sha256 = read_members(path, endings, inside=entry.inside if entry else "")
    if format == "brat" and path.is_file() and len(members) == 1:
        members, sha256 = _with_text(path)
    if entry is not None and entry.split_of_file:
        members = _members_of_split(members, entry, split, path, faults)
    documents = list(_documents(members, format, str(path), faults))
    if entry is not None and entry.has_documents_by_split:
        chosen = [one for one in documents if is_in_split(stem, one.id, split)]
        faults.count("documents_in_other_splits", len(documents) - len(chosen))
        documents = chosen
    return make_coreference_dataset(
        documents,
        source=f"{path} ({split})" if split else str(path),
        name=name,
        language=language or language_of_name(name) or "en",
        sha256=sha256,
        faults=faults,
        has_singletons=entry.has_singletons if entry else None,
        is_partial=entry.is_partial if entry else format == "gap",
    )


def _documents(members: Sequence[Member], format: str, source: str, faults: FaultLog) -> Iterator[CoreferenceDocument]:
    if format == "brat":
        for text, annotations in brat.pair_members(members, source):
            yield from brat.read_brat(text, annotations, faults)
    else:
        for member in members:
            yield from _READERS[format](member, faults)


def _with_text(path: Path) -> tuple[list[Member], dict[str, str]]:
    """The members of a file of brat and of the one beside it."""
    name = without_compression(path.name)
    stem = name.rpartition(".")[0]
    members: list[Member] = []
    sha256: dict[str, str] = {}
    for ending in brat.ENDINGS:
        beside = path if name.endswith(ending) else path.with_name(stem + ending)
        found, hashes = read_members(beside, brat.ENDINGS)
        members += found
        sha256 |= hashes
    return members, sha256


def _members_of_split(
    members: list[Member], entry: CoreferenceEntry, split: str, path: Path, faults: FaultLog
) -> list[Member]:
    """The files of a split, told by the words in their paths; a single file is of the split that is asked for."""
    splits = [_split_of_path(one.path, entry.split_of_file) for one in members]
    if len(members) == 1 and splits[0] is None:
        return members
    for member, found in zip(members, splits, strict=True):
        if found is None:
            raise InputError(
                f"{member.where}: its path does not tell its split ({', '.join(entry.split_of_file)}); rename it"
            )
    chosen = [one for one, found in zip(members, splits, strict=True) if found == split]
    if not chosen:
        raise InputError(f"{path} holds no file of the split {split!r}; pass {entry.path}")
    faults.count("files_of_other_splits", len(members) - len(chosen))
    return chosen


def _split_of_path(path: str, split_of_word: dict[str, str]) -> str | None:
    """The split that the first such word in a path names: `data/train/a`, `dev.jsonl`, `gap-test.tsv`."""
    words = path.lower().replace("-", "/").replace(".", "/").replace("_", "/").split("/")
    return next((split_of_word[word] for word in words if word in split_of_word), None)
