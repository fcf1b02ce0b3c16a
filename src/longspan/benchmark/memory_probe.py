"""How much memory a call needs at its peak: on the CPU in a process of its own, on a GPU from its allocator."""

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

# What every child process needs: imported once, by the process that the children are copies of.
_PRELOAD = [
    "longspan.benchmark.attention_benchmark",
    "longspan.benchmark.model_benchmark",
    "transformers.models.longformer.modeling_longformer",
    "transformers.models.modernbert.modeling_modernbert",
    "transformers.models.xlm_roberta.modeling_xlm_roberta",
]
_M_MMAP_THRESHOLD = -3  # of glibc's mallopt


class Probe(NamedTuple):
    """What one call in a process of its own showed."""

    peak_bytes: int | None
    seconds: float


class ProbeError(Exception):
    """The call could not be made; says why in a short sentence."""


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
    """Memory and time of one call in a process of its own, which has nothing else in it.

    Args:
        make: a module's function that gives what to probe; called in the new process.
        arguments: for `make`; they are pickled.
        seconds: when to give up.

    Raises:
        ProbeError: the call failed, took too long, or its process was killed for want of memory.
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
        why = ", for want of memory as it seems" if process.exitcode == -signal.SIGKILL else ""
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
        make: allocates what the call needs, and gives the call.
        counts_all: whether what `make` allocates counts (a model's weights), or the call alone.
        call_first: whether a first call is made that does not count.
        warm_up: gives a short call to be made before, instead; None for none.
    """

    make: Callable[[], Call]
    counts_all: bool
    call_first: bool
    warm_up: Callable[[], Call] | None = None


def probe(what: Probeable, device: str) -> Probe:
    """Memory and time of one call, in this process."""
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
        # Every tensor of some size gets pages of its own and gives them back: the peak is what is in use.
        libc.mallopt(_M_MMAP_THRESHOLD, 2**16)
    try:
        sender.send(probe(make(*arguments), "cpu"))
    except Exception as error:
        sender.send(in_short(error))
    finally:
        sender.close()


def in_short(error: BaseException) -> str:
    """An error's type and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
