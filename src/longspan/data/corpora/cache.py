"""The token cache of a source: built once, continued after a kill, rebuilt when the text changes.

A cache is a folder of Arrow files that `datasets.load_from_disk` opens, too. It is built under a temporary name. Each
shard gets its final name when it is complete, and the folder gets its name when all shards are.
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

SHARD_CHARACTERS = 1 << 23  # characters of text per shard: some 10 MB on the disk; a kill loses at most one per worker
_LAYOUT = 2  # version of the cache's layout; a new number rebuilds old caches


class Counts(BaseModel):
    """Counts of a source.

    Attributes:
        n_documents: number of documents, also those without tokens; they are numbered from 0 in the cache.
        n_tokens: number of tokens, without special tokens.
        n_characters: number of characters of their text, without white space around documents.
        n_empty: number of records or files with nothing but white space.
        n_cuts: number of cuts of documents into pieces for tokenising.
        n_unsafe_cuts: number of cuts where one or two tokens may differ from those of the whole document.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    n_documents: int
    n_tokens: int
    n_characters: int
    n_empty: int
    n_cuts: int
    n_unsafe_cuts: int


class Manifest(BaseModel):
    """The content and origin of a finished cache; `shards` has the size of each file in bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    made_for: dict[str, Any]
    sha256: str
    files: list[FileState]
    shards: dict[str, int]
    counts: Counts
    readers: dict[str, int] = {}

    @property
    def text_sha256(self) -> str:
        """Hash of the source's text (`contents.hash_text`), which older versions wrote differently to `sha256`."""
        return hash_text(self.files, "") if self.files else self.sha256


def cache_source(
    source: CorpusSource, encoder: Encoder, cache_dir: Path, *, n_processes: int, progress: bool
) -> tuple[Path, Manifest, list[str]]:
    """Build, continue or reuse the cache of a source; returns its folder, its manifest and notes on what was done.

    Raises:
        InputError: the source cannot be read or has no text, or the cache cannot be written.
    """
    made_for = _made_for(source, encoder)
    folder = cache_dir / _folder_name(source, made_for)
    with _locked(folder):
        old, fault = read_manifest(folder)
        contents = scan_source(source, old.files if old else [])
        notes = []
        if contents.left_out:
            names = ", ".join(str(path) for path in contents.left_out[:5])
            notes.append(f"{source.label}: {len(contents.left_out)} files of other formats are left out ({names})")
        if old is not None and _is_current(old, contents):
            if os.access(folder, os.W_OK):
                (folder / "plan.json").unlink(missing_ok=True)  # left by a run that was killed at its very end
            if old.files != contents.files and os.access(folder, os.W_OK):
                old = old.model_copy(update={"files": contents.files})  # new times, so that files are not hashed again
                _write_json(folder / "manifest.json", old.model_dump())
            manifest = old
        else:
            if fault:
                notes.append(f"{source.label}: its cache {folder} is damaged ({fault}) and is built again")
            elif old is not None:
                notes.append(f"{source.label} changed since it was tokenised ({_changes(old, contents)}); built again")
            manifest = _build(folder, contents, made_for, encoder, n_processes, progress, notes)
    for note in notes:
        logger.warning(note)
    return folder, manifest, notes


def _made_for(source: CorpusSource, encoder: Encoder) -> dict[str, Any]:
    """Everything except the text that determines the content of a cache."""
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
def _locked(folder: Path) -> Iterator[None]:
    """Lock a cache for this process; a finished cache in a read-only folder needs no lock."""
    if folder.is_dir() and not os.access(folder.parent, os.W_OK):
        yield
        return
    require_writable_directory(folder.parent, overwrite=True)
    make_directory(folder.parent)
    lock = FileLock(folder.parent / f".{folder.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.warning("another process uses the cache %s; waiting for it", folder)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def read_manifest(folder: Path) -> tuple[Manifest | None, str]:
    """Return the manifest of a complete cache and ""; or None and what is wrong (nothing if there is no cache)."""
    if not folder.is_dir():
        return None, ""
    try:
        manifest = Manifest.model_validate_json(read_description(folder / "manifest.json"))
    except (OSError, ValidationError):
        return None, "its manifest.json cannot be read"
    for name, n_bytes in manifest.shards.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != n_bytes:
            return None, f"{name} has another size than before"
    return manifest, ""


def _is_current(manifest: Manifest, contents: Contents) -> bool:
    """Whether a cache was built from the current text by the current readers."""
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
    changes = [
        f"{kind}: {', '.join(paths[:3])}{', ...' if len(paths) > 3 else ''}" for kind, paths in kinds.items() if paths
    ]
    if not changes and old.readers != contents.readers:
        changes = [f"longspan reads {' and '.join(contents.readers)} better now"]
    return "; ".join(changes) or "another version of the data set"


def _build(
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
    # The plan is removed last, so that a run after a kill finds it with the shards and continues.
    (folder / "plan.json").unlink()
    return manifest


def _start_or_continue(building: Path, plan: dict[str, Any]) -> int:
    """Make the folder, or keep it if it has the same plan; returns the number of its finished shards."""
    try:
        is_same = load_json(building / "plan.json") == plan
    except (OSError, ValueError):
        is_same = False
    if building.exists() and not is_same:
        logger.warning("removing an unfinished cache of another version of the corpus: %s", building)
        shutil.rmtree(building)
    for unfinished in building.glob(".*"):  # temporary files of a killed run
        unfinished.unlink()
    if not is_same:
        _write_json(building / "plan.json", plan)
    return len(list(building.glob("data-*.arrow")))


class _Jobs:
    """The shards to write, in order; finished shards are skipped, but their part of the source is read."""

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
    """Write the index of documents and the files for `datasets.load_from_disk`; returns counts and file sizes."""
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
    """Rename the finished folder, replacing an old one. After a kill in between, the next run continues from it."""
    old = building.with_name(f"{building.name}.old")  # left by a killed run, if two names cannot be exchanged
    shutil.rmtree(old, ignore_errors=True)
    put_in_place(building, resolved(folder))


def _write_json(path: Path, value: Any) -> None:
    with replace_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
