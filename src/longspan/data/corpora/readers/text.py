"""Reads plain text and WikiText, whose documents are files, or separated by blank lines, lines or headings."""

from collections.abc import Iterator
from pathlib import Path

from longspan.data.corpora.fragments import SPLITTERS, Fragment, ReadOptions
from longspan.data.corpora.streams import ByteCounter, text_chunks


def read_text_file(path: Path, options: ReadOptions, counter: ByteCounter) -> Iterator[Fragment]:
    """Yield the documents of a UTF-8 file, split according to `options.documents`.

    Raises:
        InputError: the file cannot be read, is not UTF-8 (with the byte), or its compressed data is broken or cut.
    """
    return SPLITTERS[options.documents](text_chunks(path, counter))
