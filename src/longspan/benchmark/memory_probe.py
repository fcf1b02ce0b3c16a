"""The peak memory of a call: on the CPU in a separate process, on a GPU from the allocator."""

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import torch

from longspan.benchmark.timing import Call, time_call
from longspan.memory import PeakMemory, used_bytes

# Modules that every child process needs, imported once by the process that is forked.
_PRELOAD = [
    "longspan.benchmark.attention_benchmark",
    "longspan.benchmark.model_benchmark",
    "transformers.models.longformer.modeling_longformer",
    "transformers.models.modernbert.modeling_modernbert",
    "transformers.models.xlm_roberta.modeling_xlm_roberta",
]
_M_MMAP_THRESHOLD = -3  # of glibc's mallopt


class Probe(NamedTuple):
    """The peak memory and the time of one call."""

    peak_bytes: int | None
    seconds: float


class ProbeError(Exception):
    """The call failed; the message is one sentence."""


def peak_of(call: Call, device: str, before: int | None = None) -> int | None:
    """The peak memory of a call in bytes, beyond `before` (None: what is in use when it begins); None if not known."""
    on_gpu = torch.device(device).type == "cuda"
    if on_gpu:
        torch.cuda.synchronize()
    before = used_bytes(device) if before is None else before
    peak = PeakMemory(device)
    call()
    if on_gpu:
        torch.cuda.synchronize()
    n_bytes = peak.bytes()
    return None if n_bytes is None or before is None else max(0, n_bytes - before)


def probe_apart(make: Callable[..., "Probeable"], arguments: Sequence[Any], seconds: float) -> Probe:
    """Memory and time of one call in a separate process.

    Args:
        make: a function of a module that returns what to probe; it is called in the new process.
        arguments: arguments of `make`; they are pickled.
        seconds: timeout.

    Raises:
        ProbeError: the call failed, took too long, or its process was killed, probably for lack of memory.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(
        target=_in_child, args=(sender, make, arguments, torch.get_num_threads(), os.getcwd()), daemon=False
    )
    process.start()
    sender.close()
    try:
        if not receiver.poll(seconds):
            raise ProbeError(f"took more than {seconds:.0f} s")
        found = receiver.recv()
    except EOFError:
        process.join()
        why = ", probably for lack of memory" if process.exitcode == -signal.SIGKILL else ""
        raise ProbeError(f"its process ended with code {process.exitcode}{why}") from None
    finally:
        if process.is_alive():
            process.join(timeout=1)
        if process.is_alive():
            process.terminate()
        process.join()
        receiver.close()
    if isinstance(found, str):
        raise ProbeError(found)
    return found


class Probeable(NamedTuple):
    """A call to probe.

    Attributes:
        make: allocates what the call needs, and returns the call.
        counts_all: whether memory that `make` allocates counts (a model's weights), or only that of the call.
        call_first: whether a first call is made that does not count.
        warm_up: makes a short call that replaces this first call; None for none.
    """

    make: Callable[[], Call]
    counts_all: bool
    call_first: bool
    warm_up: Callable[[], Call] | None = None


def probe(what: Probeable, device: str) -> Probe:
    """Memory and time of one call in this process."""
    before = None
    if what.counts_all:
        before = used_bytes(device)
    call = what.make()
    if what.warm_up is not None:
        what.warm_up()()
    elif what.call_first:
        call()
    seconds = 0.0

    def timed() -> None:
        nonlocal seconds
        seconds = time_call(call, device)

    return Probe(peak_of(timed, device, before), seconds)


def _in_child(
    sender: Connection, make: Callable[..., Probeable], arguments: Sequence[Any], threads: int, folder: str
) -> None:
    from transformers.utils import logging

    logging.set_verbosity_error()
    os.chdir(folder)
    torch.set_num_threads(threads)
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        # Large tensors get separate pages and return them, so that the peak is what is in use.
        libc.mallopt(_M_MMAP_THRESHOLD, 2**16)
    try:
        sender.send(probe(make(*arguments), "cpu"))
    except Exception as error:
        sender.send(short_error(error))
    finally:
        sender.close()


def short_error(error: BaseException) -> str:
    """The type of an error and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
