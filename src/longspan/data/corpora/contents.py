"""The current content of a source: its files with their hashes, or a data set's fingerprint, and how to read it."""

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from longspan.data.corpora.fragments import Fragment, ReadOptions
from longspan.data.corpora.readers import READER_VERSIONS, READERS
from longspan.data.corpora.readers.hub import HubTexts, find_on_hub
from longspan.data.corpora.sources import CorpusSource, SourceFile, find_files, is_hub
from longspan.data.corpora.streams import ByteCounter
from longspan.errors import InputError
from longspan.records import hash_file

# A file modified this shortly before it was hashed may have changed again without a new modification time.
_UNSURE_NS = 2_000_000_000


class FileState(BaseModel):
    """The state of a file when it was hashed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    format: str
    n_bytes: int
    mtime_ns: int
    hashed_at_ns: int
    sha256: str


class Contents(NamedTuple):
    """A scanned source that is ready to be read.

    Attributes:
        files: the source's files; empty for a data set of the hub.
        hub: the data set of the hub; None for files.
        left_out: files of the source's folder without a suffix of a known format.
    """

    source: CorpusSource
    files: list[FileState]
    hub: HubTexts | None
    left_out: list[Path]

    @property
    def sha256(self) -> str:
        """Hash of the text; see `hash_text`."""
        return hash_text(self.files, self.hub.content if self.hub is not None else "")

    @property
    def readers(self) -> dict[str, int]:
        """Versions of the files' readers above 1, by format."""
        return {file.format: READER_VERSIONS[file.format] for file in self.files if file.format in READER_VERSIONS}

    @property
    def n_bytes(self) -> int | None:
        """Total size of the files; None for the hub."""
        return None if self.hub is not None else sum(file.n_bytes for file in self.files)

    def fragments(self, counter: ByteCounter) -> Iterator[tuple[ReadOptions, Iterator[Fragment]]]:
        """Yield, for each file, its read options and its fragments."""
        text_field = self.source.text_field
        if self.hub is not None:
            options = ReadOptions(self.source.documents_of("hub"), text_field)
            yield options, self.hub.read(options)
        for file in self.files:
            options = ReadOptions(self.source.documents_of(file.format), text_field)
            yield options, READERS[file.format](Path(file.path), options, counter)

    def require_unchanged(self) -> None:
        """Raise an InputError if a file has changed since it was hashed."""
        for file in self.files:
            status = Path(file.path).stat()
            if (status.st_size, status.st_mtime_ns) != (file.n_bytes, file.mtime_ns):
                raise InputError(f"{file.path} changed while it was read; start again when it is complete")


def hash_text(files: list[FileState], content: str) -> str:
    """SHA-256 of the files' bytes and formats in their order, independent of their paths.

    For a single file this is the file's hash; for a data set of the hub, the hash of `content`, its fingerprint.
    """
    if not files:
        return hashlib.sha256(content.encode()).hexdigest()
    if len(files) == 1:
        return files[0].sha256
    return hashlib.sha256(json.dumps([[file.format, file.sha256] for file in files]).encode()).hexdigest()


def scan_source(source: CorpusSource, known: list[FileState]) -> Contents:
    """Find the source's files and hash them, except those that are `known` with the same size and modification time.

    Raises:
        InputError: as `find_files` and `find_on_hub`; or a file is not readable.
    """
    if is_hub(source):
        hub = find_on_hub(source.path, split=source.split, revision=source.revision, streaming=source.streaming)
        return Contents(source, [], hub, [])
    files, left_out = find_files(source)
    states = {state.path: state for state in known}
    return Contents(source, [_state_of(file, states.get(str(file.path.absolute()))) for file in files], None, left_out)


def _state_of(file: SourceFile, known: FileState | None) -> FileState:
    path = file.path.absolute()
    now_ns = time.time_ns()
    try:
        status = path.stat()
        is_known = (
            known is not None
            and (known.n_bytes, known.mtime_ns) == (status.st_size, status.st_mtime_ns)
            and known.mtime_ns < known.hashed_at_ns - _UNSURE_NS
        )
        sha256 = known.sha256 if known is not None and is_known else hash_file(path)
    except FileNotFoundError:
        raise InputError(f"{path} was removed while the corpus was read; do not change it meanwhile") from None
    except PermissionError:
        raise InputError(f"{path} is not readable; change its permissions") from None
    return FileState(
        path=str(path),
        format=file.format,
        n_bytes=status.st_size,
        mtime_ns=status.st_mtime_ns,
        hashed_at_ns=known.hashed_at_ns if known is not None and is_known else now_ns,
        sha256=sha256,
    )
