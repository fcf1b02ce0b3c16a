"""Writes shards in parallel: in up to `MAX_THREADS` threads, or in more processes with a tokenizer each.

A fast tokenizer works without holding Python's lock, so threads share one tokenizer. On 2 cores they were measured to
be faster than processes, and they need no second copy of a large vocabulary (docs/experiments.md). Converting the
results to arrays holds the lock, so more than a few threads would wait for it. Processes are spawned, not forked,
because threads of the tokenizer or of torch do not survive a fork.
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
    """A shard to write; `position` is the position in the source after its pieces, for progress."""

    path: Path
    pieces: list[Piece]
    position: int


def write_shards(jobs: Iterable[ShardJob], encoder: Encoder, n_workers: int) -> Iterator[int]:
    """Write each job's shard; yields the positions of finished jobs.

    At most two jobs more than there are workers are read ahead. After an error, finished shards stay, and unfinished
    ones are finished or removed.

    Raises:
        InputError: a shard cannot be written, or a process was killed.
    """
    with one_thread_without_garbage():
        if n_workers == 1:
            for job in jobs:
                write_shard(job.path, encoder, job.pieces)
                yield job.position
        elif encoder.is_fast and n_workers <= MAX_THREADS:
            # One additional thread works while another one waits for Python's lock or the disk.
            pool = ThreadPoolExecutor(n_workers + 1)
            yield from _run_jobs(jobs, pool, lambda job: write_shard(job.path, encoder, job.pieces), n_workers + 1)
        else:
            context = multiprocessing.get_context("spawn")
            pool = ProcessPoolExecutor(n_workers, mp_context=context, initializer=_start, initargs=(encoder,))
            yield from _run_jobs(jobs, pool, _write, n_workers)


def _run_jobs(
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
            "a process that tokenised the corpus was killed, maybe for lack of memory; start again with fewer "
            "processes (n_processes), finished shards are kept"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _finished(running: dict[Future[object], int]) -> Iterator[int]:
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        position = running.pop(future)
        future.result()
        gc.collect(0)  # the youngest generation only: other threads may leave cycles while collection is off
        yield position


_encoder: Encoder | None = None


def _start(encoder: Encoder) -> None:
    global _encoder  # noqa: PLW0603  (each process of the pool has one encoder)
    _encoder = encoder
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    gc.disable()  # see one_thread_without_garbage
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent ends; a killed parent cannot end its pool, which would wait forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _write(job: ShardJob) -> None:
    assert _encoder is not None
    write_shard(job.path, _encoder, job.pieces)
    gc.collect(0)
