"""Sources of a corpus: `CorpusSource`, an entry of a recipe, and the files that it names."""

import glob
import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from longspan.data.corpora.streams import STREAMED
from longspan.data.decoding import require_name
from longspan.errors import InputError

logger = logging.getLogger(__name__)

# File suffixes of each format; a suffix of a compression may follow.
ENDINGS = {
    "text": (".txt", ".text", ".md"),
    "wikitext": (".tokens", ".raw"),
    "tei": (".xml", ".tei"),
    "jsonl": (".jsonl", ".ndjson"),
    "parquet": (".parquet",),
}
_DEFAULT_DOCUMENTS = {"text": "blank_line", "wikitext": "heading", "tei": "file"}
_DOCUMENTS = {
    "text": ("blank_line", "file", "line", "heading"),
    "wikitext": ("heading",),
    "tei": ("file",),
}
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+(:[\w.-]+)?")


class CorpusSource(BaseModel):
    """Some documents to pre-train on: files of one format, or a data set of the Hugging Face hub."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = Field(
        min_length=1, description="a file, a folder, a glob (**: any depth), or owner/name[:config] on the hub"
    )
    name: str = Field("", description="in records and summaries; empty: the path")
    format: Literal["auto", "text", "wikitext", "tei", "jsonl", "parquet", "hub"] = Field(
        "auto", description="auto: by the ending of each file; hub: a data set that the library datasets loads"
    )
    documents: Literal["auto", "blank_line", "file", "line", "heading", "record"] = Field(
        "auto",
        description="where documents end; auto: text at blank lines, WikiText before headings of the first level, "
        "TEI with the file, else with the record",
    )
    text_field: str = Field("text", min_length=1, description="field or column of the text (JSON lines, Parquet, hub)")
    split: str = Field("train", min_length=1, description="of a hub's data set")
    revision: str | None = Field(None, description="of a hub's data set; null: the newest")
    streaming: bool = Field(False, description="read a hub's data set over the net without storing it")
    language: str = Field("", description="of the documents; empty: unknown")
    weight: float = Field(
        1.0,
        gt=0,
        allow_inf_nan=False,
        description="how often each of its blocks comes in an epoch: 1, or 2, or 0.5",
    )
    fraction: float = Field(1.0, gt=0, le=1, description="share of its documents that is used, always the same ones")
    min_tokens: int = Field(0, ge=0, description="shorter documents are left out (special tokens not counted)")
    min_characters: int = Field(0, ge=0, description="shorter documents are left out")

    @model_validator(mode="after")
    def _options_fit(self) -> "CorpusSource":
        if self.streaming and self.format not in {"auto", "hub"}:
            raise ValueError("streaming is for data sets of the hub; leave it out")
        if self.format not in {"auto", "hub"}:
            self.documents_of(self.format)
        return self

    @property
    def label(self) -> str:
        """The source's name; its path if it has no name."""
        return self.name or self.path

    def documents_of(self, format: str) -> str:
        """The value of `documents` for a file of `format`, with "auto" resolved."""
        if self.documents == "auto":
            return _DEFAULT_DOCUMENTS.get(format, "record")
        choices = _DOCUMENTS.get(format, ("record", "heading"))
        if self.documents not in choices:
            raise ValueError(f"documents: {self.documents} does not fit {format}; it takes {', '.join(choices)}")
        return self.documents


class SourceFile(NamedTuple):
    """A file of a source and its format."""

    path: Path
    format: str


def parse_sources(values: Sequence[CorpusSource | dict[str, Any] | str]) -> list[CorpusSource]:
    """Parse sources: paths, mappings of `CorpusSource`'s fields, or `CorpusSource`s.

    Raises:
        InputError: there are no sources, or a field is unknown or wrong (the message names the source and the field).
    """
    if not values:
        raise InputError("the corpus has no sources; name at least one file, folder or data set")
    return [_parse(i, value) for i, value in enumerate(values)]


def _parse(i: int, value: CorpusSource | dict[str, Any] | str) -> CorpusSource:
    if isinstance(value, CorpusSource):
        return value
    try:
        return CorpusSource.model_validate({"path": value} if isinstance(value, str) else value)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        where = f"source {i + 1}" + (f" ({value['path']})" if isinstance(value, dict) and "path" in value else "")
        message = first["msg"].removeprefix("Value error, ")
        raise InputError(f"{where}: {field + ': ' if field else ''}{message}") from error


def is_hub(source: CorpusSource) -> bool:
    """Whether the library datasets reads the source: from the hub, its cache, or a folder that it saved."""
    if source.format != "auto":
        return source.format == "hub"
    path = Path(source.path)
    if path.exists():
        return path.is_dir() and any((path / name).is_file() for name in ("dataset_info.json", "dataset_dict.json"))
    has_ending = format_of(path) is not None
    return bool(_HUB_NAME.fullmatch(source.path)) and not has_ending and not glob.glob(source.path, recursive=True)


def format_of(path: Path) -> str | None:
    """The format of a file by its suffix; None if the suffix is not known."""
    name = path.name.lower()
    for ending in STREAMED:
        name = name.removesuffix(ending)
    return next((format for format, endings in ENDINGS.items() if name.endswith(endings)), None)


def find_files(source: CorpusSource) -> tuple[list[SourceFile], list[Path]]:
    """Return the source's files sorted by name, and the files of its folder that are left out for their suffix.

    Raises:
        InputError: the file or folder does not exist, the glob matches nothing, the folder has no file of a known
            format, a file's format is unknown, or a file is an archive.
    """
    path = Path(source.path)
    if path.is_dir():
        return _files_in_folder(source, path)
    if path.exists():
        found = [path]
    else:
        found = [Path(name) for name in sorted(glob.glob(source.path, recursive=True)) if Path(name).is_file()]
        if not found and glob.has_magic(source.path):
            raise InputError(f"{source.path}: no file matches this pattern (started in {Path.cwd()})")
        if not found:
            raise InputError(f"{source.path}: no such file or folder, and no owner/name of a data set on the hub")
    return [SourceFile(file, _known_format(source, file)) for file in found], []


def _files_in_folder(source: CorpusSource, folder: Path) -> tuple[list[SourceFile], list[Path]]:
    """Return the files below a folder whose suffix is of a known format, or of the source's format if it has one."""
    paths = sorted(path for path in _walk(folder) if path.is_file())
    formats = {path: format_of(path) for path in paths}
    wanted = [path for path in paths if formats[path] and source.format in {"auto", formats[path], _text_as(source)}]
    if not wanted:
        endings = ENDINGS.get(source.format) or tuple(ending for some in ENDINGS.values() for ending in some)
        raise InputError(
            f"{folder} holds no file that ends in {', '.join(endings)} (optionally with {', '.join(STREAMED)}); "
            "for other names pass a glob such as 'folder/*' and the format"
        )
    left_out = [path for path in paths if path not in set(wanted)]
    return [SourceFile(path, _known_format(source, path)) for path in wanted], left_out


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder that are not hidden; a warning names folders that are not searched."""

    def warn(error: OSError) -> None:
        logger.warning("%s cannot be read (%s): its text is not in the corpus", error.filename, error.strerror)

    for place, folders, names in os.walk(folder, onerror=warn):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            if os.path.islink(os.path.join(place, name)):
                path = os.path.join(place, name)
                logger.warning("%s is a link to a folder: its text is not in the corpus; name it as a source", path)
        yield from (Path(place, name) for name in names if not name.startswith("."))


def _text_as(source: CorpusSource) -> str | None:
    """The other format whose suffixes count for the source: WikiText files often have the suffix of plain text."""
    return "text" if source.format == "wikitext" else None


def _known_format(source: CorpusSource, path: Path) -> str:
    require_name(path)
    name = path.name.lower()
    if name.endswith(".zip") or re.search(r"\.(tar|t[gx]z|tbz2?)(\.\w+)?$", name):
        raise InputError(f"{path} is an archive; unpack it and pass its files")
    format = format_of(path) if source.format == "auto" else source.format
    if format is None:
        raise InputError(f"{path}: its ending is of no known format; set format to one of {', '.join(ENDINGS)}")
    if source.streaming:
        raise InputError(f"{path} is a file: streaming is for data sets of the hub; leave it out")
    try:
        source.documents_of(format)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    return format
