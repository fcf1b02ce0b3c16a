"""Sources as tokens on the disk: made once, continued after a kill, made anew when the text changes.

The cache of a source is a folder of Arrow files that `datasets.load_from_disk` opens too. While it is made it stands
under another name; each shard gets its name when it is complete, and the folder gets its own when all are.
"""

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from longspan.data.corpora.contents import Contents, FileState, hash_text, scan_source
from longspan.data.corpora.cutting import MAX_PIECE, Cutter, Piece
from longspan.data.corpora.encoder import Encoder
from longspan.data.corpora.pool import ShardJob, write_shards
from longspan.data.corpora.shards import SCHEMA, view_shard
from longspan.data.corpora.sources import CorpusSource, is_hub
from longspan.data.corpora.streams import ByteCounter
from longspan.errors import InputError
from longspan.files import make_directory, replace_file, require_writable_directory
from longspan.limits import load_json, read_description
from longspan.progress import progress_bar
from longspan.replacing import put_in_place, resolved

logger = logging.getLogger(__name__)

SHARD_CHARACTERS = 1 << 23  # of text in a shard: some 10 MB on the disk, and what a kill can lose
_LAYOUT = 2  # of the cache; another number makes old ones anew


class Counts(BaseModel):
    """What reading a source found.

    Attributes:
        n_documents: with at least one token or not; numbered from 0 in the cache.
        n_characters: of their text, the white space around it left out.
        n_empty: records or files that hold nothing but white space.
        n_cuts: places where documents were cut to be tokenised in pieces.
        n_unsafe_cuts: of these, where a token or two may differ from those of the whole document.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    n_documents: int
    n_tokens: int
    n_characters: int
    n_empty: int
    n_cuts: int
    n_unsafe_cuts: int


class Manifest(BaseModel):
    """What a finished cache holds and what it was made from; `shards` has the size of each file in bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    made_for: dict[str, Any]
    sha256: str
    files: list[FileState]
    shards: dict[str, int]
    counts: Counts
    readers: dict[str, int] = {}

    @property
    def text_sha256(self) -> str:
        """Of the text it was made from (`contents.hash_text`), whatever the version that wrote `sha256`."""
        return hash_text(self.files, "") if self.files else self.sha256


def cache_source(
    source: CorpusSource, encoder: Encoder, cache_dir: Path, *, n_processes: int, progress: bool
) -> tuple[Path, Manifest, list[str]]:
    """The folder with the source's tokens, made or continued or as it was; its manifest; notes on what was done.

    Raises:
        InputError: the source cannot be read or holds no text, or the cache cannot be written.
    """
    made_for = _made_for(source, encoder)
    folder = cache_dir / _folder_name(source, made_for)
    with _only_one(folder):
        old, fault = read_manifest(folder)
        contents = scan_source(source, old.files if old else [])
        notes = []
        if contents.left_out:
            names = ", ".join(str(path) for path in contents.left_out[:5])
            notes.append(f"{source.label}: {len(contents.left_out)} files of other formats are left out ({names})")
        if old is not None and _is_of(old, contents):
            if os.access(folder, os.W_OK):
                (folder / "plan.json").unlink(missing_ok=True)  # of a run that was killed at its very end
            if old.files != contents.files and os.access(folder, os.W_OK):
                old = old.model_copy(update={"files": contents.files})  # touched, or sure now: not hashed next time
                _write_json(folder / "manifest.json", old.model_dump())
            manifest = old
        else:
            if fault:
                notes.append(f"{source.label}: its cache {folder} is damaged ({fault}); it is made anew")
            elif old is not None:
                notes.append(f"{source.label} changed since it was tokenised ({_changes(old, contents)}); made anew")
            manifest = _make(folder, contents, made_for, encoder, n_processes, progress, notes)
    for note in notes:
        logger.warning(note)
    return folder, manifest, notes


def _made_for(source: CorpusSource, encoder: Encoder) -> dict[str, Any]:
    """Everything but the text that decides what is in a cache."""
    fields = ("format", "documents", "text_field", "split", "revision", "streaming")
    return {
        "layout": _LAYOUT,
        "max_piece": MAX_PIECE,
        "tokenizer": encoder.fingerprint,
        "source": {field: getattr(source, field) for field in fields},
        "path": source.path if is_hub(source) else os.path.abspath(source.path),
    }


def _folder_name(source: CorpusSource, made_for: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(made_for, sort_keys=True).encode()).hexdigest()[:16]
    readable = re.sub(r"[^\w.-]+", "-", source.name or Path(source.path).name, flags=re.ASCII).strip("-.")[:40]
    return f"{readable or 'source'}-{digest}"


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Let one process after the other in; a finished cache in a folder that may not be written needs no lock."""
    if folder.is_dir() and not os.access(folder.parent, os.W_OK):
        yield
        return
    require_writable_directory(folder.parent, overwrite=True)
    make_directory(folder.parent)
    lock = FileLock(folder.parent / f".{folder.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.warning("another process is at the cache %s; waiting for it", folder)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def read_manifest(folder: Path) -> tuple[Manifest | None, str]:
    """The manifest of a cache whose files are all there; or what is wrong with it."""
    if not folder.is_dir():
        return None, ""
    try:
        manifest = Manifest.model_validate_json(read_description(folder / "manifest.json"))
    except (OSError, ValidationError):
        return None, "its manifest.json cannot be read"
    for name, n_bytes in manifest.shards.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != n_bytes:
            return None, f"{name} is not as long as it was"
    return manifest, ""


def _is_of(manifest: Manifest, contents: Contents) -> bool:
    """Whether a cache was made from the text as it is now, read as now."""
    formats = [file.format for file in contents.files]
    if manifest.readers != contents.readers:
        return False
    return manifest.text_sha256 == contents.sha256 and [file.format for file in manifest.files] == formats


def _changes(old: Manifest, contents: Contents) -> str:
    before = {file.path: file.sha256 for file in old.files}
    now = {file.path: file.sha256 for file in contents.files}
    kinds = {
        "changed": [path for path in now if path in before and now[path] != before[path]],
        "new": [path for path in now if path not in before],
        "gone": [path for path in before if path not in now],
    }
    told = [
        f"{kind}: {', '.join(paths[:3])}{', ...' if len(paths) > 3 else ''}" for kind, paths in kinds.items() if paths
    ]
    if not told and old.readers != contents.readers:
        told = [f"longspan reads {' and '.join(contents.readers)} better now"]
    return "; ".join(told) or "another version of the data set"


def _make(
    folder: Path,
    contents: Contents,
    made_for: dict[str, Any],
    encoder: Encoder,
    n_processes: int,
    progress: bool,
    notes: list[str],
) -> Manifest:
    label = contents.source.label
    building = folder.parent / f".{folder.name}.building"
    plan = {"made_for": made_for, "sha256": contents.sha256, "shard_characters": SHARD_CHARACTERS}
    if contents.readers:
        plan["readers"] = contents.readers
    n_finished = _start_or_continue(building, plan)
    if n_finished:
        notes.append(f"{label}: {n_finished} shards of an earlier, unfinished run are used")
    cutter = Cutter(encoder.ids)
    jobs = _Jobs(building, contents, cutter)
    bar = progress_bar(
        total=contents.n_bytes,
        desc=f"tokenising {label}",
        unit="B" if contents.n_bytes is not None else " characters",
        unit_scale=True,
        is_shown=progress,
    )
    with bar:
        for position in write_shards(jobs, encoder, n_processes):
            bar.update(max(position - bar.n, 0))
        bar.update(max((contents.n_bytes or 0) - bar.n, 0))
    contents.require_unchanged()
    if not cutter.n_documents:
        shutil.rmtree(building)
        raise InputError(f"{label} holds no text; pass a corpus with text in it")
    counts, shards = _finish(building, jobs.n_shards, cutter)
    manifest = Manifest(
        made_for=made_for,
        sha256=contents.sha256,
        files=contents.files,
        shards=shards,
        counts=counts,
        readers=contents.readers,
    )
    _write_json(building / "manifest.json", manifest.model_dump())
    _move(building, folder)
    # Last: whoever is killed before finds the plan and the shards, and goes on.
    (folder / "plan.json").unlink()
    return manifest


def _start_or_continue(building: Path, plan: dict[str, Any]) -> int:
    """Make the folder; number of finished shards in it, if it was begun with the same plan."""
    try:
        is_same = load_json(building / "plan.json") == plan
    except (OSError, ValueError):
        is_same = False
    if building.exists() and not is_same:
        logger.warning("an unfinished cache of another state of the corpus is thrown away: %s", building)
        shutil.rmtree(building)
    for unfinished in building.glob(".*"):  # what a killed run was writing
        unfinished.unlink()
    if not is_same:
        _write_json(building / "plan.json", plan)
    return len(list(building.glob("data-*.arrow")))


class _Jobs:
    """The shards still to be written, in order; those that are finished are read past."""

    def __init__(self, building: Path, contents: Contents, cutter: Cutter) -> None:
        self.building, self.contents, self.cutter = building, contents, cutter
        self.n_shards = 0

    def __iter__(self) -> Iterator[ShardJob]:
        pieces: list[Piece] = []
        n_held = n_read = 0
        counter = ByteCounter()
        has_bytes = self.contents.n_bytes is not None
        for options, fragments in self.contents.fragments(counter):
            self.cutter.counts_empty = options.documents in {"record", "file"}
            for piece in self.cutter.pieces(fragments):
                pieces.append(piece)
                n_held += len(piece.text)
                n_read += len(piece.text)
                if n_held >= SHARD_CHARACTERS:
                    yield from self._job(pieces, counter.n_bytes if has_bytes else n_read)
                    pieces, n_held = [], 0
        if pieces:
            yield from self._job(pieces, counter.n_bytes if has_bytes else n_read)

    def _job(self, pieces: list[Piece], position: int) -> Iterator[ShardJob]:
        path = self.building / f"data-{self.n_shards:05d}.arrow"
        self.n_shards += 1
        if not path.exists():
            yield ShardJob(path, pieces, position)


def _finish(building: Path, n_shards: int, cutter: Cutter) -> tuple[Counts, dict[str, int]]:
    """Index the documents and write what `datasets.load_from_disk` asks for; size of each file."""
    import datasets

    n_tokens = np.zeros(cutter.n_documents, np.int64)
    n_characters = np.zeros(cutter.n_documents, np.int64)
    names = [f"data-{i:05d}.arrow" for i in range(n_shards)]
    for name in names:
        shard = view_shard(building / name)
        np.add.at(n_tokens, shard.documents, shard.n_tokens)
        np.add.at(n_characters, shard.documents, shard.characters)
    with replace_file(building / "document_starts.npy") as temporary, temporary.open("wb") as file:
        np.save(file, np.concatenate([[0], np.cumsum(n_tokens)]))
    with replace_file(building / "document_characters.npy") as temporary, temporary.open("wb") as file:
        np.save(file, n_characters)
    features = datasets.Features.from_arrow_schema(SCHEMA)
    _write_json(building / "dataset_info.json", {"features": features.to_dict()})
    state = {
        "_data_files": [{"filename": name} for name in names],
        "_fingerprint": hashlib.sha256(str(building).encode()).hexdigest()[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    _write_json(building / "state.json", state)
    for unexpected in set(building.glob("data-*.arrow")) - {building / name for name in names}:
        unexpected.unlink()
    files = [*names, "document_starts.npy", "document_characters.npy"]
    counts = Counts(
        n_documents=cutter.n_documents,
        n_tokens=int(n_tokens.sum()),
        n_characters=int(n_characters.sum()),
        n_empty=cutter.n_empty,
        n_cuts=cutter.n_cuts,
        n_unsafe_cuts=cutter.n_unsafe_cuts,
    )
    return counts, {name: (building / name).stat().st_size for name in files}


def _move(building: Path, folder: Path) -> None:
    """Put the finished folder where an old one may stand. A kill in between leaves a finished one to continue from."""
    old = building.with_name(f"{building.name}.old")  # for a moment, where two names cannot be exchanged
    shutil.rmtree(old, ignore_errors=True)
    put_in_place(building, resolved(folder))


def _write_json(path: Path, value: Any) -> None:
    with replace_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
