"""Converts records to documents: each record is a document, or the records are the lines of a WikiText file."""

from collections.abc import Iterable, Iterator

from longspan.data.corpora.fragments import SPLITTERS, Fragment


def documents_of_records(texts: Iterable[str], documents: str) -> Iterator[Fragment]:
    """Yield each text as a document ("record"), or treat the texts as lines of a file ("heading")."""
    if documents == "record":
        for text in texts:
            yield Fragment(text, True)
    else:
        yield from SPLITTERS[documents](text.rstrip("\n") + "\n" for text in texts)
