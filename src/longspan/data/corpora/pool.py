"""Shards written several at a time: by threads, or beyond a few by processes with a tokenizer each.

A fast tokenizer works without holding Python's lock, so threads share one: measured at 2 cores they are faster than
processes, and they need no second copy of a large vocabulary (docs/experiments.md). Only turning the results into
arrays holds the lock; more than a few threads would wait for it.
Processes are started anew (spawn), not forked: threads of the tokenizer or of torch don't survive a fork.
"""

import gc
import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

from longspan.data.corpora.cutting import Piece
from longspan.data.corpora.encoder import Encoder, one_thread_without_garbage
from longspan.data.corpora.shards import write_shard
from longspan.errors import InputError

MAX_THREADS = 4


class ShardJob(NamedTuple):
    """A shard to write; `position` is how far the source had been read when its pieces were."""

    path: Path
    pieces: list[Piece]
    position: int


def write_shards(jobs: Iterable[ShardJob], encoder: Encoder, n_workers: int) -> Iterator[int]:
    """Write each job's shard; yields positions as they are done.

    At most two jobs more than there are workers are read ahead. If something fails, shards under work are finished or
    removed, and those that are finished stay.

    Raises:
        InputError: a shard cannot be written, or a process was killed.
    """
    with one_thread_without_garbage():
        if n_workers == 1:
            for job in jobs:
                write_shard(job.path, encoder, job.pieces)
                yield job.position
        elif encoder.is_fast and n_workers <= MAX_THREADS:
            # One more than there are cores to use: it works while another one holds Python's lock or writes.
            pool = ThreadPoolExecutor(n_workers + 1)
            yield from _spread(jobs, pool, lambda job: write_shard(job.path, encoder, job.pieces), n_workers + 1)
        else:
            context = multiprocessing.get_context("spawn")
            pool = ProcessPoolExecutor(n_workers, mp_context=context, initializer=_start, initargs=(encoder,))
            yield from _spread(jobs, pool, _write, n_workers)


def _spread(
    jobs: Iterable[ShardJob], pool: Executor, write: Callable[[ShardJob], object], n_workers: int
) -> Iterator[int]:
    running: dict[Future[object], int] = {}
    try:
        for job in jobs:
            running[pool.submit(write, job)] = job.position
            if len(running) > n_workers:
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


def _finished(running: dict[Future[object], int]) -> Iterator[int]:
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        position = running.pop(future)
        future.result()
        gc.collect(0)  # no more than what came since: the rest of the program may leave cycles while it is off
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


def _write(job: ShardJob) -> None:
    assert _encoder is not None
    write_shard(job.path, _encoder, job.pieces)
    gc.collect(0)
