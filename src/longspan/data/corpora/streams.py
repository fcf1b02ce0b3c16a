"""Files as streams of text, decompressed and decoded a megabyte at a time: memory does not grow with the file."""

import codecs
import io
from collections.abc import Iterator
from pathlib import Path

from longspan.data.opening import COMPRESSIONS, not_utf8
from longspan.data.unpacking import CHUNK, Meter, open_stream

STREAMED = tuple(ending for ending in COMPRESSIONS if ending != ".zip")
"""Compressions of one stream of bytes: all but .zip, which is an archive of files."""


def text_chunks(path: Path, meter: Meter) -> Iterator[str]:
    """The text of a UTF-8 file, a million characters at a time; line ends as newlines, no byte order mark.

    Raises:
        InputError: as `open_stream`, or the bytes are not UTF-8 (the message has the offset of the first wrong byte,
            counted in the decompressed file).
    """
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    n_read = 0
    with open_stream(path, meter) as stream:
        while True:
            data = stream.read(CHUNK)
            n_read += len(data)
            try:
                text = decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                # error.object is what the decoder had kept from before and the chunk: it ends where reading stands.
                raise not_utf8(path, n_read - len(error.object), error) from error
            yield newlines.decode(text, final=not data)
            if not data:
                return
