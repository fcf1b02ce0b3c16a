"""Writes and reads the shards of a cache: Arrow files of tokenised pieces that the library datasets opens.

A row is a piece: `document` (its number in the source), `characters` (length of its text), `input_ids`, and
`n_characters` of each token. These add up to `characters`, except for a piece without tokens (32,768 blanks). This
module imports neither torch nor transformers, so that the processes that tokenise start quickly and stay small.
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from longspan.data.corpora.cutting import Piece
from longspan.data.corpora.encoder import Encoder
from longspan.files import replace_file

_BATCH = 1 << 18  # characters tokenised at a time; limits the tokenizer's results, some 100 bytes per token

SCHEMA = pa.schema(
    [
        ("document", pa.int64()),
        ("characters", pa.int64()),
        ("input_ids", pa.list_(pa.int32())),
        ("n_characters", pa.list_(pa.uint16())),
    ]
)


class ShardCounts(NamedTuple):
    """Counts of a finished shard; `n_bytes` is the file's size."""

    n_rows: int
    n_tokens: int
    n_bytes: int


def write_shard(path: Path, encoder: Encoder, pieces: list[Piece]) -> ShardCounts:
    """Tokenise pieces and write them to `path` atomically.

    Raises:
        InputError: the disk is full or the folder not writable.
    """
    n_tokens = 0
    with replace_file(path) as temporary:
        with temporary.open("wb") as file:
            with pa.ipc.new_stream(file, SCHEMA) as writer:
                for batch in _batches(pieces):
                    encoded = encoder.encode([piece.text for piece in batch], [piece.n_skipped for piece in batch])
                    ends = np.concatenate([[0], np.cumsum(encoded.n_tokens)]).astype(np.int32)
                    writer.write_batch(
                        pa.record_batch(
                            [
                                pa.array(np.array([piece.document for piece in batch], np.int64)),
                                pa.array(np.array([len(piece.text) for piece in batch], np.int64)),
                                pa.ListArray.from_arrays(pa.array(ends), pa.array(encoded.ids)),
                                pa.ListArray.from_arrays(pa.array(ends), pa.array(encoded.n_characters)),
                            ],
                            schema=SCHEMA,
                        )
                    )
                    n_tokens += len(encoded.ids)
            file.flush()
            os.fsync(file.fileno())  # a shard with its final name must be complete, also after a power cut
        n_bytes = temporary.stat().st_size
    return ShardCounts(len(pieces), n_tokens, n_bytes)


def _batches(pieces: list[Piece]) -> list[list[Piece]]:
    batches: list[list[Piece]] = []
    room = 0
    for piece in pieces:
        if room < len(piece.text):
            batches.append([])
            room = _BATCH
        batches[-1].append(piece)
        room -= len(piece.text)
    return batches


class ShardView(NamedTuple):
    """A memory-mapped shard; data is read from the disk when it is used.

    Attributes:
        documents: int64 [rows], document of each piece.
        characters: int64 [rows], length of each piece.
        n_tokens: int64 [rows], tokens of each piece.
        ids: for each batch of the file, int32 [tokens].
        n_characters: for each batch of the file, uint16 [tokens].
    """

    documents: NDArray[np.int64]
    characters: NDArray[np.int64]
    n_tokens: NDArray[np.int64]
    ids: list[NDArray[np.int32]]
    n_characters: list[NDArray[np.uint16]]


def view_shard(path: Path) -> ShardView:
    """Open a finished shard."""
    batches = _read(path)
    return ShardView(
        np.concatenate([np.zeros(0, np.int64), *(batch.column("document").to_numpy() for batch in batches)]),
        np.concatenate([np.zeros(0, np.int64), *(batch.column("characters").to_numpy() for batch in batches)]),
        np.concatenate(
            [np.zeros(0, np.int64), *(np.diff(batch.column("input_ids").offsets.to_numpy()) for batch in batches)]
        ),
        [batch.column("input_ids").values.to_numpy() for batch in batches],
        [batch.column("n_characters").values.to_numpy() for batch in batches],
    )


def _read(path: Path) -> list[Any]:
    with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as reader:
        return list(reader)
