"""`load_corpus` tokenises sources into files; `Corpus` is a selection of their documents."""

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from longspan.data.corpora.cache import Manifest, cache_source, read_manifest
from longspan.data.corpora.encoder import Encoder, Frame, find_frame
from longspan.data.corpora.shards import view_shard
from longspan.data.corpora.sources import CorpusSource, parse_sources
from longspan.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


logger = logging.getLogger(__name__)

_SHORT_DOCUMENT = 128  # tokens; shorter documents may be paragraphs


class TokenStore:
    """The memory-mapped tokens of a cached source; each process opens the files when it first uses them."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "manifest": self.manifest}

    def open(self) -> None:
        """Map all files now; open mappings stay valid if the cache is rebuilt."""
        assert len(self._batches[0]) and len(self.document_starts) > len(self.document_characters)

    @cached_property
    def document_starts(self) -> NDArray[np.int64]:
        """int64 [documents + 1]: start of each document's tokens in the store, and the end of the last."""
        return np.load(self.folder / "document_starts.npy", mmap_mode="r")

    @cached_property
    def document_characters(self) -> NDArray[np.int64]:
        """int64 [documents]: characters of each document's text."""
        return np.load(self.folder / "document_characters.npy", mmap_mode="r")

    @cached_property
    def _batches(self) -> tuple[NDArray[np.int64], list[NDArray[np.int32]], list[NDArray[np.uint16]]]:
        if read_manifest(self.folder)[0] != self.manifest:
            raise InputError(
                f"the cache {self.folder} was rebuilt or removed after the corpus was loaded; load the corpus again"
            )
        names = sorted(name for name in self.manifest.shards if name.endswith(".arrow"))
        views = [view_shard(self.folder / name) for name in names]
        ids = [batch for view in views for batch in view.ids]
        n_characters = [batch for view in views for batch in view.n_characters]
        return np.cumsum([0, *(len(batch) for batch in ids)]), ids, n_characters

    def ids(self, start: int, stop: int) -> NDArray[np.int32]:
        """int32 [stop - start]: the tokens from `start` to `stop` of the store."""
        return self._slice(self._batches[1], np.int32, start, stop)

    def n_characters(self, start: int, stop: int) -> NDArray[np.uint16]:
        """uint16 [stop - start]: number of characters of the text per token."""
        return self._slice(self._batches[2], np.uint16, start, stop)

    def _slice(self, batches: list[Any], dtype: Any, start: int, stop: int) -> Any:
        starts = self._batches[0]
        out = np.empty(stop - start, dtype)
        i = int(np.searchsorted(starts, start, side="right")) - 1
        at = start
        while at < stop:
            end = min(stop, int(starts[i + 1]))
            out[at - start : end - start] = batches[i][at - starts[i] : end - starts[i]]
            at, i = end, i + 1
        return out


@dataclass(frozen=True)
class SourceTokens:
    """Selected documents of a cached source.

    Attributes:
        source: the source.
        store: all tokens of the source.
        documents: int64, numbers of the selected documents, ascending; each has at least one token.
        left_out: reason -> number of documents that are left out for it.
    """

    source: CorpusSource
    store: TokenStore
    documents: NDArray[np.int64]
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def starts(self) -> NDArray[np.int64]:
        """int64 [documents]: start of each document's tokens in the store."""
        return self.store.document_starts[self.documents]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """int64 [documents]: number of tokens of each document."""
        return self.store.document_starts[self.documents + 1] - self.starts

    @property
    def n_tokens(self) -> int:
        """Number of tokens of the selected documents."""
        return int(self.lengths.sum())

    @property
    def n_characters(self) -> int:
        """Number of characters of the selected documents."""
        return int(self.store.document_characters[self.documents].sum())

    @property
    def sha256(self) -> str:
        """Hash of the source's text when it was tokenised."""
        return self.store.manifest.text_sha256

    @property
    def read_as(self) -> list[str]:
        """How files are read as documents, with "auto" resolved, for the fingerprint."""
        formats = sorted({file.format for file in self.store.manifest.files}) or ["hub"]
        return [f"{format} {self.source.documents_of(format)} {self.source.text_field}" for format in formats]


@dataclass(frozen=True)
class Corpus:
    """The tokens of several sources, in files.

    Attributes:
        sources: the sources in their order.
        frame: the special tokens of the tokenizer.
        tokenizer_fingerprint: SHA-256 of everything that determines the tokenizer's tokens.
        notes: messages of loading: rebuilt caches, files left out.
    """

    sources: tuple[SourceTokens, ...]
    frame: Frame
    tokenizer_fingerprint: str
    notes: tuple[str, ...] = ()

    @property
    def n_tokens(self) -> int:
        """Number of tokens of all sources, without special tokens."""
        return sum(source.n_tokens for source in self.sources)

    @property
    def n_characters(self) -> int:
        """Number of characters of the text of all sources."""
        return sum(source.n_characters for source in self.sources)

    @property
    def n_documents(self) -> int:
        """Number of documents of all sources."""
        return sum(len(source.documents) for source in self.sources)

    @property
    def data(self) -> dict[str, str]:
        """Name of each source -> SHA-256 of its text, for the provenance of a record."""
        return {source.source.label: source.sha256 for source in self.sources}

    @cached_property
    def fingerprint(self) -> str:
        """A hash of documents, tokenizer and weights, independent of paths; a resumed run compares it."""
        parts = [self.tokenizer_fingerprint]
        for source in self.sources:
            chosen = hashlib.sha256(np.ascontiguousarray(source.documents).tobytes()).hexdigest()
            made_for = {name: source.store.manifest.made_for[name] for name in ("layout", "max_piece")}
            made_for |= source.store.manifest.readers
            parts += [source.sha256, chosen, *source.read_as, json.dumps(made_for), str(source.source.weight)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def split(self, held_out: float | int, *, seed: int = 0) -> tuple["Corpus", "Corpus"]:
        """Split the corpus into documents for training and documents for validation.

        Documents are drawn separately in each source. The draw of a document depends only on the seed and its number.

        Args:
            held_out: share of each source's documents (a float below 1), or their number (an int).
            seed: seed of the draw.

        Raises:
            InputError: one of the two parts would have no document of a source.
        """
        train, validation = [], []
        for i, source in enumerate(self.sources):
            n = held_out if isinstance(held_out, int) else round(held_out * len(source.documents))
            n = max(n, 1) if held_out > 0 else n
            if not 0 < n < len(source.documents):
                raise InputError(
                    f"{source.source.label}: {n} of {len(source.documents)} documents cannot be held out; name other "
                    "files for validation, or hold out another share"
                )
            order = np.argsort(_draw(source.documents, seed, i), kind="stable")
            out = np.zeros(len(source.documents), bool)
            out[order[:n]] = True
            train.append(replace(source, documents=source.documents[~out]))
            validation.append(replace(source, documents=source.documents[out]))
        return replace(self, sources=tuple(train)), replace(self, sources=tuple(validation))

    def summary(self) -> dict[str, Any]:
        """Counts of the corpus and of each source, for records and `longspan ls`."""
        return {
            "n_sources": len(self.sources),
            "n_documents": self.n_documents,
            "n_tokens": self.n_tokens,
            "n_characters": self.n_characters,
            "sources": [_summary(source) for source in self.sources],
            "notes": list(self.notes),
        }


def load_corpus(
    sources: Sequence[CorpusSource | dict[str, Any] | str],
    tokenizer: "PreTrainedTokenizerBase",
    *,
    cache_dir: str | Path,
    n_processes: int | None = None,
    progress: bool = True,
) -> Corpus:
    """Tokenise sources, or load their tokens from `cache_dir`.

    A source is tokenised once per tokenizer. Its cache is reused while its files have the same bytes, rebuilt with a
    message when they change, and continued after a kill. `weight`, `fraction`, `min_tokens`, `min_characters`,
    `language` and `name` may change without tokenising again. Memory does not grow with the corpus, because tokens are
    memory-mapped.

    Args:
        sources: paths, mappings of `CorpusSource`'s fields, or `CorpusSource`s.
        tokenizer: a tokenizer of transformers. Fast ones give the offsets of tokens, slow ones do not
            (`longspan.data.corpora.encoder`).
        cache_dir: folder of the caches, made if it does not exist. Several processes may use it at once.
        n_processes: number of shards tokenised in parallel; None: the number of cores. Up to 4 use threads of this
            process; more, or a slow tokenizer, use processes with a copy of the tokenizer each.
        progress: show a bar.

    Raises:
        InputError: a source is wrong or cannot be read (the message has file and line, byte or field), has no text, has
            no document that is long enough, or the cache cannot be written.
    """
    parsed = parse_sources(sources)
    if n_processes is None:
        n_processes = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if n_processes < 1:
        raise InputError(f"n_processes is {n_processes}; choose 1 or more")
    encoder = Encoder(tokenizer)
    frame = find_frame(tokenizer)
    found: list[SourceTokens] = []
    notes: list[str] = []
    for source in parsed:
        folder, manifest, some = cache_source(
            source, encoder, Path(cache_dir).absolute(), n_processes=n_processes, progress=progress
        )
        notes += some
        store = TokenStore(folder, manifest)
        store.open()
        found.append(_choose(source, store))
        if note := _look_like_paragraphs(found[-1]):
            logger.warning(note)
            notes.append(note)
    return Corpus(tuple(found), frame, encoder.fingerprint, tuple(notes))


def _choose(source: CorpusSource, store: TokenStore) -> SourceTokens:
    """Select the documents that are long enough, and of these the requested fraction."""
    counts = store.manifest.counts
    lengths = np.diff(store.document_starts)
    is_chosen = lengths > 0
    left_out = {"empty": counts.n_empty + int((~is_chosen).sum())}
    for name, is_fit in (
        ("under min_tokens", lengths >= source.min_tokens),
        ("under min_characters", np.asarray(store.document_characters) >= source.min_characters),
    ):
        left_out[name] = int((is_chosen & ~is_fit).sum())
        is_chosen &= is_fit
    chosen = np.flatnonzero(is_chosen)
    if not len(chosen):
        raise InputError(
            f"{source.label}: none of its {len(lengths):,} documents has {source.min_tokens:,} tokens and "
            f"{source.min_characters:,} characters (the longest has {int(lengths.max()):,} tokens); lower the minimum"
        )
    n = max(round(source.fraction * len(chosen)), 1)
    if n < len(chosen):
        left_out["outside the fraction"] = len(chosen) - n
        chosen = np.sort(chosen[np.argsort(_draw(chosen, 0, 0), kind="stable")[:n]])
    return SourceTokens(source, store, chosen, {why: n for why, n in left_out.items() if n})


def _look_like_paragraphs(tokens: SourceTokens) -> str:
    """Return a warning if documents of plain text, split at blank lines by default, are very short; else ""."""
    source = tokens.source
    median = int(np.median(tokens.lengths))
    formats = {file.format for file in tokens.store.manifest.files}
    if source.documents != "auto" or "text" not in formats or median >= _SHORT_DOCUMENT or len(tokens.documents) < 10:
        return ""
    return (
        f"{source.label}: its documents, split at blank lines, have a median of {median} tokens. If these are "
        "paragraphs and each file is a document, set documents: file; else set documents: blank_line"
    )


def _draw(documents: NDArray[np.int64], seed: int, source: int) -> NDArray[np.uint64]:
    """A pseudo-random number per document that depends only on its number, the seed and the source (splitmix64)."""
    with np.errstate(over="ignore"):
        x = documents.astype(np.uint64) + np.uint64(1)
        for salt in (seed % 2**64, source):
            x = (x ^ np.uint64(salt)) + np.uint64(0x9E3779B97F4A7C15)
            x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            x ^= x >> np.uint64(31)
    return x


def _summary(source: SourceTokens) -> dict[str, Any]:
    manifest = source.store.manifest
    lengths = source.lengths
    return {
        "name": source.source.label,
        "path": source.source.path,
        "language": source.source.language,
        "weight": source.source.weight,
        "n_files": len(manifest.files),
        "n_bytes": sum(file.n_bytes for file in manifest.files),
        "n_documents": len(source.documents),
        "n_tokens": int(lengths.sum()),
        "n_characters": source.n_characters,
        "longest_tokens": int(lengths.max()),
        "median_tokens": int(np.median(lengths)),
        "left_out": source.left_out,
        "n_unsafe_cuts": manifest.counts.n_unsafe_cuts,
        "sha256": source.sha256,
        "cache": str(source.store.folder),
    }
