"""Documents as they come out of a reader: in fragments, so that no document has to be in memory as a whole."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple


class Fragment(NamedTuple):
    """Some text of a document, the next after the fragment before; `ends_document` with its last one."""

    text: str
    ends_document: bool


class ReadOptions(NamedTuple):
    """How a source is read: where documents end and which field holds the text, with nothing left to guess."""

    documents: str
    text_field: str


_BLANK_LINES = re.compile(r"\n[^\S\n]*\n\s*")
# WikiText's heading of an article: " = Title = " between blank lines; sections have more signs (" = = Section = = ").
_HEADING = re.compile(r"(?:\A|\n)[^\S\n]*\n(?= ?= (?!= )[^\n]*(?<! =) = ?\n[^\S\n]*\n)")
_LONGEST_HEADING = 4096  # characters, with the blank lines around it


def whole_file(chunks: Iterable[str]) -> Iterator[Fragment]:
    """One document."""
    for chunk in chunks:
        yield Fragment(chunk, False)
    yield Fragment("", True)


def split_at_blank_lines(chunks: Iterable[str]) -> Iterator[Fragment]:
    """Documents stand between lines that hold nothing but white space."""
    held = ""  # white space at the end of a chunk: the next may make a blank line of it
    for chunk in chunks:
        text = held + chunk
        end = len(text.rstrip())
        yield from _fragments(_BLANK_LINES.split(text[:end]))
        held = text[end:]
    yield Fragment("", True)


def split_at_lines(chunks: Iterable[str]) -> Iterator[Fragment]:
    """Each line is a document."""
    for chunk in chunks:
        yield from _fragments(chunk.split("\n"))
    yield Fragment("", True)


def split_at_headings(chunks: Iterable[str]) -> Iterator[Fragment]:
    """WikiText: a heading of the first level between blank lines begins a document, and is its first line."""
    held = "\n"  # the start of a file counts as a blank line
    for chunk in chunks:
        parts = _HEADING.split(held + chunk)
        # A heading that the end of the chunk cuts is whole within its last two lines and what follows.
        end = max(len(parts[-1]) - _LONGEST_HEADING, 0)
        held = parts[-1][end:]
        yield from _fragments([*parts[:-1], parts[-1][:end]])
    yield from _fragments(_HEADING.split(held + "\n\n"))
    yield Fragment("", True)


def _fragments(parts: list[str]) -> Iterator[Fragment]:
    """Every part but the last ends a document."""
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
