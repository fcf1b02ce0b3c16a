"""TEI: novels and other texts marked up in XML, read as a stream."""

import contextlib
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from xml.parsers import expat

from longspan.data.corpora.fragments import Fragment, Reading
from longspan.data.corpora.streams import Meter, open_stream
from longspan.errors import InputError

_CHUNK = 1 << 16
# What is not the text: data about it, the editor's notes, and the reading an editor has replaced (inside <choice>).
_LEFT_OUT = {"teiHeader", "note", "sic", "orig", "abbr", "fw", "figDesc"}
_ONLY_IN_CHOICE = {"sic", "orig", "abbr"}
# Elements inside a line; every other one stands on lines of its own.
_INLINE = frozenset(
    (
        *(
            "abbr",
            "add",
            "anchor",
            "c",
            "choice",
            "corr",
            "date",
            "del",
            "emph",
            "expan",
            "foreign",
            "g",
            "gap",
            "gloss",
        ),
        *("graphic", "hi", "lb", "mentioned", "milestone", "name", "note", "num", "orig", "pb", "cb", "persName"),
        *("placeName", "q", "quote", "ref", "reg", "rs", "s", "said", "seg", "sic", "soCalled", "supplied", "term"),
        *("time", "title", "unclear", "w"),
    )
)
_BREAKS_LINE = {"lb"}
_ROOTS = {"TEI", "TEI.2", "teiCorpus", "teiCorpus.2"}
_SPACE = re.compile(r"[ \t\r\n]+")


def read_tei(path: Path, reading: Reading, meter: Meter) -> Iterator[Fragment]:
    """The text of each <text> of a TEI file (one, or many in a <teiCorpus>) as a document.

    Paragraphs, headings and lines of verse stand on lines of their own; other white space is one blank. Left out are
    the header, editors' notes, and within <choice> the reading that an editor replaced.

    Raises:
        InputError: as `open_stream`; the XML is malformed (with line and column), or holds no <text>.
    """
    del reading  # no options
    with open_stream(path, meter) as stream:
        yield from tei_fragments(path, iter(lambda: stream.read(_CHUNK), b""))


def tei_fragments(name: str | Path, chunks: Iterable[bytes]) -> Iterator[Fragment]:
    """The documents of a TEI file as `read_tei` gives them; `name` is for errors.

    Raises:
        InputError: as `read_tei`.
    """
    parser = _Parser()
    for data in chain(chunks, [b""]):
        try:
            parser.expat.Parse(data, not data)
        except expat.ExpatError as error:
            told = f"{expat.ErrorString(error.code)} at column {error.offset}"
            raise InputError(f"{name}: line {error.lineno:,}: malformed XML: {told}; mend the file") from error
        except (ValueError, LookupError) as error:
            # An encoding that the XML declaration names and Python does not have.
            raise InputError(f"{name}: {error}; save the file as UTF-8") from error
        yield from parser.take()
    if not parser.n_texts:
        raise InputError(f"{name} holds no <text>: it is XML, but not TEI; extract its text first")


def begins_as_tei(head: bytes) -> bool:
    """Whether the first bytes of a file are those of XML whose first element is one of TEI's."""
    names: list[str] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda name, _: names.append(name)
    with contextlib.suppress(expat.ExpatError, ValueError, LookupError):
        parser.Parse(head[:_CHUNK], False)
    return bool(names) and names[0].rpartition(":")[2] in _ROOTS


class _Parser:
    """Turns expat's events into fragments; holds no more than the text of one chunk."""

    def __init__(self) -> None:
        self.expat = expat.ParserCreate()
        self.expat.buffer_text = True
        self.expat.StartElementHandler = self.start
        self.expat.EndElementHandler = self.end
        self.expat.CharacterDataHandler = self.characters
        self.n_texts = 0
        self.depth_of_text = 0  # a text may hold a <group> of texts; the outermost is the document
        self.depth_left_out = 0
        self.choices: list[bool] = []  # for each open element: is it <choice>?
        self.parts: list[str] = []
        self.done: list[Fragment] = []
        self.gap = ""  # white space owed before the next word: "", " " or "\n"

    def start(self, name: str, _attributes: dict[str, str]) -> None:
        name = name.rpartition(":")[2]
        in_choice = bool(self.choices) and self.choices[-1]
        self.choices.append(name == "choice")
        if name == "text":
            self.depth_of_text += 1
            self.n_texts += 1
        if self.depth_left_out or (name in _LEFT_OUT and (in_choice or name not in _ONLY_IN_CHOICE)):
            self.depth_left_out += 1
        if name not in _INLINE or name in _BREAKS_LINE:
            self.gap = "\n"

    def end(self, name: str) -> None:
        name = name.rpartition(":")[2]
        self.choices.pop()
        if self.depth_left_out:
            self.depth_left_out -= 1
        if name not in _INLINE:
            self.gap = "\n"
        if name == "text":
            self.depth_of_text -= 1
            if not self.depth_of_text:
                self.done.append(Fragment("".join(self.parts), True))
                self.parts, self.gap = [], ""

    def characters(self, data: str) -> None:
        if not self.depth_of_text or self.depth_left_out:
            return
        text = _SPACE.sub(" ", data)
        if text.startswith(" "):
            self.gap = self.gap or " "
        if words := text.strip(" "):
            self.parts += [self.gap, words]
            self.gap = " " if text.endswith(" ") else ""

    def take(self) -> list[Fragment]:
        """The fragments since the last call."""
        done, self.done = self.done, []
        if self.parts:
            done.append(Fragment("".join(self.parts), False))
            self.parts = []
        return done
