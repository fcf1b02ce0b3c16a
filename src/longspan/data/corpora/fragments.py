"""Fragments of documents, which readers yield so that no document has to be in memory as a whole."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple


class Fragment(NamedTuple):
    """The next part of a document's text; `ends_document` is True for the document's last fragment."""

    text: str
    ends_document: bool


class ReadOptions(NamedTuple):
    """How to read a file: where documents end and which field has the text, with "auto" resolved."""

    documents: str
    text_field: str


_BLANK_LINES = re.compile(r"\n[^\S\n]*\n\s*")
# The heading of an article in WikiText: " = Title = " between blank lines. Sections have more signs (" = = Name = = ").
_HEADING = re.compile(r"(?:\A|\n)[^\S\n]*\n(?= ?= (?!= )[^\n]*(?<! =) = ?\n[^\S\n]*\n)")
_LONGEST_HEADING = 4096  # characters, including the blank lines around it


def whole_file(chunks: Iterable[str]) -> Iterator[Fragment]:
    """Yield the whole file as one document."""
    for chunk in chunks:
        yield Fragment(chunk, False)
    yield Fragment("", True)


def split_at_blank_lines(chunks: Iterable[str]) -> Iterator[Fragment]:
    """Split documents at blank lines (lines with nothing but white space)."""
    held = ""  # white space at the end of a chunk, which may be part of a blank line
    for chunk in chunks:
        text = held + chunk
        end = len(text.rstrip())
        yield from _fragments(_BLANK_LINES.split(text[:end]))
        held = text[end:]
    yield Fragment("", True)


def split_at_lines(chunks: Iterable[str]) -> Iterator[Fragment]:
    """Yield each line as a document."""
    for chunk in chunks:
        yield from _fragments(chunk.split("\n"))
    yield Fragment("", True)


def split_at_headings(chunks: Iterable[str]) -> Iterator[Fragment]:
    """Split WikiText before each first-level heading between blank lines; the heading is the document's first line."""
    held = "\n"  # the start of a file counts as a blank line
    for chunk in chunks:
        parts = _HEADING.split(held + chunk)
        # Hold the end of the chunk, which may contain a part of a heading.
        end = max(len(parts[-1]) - _LONGEST_HEADING, 0)
        held = parts[-1][end:]
        yield from _fragments([*parts[:-1], parts[-1][:end]])
    yield from _fragments(_HEADING.split(held + "\n\n"))
    yield Fragment("", True)


def _fragments(parts: list[str]) -> Iterator[Fragment]:
    """Yield the parts as fragments; every part but the last ends a document."""
    for part in parts[:-1]:
        yield Fragment(part, True)
    if parts[-1]:
        yield Fragment(parts[-1], False)


SPLITTERS: dict[str, Callable[[Iterable[str]], Iterator[Fragment]]] = {
    "blank_line": split_at_blank_lines,
    "file": whole_file,
    "line": split_at_lines,
    "heading": split_at_headings,
}
