"""What was worked out from tensors, kept for as long as they are the same and unchanged.

Every layer of a model is handed the same masks. What a backend makes of them (bounds on the host, block masks) it makes
once a forward that way, and not once a layer; with masks that stay the same, once. `RememberedBytes` is for what is
made of numbers alone.
"""

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

Value = TypeVar("Value")


class _Entry(NamedTuple, Generic[Value]):
    tensors: tuple[tuple[weakref.ref[Tensor], int], ...]  # with the count of changes in place
    others: Hashable
    value: Value


class Remembered(Generic[Value]):
    """The last `size` values, each found again by the tensors (which they are, not what they hold) and the rest.

    A tensor that was changed in place since is another one. Of a tensor made in inference mode torch counts no changes:
    what depends on one is not kept, and neither is anything while a compiler traces.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: list[_Entry[Value]] = []

    def get(self, tensors: Sequence[Tensor | None], others: Hashable, make: Callable[[], Value]) -> Value:
        """The value made from `tensors` and `others`, or `make()`."""
        given = [x for x in tensors if x is not None]
        if torch.compiler.is_compiling() or any(x.is_inference() for x in given):
            return make()
        which = (tuple(x is None for x in tensors), others)
        for entry in self._entries:
            if entry.others == which and all(
                ref() is x and version == x._version
                for (ref, version), x in zip(entry.tensors, given, strict=True)  # as many: `which` says so
            ):
                return entry.value
        with torch.inference_mode(False):
            value = make()  # kept: a later call may need it for a backward
        entry = _Entry(tuple((weakref.ref(x), x._version) for x in given), which, value)
        # A new list, so that another thread that is reading the old one goes on undisturbed.
        alive = [old for old in self._entries if all(ref() is not None for ref, _ in old.tensors)]
        self._entries = [*alive[1 - self._size :], entry] if self._size > 1 else [entry]
        return entry.value


class RememberedBytes:
    """Tensors made of numbers alone, those used last, `n_bytes` of them in all; a larger one is made every time."""

    def __init__(self, n_bytes: int) -> None:
        self._n_bytes = self._room = n_bytes
        self._kept: OrderedDict[Hashable, Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """The tensor of `key`, or `make()`."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        x = make()
        with self._lock:
            if key not in self._kept and x.nbytes <= self._n_bytes:
                self._kept[key] = x
                self._room -= x.nbytes
                while self._room < 0:
                    self._room += self._kept.popitem(last=False)[1].nbytes
        return x
