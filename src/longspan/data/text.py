"""Reads a document: a text or TEI file, or standard input."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from longspan.data.corpora.readers.tei import begins_as_tei, tei_fragments
from longspan.data.corpora.sources import format_of
from longspan.data.decoding import BYTE_ORDER_MARK, decode_chunks
from longspan.data.stored import StoredText, store_text
from longspan.data.unpacking import CHUNK, STANDARD_INPUT, ByteCounter, open_standard_input, open_stream
from longspan.errors import InputError
from longspan.graphemes import Text
from longspan.limits import DATA_BYTES


def load_text(path: str | Path) -> str:
    """Read the text of a UTF-8 file (.txt; also .gz, .xz, .bz2, .zip, .zst), with line ends as newlines.

    For a TEI file (a common format of digital libraries) this is the text without the markup.

    Raises:
        InputError: as `read_document`.
    """
    return read_document(Path(path))[0]


def read_document(source: str | Path) -> tuple[str, "Places"]:
    """Read the text of a document (`document_chunks`) and the mapping to its original line ends.

    Raises:
        InputError: as `document_chunks`, or the document holds no text.
    """
    places = Places()
    text = "".join(document_chunks(source, places, most_bytes=DATA_BYTES))
    if not text.strip():
        raise _empty(source)
    return text, places


def store_document(source: str | Path) -> tuple[StoredText, "Places"]:
    """Like `read_document`, for documents of any length: the text is in a temporary file. Close it to remove the file.

    Raises:
        InputError: as `read_document`, or there is no room for the temporary file.
    """
    places = Places()
    text = store_text(document_chunks(source, places))
    if text.is_blank:
        text.close()
        raise _empty(source)
    return text, places


def require_document(source: str | Path) -> None:
    """Raise what `read_document` raises; the document is read to its end, and nothing of it is kept.

    Raises:
        InputError: as `read_document`.
    """
    has_words = False
    for chunk in document_chunks(source):
        has_words = has_words or not (chunk.isspace() or not chunk)
    if not has_words:
        raise _empty(source)


def _empty(source: str | Path) -> InputError:
    return InputError(f"{STANDARD_INPUT if source == '-' else source} is empty; pass a document with text in it")


def document_chunks(
    source: str | Path, places: "Places | None" = None, *, most_bytes: int | None = None
) -> Iterator[str]:
    """The text of a document in chunks: line ends as newlines, no byte order mark; of TEI without the markup.

    A file and standard input with the same bytes give the same text. Compression is recognised by the file's name or
    its first bytes, TEI by the file's name (.xml, .tei) or its first element.

    Args:
        source: a file, or "-" for standard input (a `Path` is always a file).
        places: told where the characters stand; None to keep nothing of it.
        most_bytes: as `open_stream` has it.

    Raises:
        InputError: the file does not exist, is not UTF-8 (the message has the offset), or is XML but not TEI.
    """
    counter = ByteCounter()
    places = Places(is_kept=False) if places is None else places
    is_file = source != "-"
    name = str(source) if is_file else STANDARD_INPUT
    stream = (
        open_stream(Path(source), counter, most_bytes=most_bytes)
        if is_file
        else open_standard_input(counter, most_bytes=most_bytes)
    )
    with stream:
        chunks = iter(lambda: stream.read(CHUNK), b"")
        head = next(chunks, b"")
        chunks = chain([head], chunks)
        if (is_file and format_of(Path(source)) == "tei") or begins_as_tei(head):
            for fragment in tei_fragments(name, chunks):
                yield fragment.text + "\n\n" * fragment.ends_document
        else:
            yield from places.follow(decode_chunks(name, chunks, keep_mark=True))


class Places:
    """How a document was written before its line ends became newlines and its byte order mark was left out.

    Args:
        is_kept: False to make the text alone: no place can be asked for.
    """

    def __init__(self, *, is_kept: bool = True) -> None:
        self._is_kept = is_kept
        self._n_before = 0
        # Offsets of the newlines that were \r\n, and of those that were \r.
        self._pairs = array("q")
        self._returns = array("q")

    def follow(self, chunks: Iterable[str]) -> Iterator[str]:
        """Yield `chunks` with line ends as newlines and without a byte order mark, and record what was replaced."""
        n_given, held = 0, ""
        for chunk in chunks:
            text = held + chunk
            if not n_given and not self._n_before and text.startswith(BYTE_ORDER_MARK):
                self._n_before, text = 1, text[1:]
            held = "\r" if text.endswith("\r") else ""  # may be the first half of \r\n
            text = text.removesuffix("\r")
            if "\r" in text:
                if self._is_kept:
                    self._note_line_ends(text, n_given)
                text = text.replace("\r\n", "\n").replace("\r", "\n")
            n_given += len(text)
            yield text
        if held:
            self._returns.append(n_given)
            yield "\n"

    def before(self, place: int) -> int:
        """Offset in the original document of the character at `place` in the text."""
        return place + self._n_before + bisect_left(self._pairs, place)

    def written(self, text: Text, start: int, end: int) -> str:
        """`text[start:end]` with the original line ends."""
        characters = list(text[start:end])
        for places, line_end in ((self._pairs, "\r\n"), (self._returns, "\r")):
            for place in places[bisect_left(places, start) : bisect_left(places, end)]:
                characters[place - start] = line_end
        return "".join(characters)

    def _note_line_ends(self, text: str, n_given: int) -> None:
        n_pairs = 0
        at = text.find("\r")
        while at >= 0:
            is_pair = text.startswith("\n", at + 1)
            (self._pairs if is_pair else self._returns).append(n_given + at - n_pairs)
            n_pairs += is_pair
            at = text.find("\r", at + 1)
