"""Shards written by several processes at once, each with its own tokenizer.

The processes are started anew (spawn), not forked: the parent may run threads of the tokenizer or of torch, which a
fork does not survive. Measured against one process with the tokenizer's threads: docs/experiments.md.
"""

import gc
import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

from longspan.data.corpora.cutting import Piece
from longspan.data.corpora.encoder import Encoder, one_thread_without_garbage
from longspan.data.corpora.shards import write_shard
from longspan.errors import InputError


class Job(NamedTuple):
    """A shard to write; `position` is how far the source had been read when its pieces were."""

    path: Path
    pieces: list[Piece]
    position: int


def write_shards(jobs: Iterable[Job], encoder: Encoder, n_processes: int) -> Iterator[int]:
    """Write each job's shard; yields positions as they are done.

    At most one job more than there are processes is read ahead. If something fails, shards under work are finished or
    removed, and those that are finished stay.

    Raises:
        InputError: a shard cannot be written, or a process was killed.
    """
    if n_processes == 1:
        with one_thread_without_garbage():
            for job in jobs:
                write_shard(job.path, encoder, job.pieces)
                yield job.position
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(n_processes, mp_context=context, initializer=_start, initargs=(encoder,))
    running: dict[Future[None], int] = {}
    try:
        for job in jobs:
            running[pool.submit(_write, job)] = job.position
            if len(running) > n_processes:
                yield from _finished(running)
        while running:
            yield from _finished(running)
    except BrokenProcessPool as error:
        raise InputError(
            "a process that tokenised the corpus was killed, maybe for want of memory; start again with fewer "
            "processes (n_processes): what is finished is kept"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _finished(running: dict[Future[None], int]) -> Iterator[int]:
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        position = running.pop(future)
        future.result()
        yield position


_encoder: Encoder | None = None


def _start(encoder: Encoder) -> None:
    global _encoder  # noqa: PLW0603  (a process of the pool has one encoder for its whole life)
    _encoder = encoder
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    gc.disable()  # see one_thread_without_garbage
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed cannot end its pool, whose processes would then wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _write(job: Job) -> None:
    assert _encoder is not None
    write_shard(job.path, _encoder, job.pieces)
