"""Reads TEI files (novels and other texts in XML) as a stream.

The edited text is read. docs/corpora.md lists what is kept, left out and joined.
"""

import contextlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html.entities import html5
from itertools import chain
from pathlib import Path
from typing import NamedTuple
from unicodedata import category
from xml.parsers import expat

from longspan.data.corpora.fragments import Fragment, ReadOptions
from longspan.data.corpora.readers.tei_elements import CHUNKS, ELEMENTS_ONLY, LEFT_OUT, OWN_LINES, TIGHT, WITHIN_LINES
from longspan.data.corpora.streams import ByteCounter, open_stream
from longspan.errors import InputError

_CHUNK = 1 << 16
_ROOTS = {"TEI", "TEI.2", "teiCorpus", "teiCorpus.2"}
_XINCLUDE = "http://www.w3.org/2001/XInclude"
# The first other alternative of a <choice> is read; if there is no other, the first of these.
_REPLACED = {"abbr", "am", "orig", "sic"}
# Encodings of an apparatus that repeats words of the text outside of it.
_APART = {"double-end-point", "location-referenced"}
_BREAKING = {"cb", "gb", "lb", "milestone", "pb"}  # att.breaking
_SPACES = {"incident", "kinesic", "pause", "space", "vocal", "writing"}  # <space> and model.global.spoken
_OPENING, _CLOSING = {"Ps", "Pi", "Pd"}, {"Pe", "Pf", "Po", "Pd"}  # categories of punctuation
_PICTURES = {"figure", "notatedMusic"}
_SPACE = re.compile(r"[ \t\r\n]+")
# A hyphen at the end of a line inside a word: hyphen-minus, soft hyphen, not sign (as Fraktur is typed), two more.
_HYPHEN = re.compile(r"(?:(?<=\w)|^)[-\u00ad\u00ac\u2010\u2e17]$")


def read_tei(path: Path, options: ReadOptions, counter: ByteCounter) -> Iterator[Fragment]:
    """Yield each <text> of a TEI file (one, or several in a <teiCorpus>) as a document.

    Paragraphs, headings and lines of verse are on separate lines; other white space becomes one blank. The header,
    editors' notes, deletions, and readings that an editor replaced are left out.

    Raises:
        InputError: as `open_stream`; the XML is malformed (with line and column), has no <text>, or has a part of its
            text in another file (an entity, an `xi:include`; with line and name).
    """
    del options  # TEI has none
    with open_stream(path, counter) as stream:
        yield from tei_fragments(path, iter(lambda: stream.read(_CHUNK), b""))


def tei_fragments(name: str | Path, chunks: Iterable[bytes]) -> Iterator[Fragment]:
    """Yield the documents of a TEI file as `read_tei` does; `name` is for errors.

    Raises:
        InputError: as `read_tei`.
    """
    parser = _Parser(name)
    for data in chain(chunks, [b""]):
        try:
            parser.expat.Parse(data, not data)
        except expat.ExpatError as error:
            fault = f"{expat.ErrorString(error.code)} at column {error.offset}"
            raise InputError(f"{name}: line {error.lineno:,}: malformed XML: {fault}; correct the file") from error
        except InputError:
            raise
        except (ValueError, LookupError) as error:
            # The XML declaration names an encoding that Python does not have.
            raise InputError(f"{name}: {error}; save the file as UTF-8") from error
        yield from parser.take()
    if not parser.n_texts:
        if parser.included:
            raise InputError(
                f"{name} holds no <text> but includes {parser.included}, which is not read; pass the included files"
            )
        raise InputError(f"{name} holds no <text>: it is XML, but not TEI; extract its text first")


def begins_as_tei(head: bytes) -> bool:
    """Whether the first bytes of a file are XML with a root element of TEI."""
    names: list[str] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda name, _: names.append(name)
    with contextlib.suppress(expat.ExpatError, ValueError, LookupError):
        parser.Parse(head[:_CHUNK], False)
    return bool(names) and names[0].rpartition(":")[2] in _ROOTS


class _Mark(NamedTuple):
    """A saved state of `_Lines`."""

    n_parts: int
    last: str
    last_character: str
    gap: str
    ends_line: bool
    is_joined: bool
    is_apart: bool


class _Lines:
    """The text so far, with the pending white space before the next word."""

    def __init__(self) -> None:
        self.parts: list[str] = []  # each some words with the gap before them
        self.n_words = 0
        self.last_character = ""
        self.clear_gap()

    def clear_gap(self) -> None:
        """Clear the pending white space."""
        self.gap = ""  # "", " " or "\n"
        self.ends_line = False  # the gap ends a paragraph or similar, and words are not joined across it
        self.is_joined = False  # the word continues, and white space is ignored
        self.is_apart = False  # the next letter begins a word

    def add(self, text: str) -> bool:
        """Append text; returns whether it has words."""
        text = _SPACE.sub(" ", text)
        if text.startswith(" "):
            self.space()
        words = text.strip(" ")
        if words:
            if self.is_apart and not self.gap and _are_two_words(self.last_character, words[0]):
                self.space()
            self.parts.append(self.gap + words)
            self.last_character = words[-1]
            self.n_words += 1
            self.clear_gap()
            self.gap = " " if text.endswith(" ") else ""
        return bool(words)

    def space(self, gap: str = " ") -> None:
        """Set a pending blank, or the line break of an <lb>."""
        if not self.is_joined and self.gap != "\n":
            self.gap = gap

    def end_line(self) -> None:
        """Set a pending line end of a paragraph, a heading or a line of verse."""
        self.gap, self.ends_line, self.is_joined = "\n", True, False

    def join(self) -> None:
        """Join the last word with the next one, unless its paragraph has ended."""
        if not self.ends_line:
            self.gap, self.is_joined = "", True

    def drop_hyphen(self) -> None:
        """Remove a hyphen at the end of the last word."""
        if self.parts and not self.ends_line:
            self.parts[-1] = _HYPHEN.sub("", self.parts[-1])

    def mark(self) -> _Mark:
        """Save the current state."""
        last = self.parts[-1] if self.parts else ""
        return _Mark(
            len(self.parts), last, self.last_character, self.gap, self.ends_line, self.is_joined, self.is_apart
        )

    def back_to(self, mark: _Mark) -> None:
        """Restore a saved state."""
        del self.parts[mark.n_parts :]
        self.parts[-1:] = [mark.last] if mark.n_parts else []
        self.last_character, self.gap, self.ends_line = mark.last_character, mark.gap, mark.ends_line
        self.is_joined, self.is_apart = mark.is_joined, mark.is_apart

    def take(self, *, is_last: bool = False) -> str:
        """Return and clear the text so far, except a word with a hyphen at its end, which may still be dropped."""
        n = len(self.parts)
        if n and not is_last and _HYPHEN.search(self.parts[-1]):
            n -= 1
        taken, self.parts = "".join(self.parts[:n]), self.parts[n:]
        return taken


def _are_two_words(left: str, right: str) -> bool:
    """Whether there is a blank between the last character of a word and the first of the next."""
    return left != "" and category(left) not in _OPENING and category(right) not in _CLOSING


@dataclass(slots=True)
class _Element:
    """An open element.

    Attributes:
        name: name without its prefix; empty for an element outside TEI's namespace.
        has_own_lines: whether it is on separate lines.
        n_words: number of words of the text before it.
        namespaces: prefix -> namespace, as declared by it and its ancestors.
        has_text: whether it has text of its own, outside its children.
        joins: whether the next word follows without a blank.
        read: for a choice or an apparatus, whether the alternative that is read is a preferred one; None before the
            first alternative.
        before: state of the text before the first alternative.
    """

    name: str
    has_own_lines: bool
    n_words: int
    namespaces: dict[str, str]
    has_text: bool = False
    joins: bool = False
    read: bool | None = None
    before: _Mark | None = None


class _Parser:
    """Converts expat's events to fragments; holds at most the text of one chunk, or of one <app> or <choice>."""

    def __init__(self, name: str | Path) -> None:
        self.name = name
        self.expat = expat.ParserCreate()
        self.expat.buffer_text = True
        self.expat.StartElementHandler = self.start
        self.expat.EndElementHandler = self.end
        self.expat.CharacterDataHandler = self.characters
        self.expat.SkippedEntityHandler = self.undeclared_entity
        self.expat.ExternalEntityRefHandler = self.external_entity
        # Treat every file as if it had an external DTD. No file is loaded, but expat then reads all declarations inside
        # the file and calls `undeclared_entity` for other entities.
        self.expat.UseForeignDTD(True)
        self.expat.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_ALWAYS)
        self.n_texts = 0
        self.included = ""  # what a corpus file includes
        self.depth_of_text = 0  # a text may contain a <group> of texts; the outermost is the document
        self.depth_left_out = 0
        self.n_undecided = 0  # number of open choices and apparatuses, whose text may still be replaced
        self.is_apparatus_apart = False
        self.tei_namespaces: set[str | None] = {None}
        self.open = [_Element("", False, 0, {})]
        self.lines = _Lines()
        self.done: list[Fragment] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        parent = self.open[-1]
        name, namespaces = self._resolve(tag, attributes, parent.namespaces)
        element = _Element(name, self._has_own_lines(name, parent), self.lines.n_words, namespaces)
        self.open.append(element)
        if name == "teiHeader":
            self.is_apparatus_apart = False
        elif name == "variantEncoding":
            self.is_apparatus_apart = attributes.get("method") in _APART
        if self.depth_left_out or self._is_left_out(name, parent, attributes) or self._is_other_reading(element):
            self.depth_left_out += 1
            return
        if name == "text":
            self.depth_of_text += 1
            self.n_texts += 1
        if element.has_own_lines:
            self.lines.end_line()
        elif parent.name in ELEMENTS_ONLY and self.lines.n_words > parent.n_words:
            self.lines.space()
        elif name in CHUNKS:
            self.lines.is_apart = True
        self._begin_word(element, attributes)

    def end(self, _tag: str) -> None:
        element = self.open.pop()
        if self.depth_left_out:
            self.depth_left_out -= 1
            return
        if element.read is not None:
            self.n_undecided -= 1
        if element.has_own_lines:
            self.lines.end_line()
        elif element.joins:
            self.lines.join()
        elif element.name in CHUNKS:
            self.lines.is_apart = True
        if element.name == "text":
            self.depth_of_text -= 1
            if not self.depth_of_text:
                self.done.append(Fragment(self.lines.take(is_last=True), True))
                self.lines.clear_gap()

    def characters(self, data: str) -> None:
        parent = self.open[-1]
        if not self.depth_of_text or self.depth_left_out or (parent.name in TIGHT and not data.strip()):
            return
        parent.has_text |= self.lines.add(data)

    def undeclared_entity(self, name: str, is_parameter: bool) -> None:
        """Read a character name of HTML and ISO; refuse other entities, whose text is not in the file."""
        if is_parameter or self.depth_left_out:
            return
        if f"{name};" not in html5:
            raise InputError(
                f"{self._place()}: the entity &{name}; is not declared in the file; write its text instead, or "
                f'declare it (<!ENTITY {name} "...">)'
            )
        self.characters(html5[f"{name};"])

    def external_entity(
        self, context: str | None, _base: str | None, system_id: str | None, _public: str | None
    ) -> int:
        """Read an external DTD as empty; refuse text in another file."""
        if context is None:
            self.expat.ExternalEntityParserCreate(context).Parse(b"", True)
        elif not self.depth_left_out:
            self._refuse(f"the entity &{context}; stands for the file {system_id}")
        return 1

    def take(self) -> list[Fragment]:
        """Return the fragments since the last call."""
        done, self.done = self.done, []
        if not self.n_undecided and (text := self.lines.take()):
            done.append(Fragment(text, False))
        return done

    def _resolve(self, tag: str, attributes: dict[str, str], around: dict[str, str]) -> tuple[str, dict[str, str]]:
        """Return the name of an element ("" outside TEI) and its namespaces. Undeclared prefixes are accepted."""
        declared = {key[6:]: value for key, value in attributes.items() if key == "xmlns" or key.startswith("xmlns:")}
        namespaces = {**around, **declared} if declared else around
        prefix, _, name = tag.rpartition(":")
        namespace = namespaces.get(prefix)
        if name in _ROOTS or len(self.open) == 1:
            self.tei_namespaces.add(namespace)
        if name == "include" and (namespace == _XINCLUDE or (namespace is None and prefix)):
            self._include(attributes.get("href", ""))
        return (name if namespace in self.tei_namespaces else ""), namespaces

    def _include(self, href: str) -> None:
        if self.depth_left_out or self.open[-1].name in _PICTURES:
            return
        if self.depth_of_text:
            self._refuse(f"xi:include takes a part of the text from {href}")
        self.included = href

    def _has_own_lines(self, name: str, parent: _Element) -> bool:
        if name in OWN_LINES:
            return True
        holds_lines = parent.has_own_lines and parent.name in ELEMENTS_ONLY and not parent.has_text
        return holds_lines and name not in WITHIN_LINES

    def _is_left_out(self, name: str, parent: _Element, attributes: dict[str, str]) -> bool:
        if name == "del":
            return parent.name != "restore"
        if name == "desc":  # of a gap, a sound, a picture
            return parent.name in WITHIN_LINES
        if name == "app":
            return self.is_apparatus_apart or "from" in attributes
        return name in LEFT_OUT

    def _is_other_reading(self, element: _Element) -> bool:
        """Whether `element` is an alternative that is not read. A preferred one replaces the text of an earlier one."""
        depth = len(self.open) - 2
        while self.open[depth].name == "rdgGrp":
            depth -= 1
        parent = self.open[depth]
        if parent.name not in ("app", "choice") or element.name == "rdgGrp":
            return False
        is_preferred = element.name == "lem" if parent.name == "app" else element.name not in _REPLACED
        if parent.read is None:
            parent.before = self.lines.mark()
            self.n_undecided += 1
        elif is_preferred and not parent.read:
            assert parent.before is not None, "it was marked at the first alternative"
            self.lines.back_to(parent.before)
        else:
            return True
        parent.read = is_preferred
        return False

    def _begin_word(self, element: _Element, attributes: dict[str, str]) -> None:
        """Apply the attributes of an element that determine white space around it."""
        breaks = attributes.get("break") if element.name in _BREAKING else None
        if breaks == "no":
            self.lines.drop_hyphen()
            self.lines.join()
        elif element.name == "lb":
            self.lines.space("\n")
        elif element.name in _SPACES or breaks == "yes":
            self.lines.space()
        elif element.name in ("pc", "w"):
            joins = attributes.get("join")
            if joins in ("left", "both"):
                self.lines.join()
            element.joins = joins in ("right", "both")

    def _place(self) -> str:
        return f"{self.name}: line {self.expat.CurrentLineNumber:,}"

    def _refuse(self, what: str) -> None:
        raise InputError(
            f"{self._place()}: {what}, which is not read; put the parts together first "
            "(xmllint --noent --xinclude does) and pass the whole"
        )
