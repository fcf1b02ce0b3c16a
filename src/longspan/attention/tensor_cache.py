"""Caches: of values computed from tensors (`TensorKeyedCache`), and of tensors computed from numbers.

Every layer of a model gets the same masks. A backend computes something from them (bounds on the host, block masks),
and the cache makes that happen once per forward instead of once per layer.
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
    tensors: tuple[tuple[weakref.ref[Tensor], int], ...]  # and the number of in-place changes so far
    others: Hashable
    value: Value


class TensorKeyedCache(Generic[Value]):
    """A cache of the last `size` values, keyed by tensor identity and a hashable key.

    A tensor that was changed in place counts as another tensor. Values computed from tensors that were made in
    inference mode are not cached, because torch does not count changes of those. Nothing is cached while a compiler
    traces.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: list[_Entry[Value]] = []

    def get(self, tensors: Sequence[Tensor | None], others: Hashable, make: Callable[[], Value]) -> Value:
        """The cached value for `tensors` and the hashable `others`, or the new value `make()`."""
        given = [x for x in tensors if x is not None]
        if torch.compiler.is_compiling() or any(x.is_inference() for x in given):
            return make()
        which = (tuple(x is None for x in tensors), others)
        for entry in self._entries:
            if entry.others == which and all(
                ref() is x and version == x._version for (ref, version), x in zip(entry.tensors, given, strict=True)
            ):
                return entry.value
        with torch.inference_mode(False):
            value = make()  # outside inference mode, since a later call may need it in a backward
        entry = _Entry(tuple((weakref.ref(x), x._version) for x in given), which, value)
        # A new list, because another thread may be reading the old one.
        alive = [old for old in self._entries if all(ref() is not None for ref, _ in old.tensors)]
        self._entries = [*alive[1 - self._size :], entry] if self._size > 1 else [entry]
        return entry.value


class ByteLimitedCache:
    """A cache of the most recently used tensors, of `n_bytes` in total; a larger tensor is not cached."""

    def __init__(self, n_bytes: int) -> None:
        self._n_bytes = self._room = n_bytes
        self._kept: OrderedDict[Hashable, Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """The cached tensor for `key`, or the new tensor `make()`."""
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
