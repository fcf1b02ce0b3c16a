"""Reads files as streams of text, decompressed and decoded one megabyte at a time, in bounded memory."""

import io
from collections.abc import Iterator
from pathlib import Path

from longspan.data.decoding import decode_chunks
from longspan.data.opening import COMPRESSIONS
from longspan.data.unpacking import CHUNK, ByteCounter, open_stream

STREAMED = tuple(ending for ending in COMPRESSIONS if ending != ".zip")
"""Suffixes of compressed single files: all compressions except .zip, which is an archive."""


def text_chunks(path: Path, counter: ByteCounter) -> Iterator[str]:
    """Yield the text of a UTF-8 file in chunks, with line ends as newlines and without a byte order mark.

    Raises:
        InputError: as `open_stream`, or the bytes are not UTF-8 (the message has the offset of the first wrong byte in
            the decompressed file).
    """
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    with open_stream(path, counter) as stream:
        for text in decode_chunks(path, iter(lambda: stream.read(CHUNK), b"")):
            yield newlines.decode(text)
        yield newlines.decode("", final=True)
