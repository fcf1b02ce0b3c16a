"""Readers of corpora, one file per format; each yields the text of a file as fragments of documents.

To add a format, write a file with a function `(path, options, counter) -> Iterator[Fragment]`, and add a line to
`READERS` and its suffixes to `sources.ENDINGS`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from longspan.data.corpora.fragments import Fragment, ReadOptions
from longspan.data.corpora.readers.json_lines import read_json_lines
from longspan.data.corpora.readers.parquet import read_parquet
from longspan.data.corpora.readers.tei import read_tei
from longspan.data.corpora.readers.text import read_text_file
from longspan.data.corpora.streams import ByteCounter

READERS: dict[str, Callable[[Path, ReadOptions, ByteCounter], Iterator[Fragment]]] = {
    "text": read_text_file,
    "wikitext": read_text_file,
    "tei": read_tei,
    "jsonl": read_json_lines,
    "parquet": read_parquet,
}

READER_VERSIONS = {"tei": 2}
"""Versions of readers that give other text than their first version; caches of other versions are rebuilt."""
