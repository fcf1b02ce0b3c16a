"""Files as streams of text, decompressed and decoded a megabyte at a time: memory does not grow with the file."""

import io
from collections.abc import Iterator
from pathlib import Path

from longspan.data.decoding import decode_chunks
from longspan.data.opening import COMPRESSIONS
from longspan.data.unpacking import CHUNK, ByteCounter, open_stream

STREAMED = tuple(ending for ending in COMPRESSIONS if ending != ".zip")
"""Compressions of one stream of bytes: all but .zip, which is an archive of files."""


def text_chunks(path: Path, counter: ByteCounter) -> Iterator[str]:
    """The text of a UTF-8 file, a million characters at a time; line ends as newlines, no byte order mark.

    Raises:
        InputError: as `open_stream`, or the bytes are not UTF-8 (the message has the offset of the first wrong byte,
            counted in the decompressed file).
    """
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    with open_stream(path, counter) as stream:
        for text in decode_chunks(path, iter(lambda: stream.read(CHUNK), b"")):
            yield newlines.decode(text)
        yield newlines.decode("", final=True)
