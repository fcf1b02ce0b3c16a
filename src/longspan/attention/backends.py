"""Which backend computes a call, and why: one table, one question asked of each line.

To add a backend: one file with a function from `AttentionInputs` to the output, and one line in `BACKENDS`.
"""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from longspan.attention.blocked import attend_blocked
from longspan.attention.chunked import attend_chunked
from longspan.attention.flash import attend_flash, reason_against_flash
from longspan.attention.flex import attend_flex, reason_against_flex
from longspan.attention.inputs import AttentionInputs, BackendRequest
from longspan.attention.reference import attend_reference
from longspan.attention.triton import attend_triton, reason_against_triton, reason_to_name_triton
from longspan.errors import InputError


class Backend(NamedTuple):
    """One line of the table.

    Attributes:
        attend: computes a call.
        reason_against: why it cannot serve a request, or None where it can.
        reason_for: why it is worth choosing.
        is_one_graph: it is made of torch's own operations, as many of them whatever the length; only such a one is
            chosen while exporting.
        reason_unless_named: why only somebody who names it gets it, or None.
    """

    attend: Callable[[AttentionInputs], Tensor]
    reason_against: Callable[[BackendRequest], str | None]
    reason_for: str
    is_one_graph: bool = False
    reason_unless_named: Callable[[BackendRequest], str | None] = lambda request: None


class BackendChoice(NamedTuple):
    """What `select` chose: the backend's name, and a reason for or against each one in the table."""

    backend: str
    reasons: dict[str, str]


# In order of preference: the first that can serve a request is taken.
BACKENDS: dict[str, Backend] = {
    "flash": Backend(attend_flash, reason_against_flash, "torch's own flash kernels on windows of sequences"),
    "triton": Backend(
        attend_triton,
        reason_against_triton,
        "window, gaps and global columns in one kernel; nothing else in memory",
        reason_unless_named=reason_to_name_triton,
    ),
    "flex": Backend(attend_flex, reason_against_flex, "a kernel that torch compiles, visiting visible blocks only"),
    "blocked": Backend(attend_blocked, lambda request: None, "work and memory linear in the number of tokens"),
    "chunked": Backend(attend_chunked, lambda request: None, "one graph for any length, for export", is_one_graph=True),
    "reference": Backend(
        attend_reference, lambda request: None, "dense oracle: always right, quadratic", is_one_graph=True
    ),
}
_NOT_ONE_GRAPH = "what is exported is to hold for any length, and runs without longspan"


def select(request: BackendRequest, backend: str = "auto") -> BackendChoice:
    """Choose the backend for `request`: the first in the table that can serve it, or the one that is named.

    Raises:
        InputError: no backend has the name, or the named one cannot serve the request (it is never replaced).
    """
    if backend != "auto" and backend not in BACKENDS:
        raise InputError(f"no attention backend is called {backend!r}; choose auto or one of {', '.join(BACKENDS)}")
    reasons: dict[str, str] = {}
    chosen = None
    for name, line in BACKENDS.items():
        against = line.reason_against(request)
        if backend != name:
            against = against or line.reason_unless_named(request)
            if request.is_exporting and not line.is_one_graph:
                against = against or _NOT_ONE_GRAPH
        if against is not None:
            reasons[name] = f"no: {against}"
        elif chosen is None and backend in ("auto", name):
            chosen = name
            reasons[name] = f"chosen: {line.reason_for}" if backend == "auto" else "chosen: named by the caller"
        else:
            reasons[name] = f"could, but is not needed: {line.reason_for}"
    if chosen is None:
        raise InputError(f"attention backend {backend!r} cannot do this: {reasons[backend].removeprefix('no: ')}")
    return BackendChoice(chosen, reasons)


def explain(request: BackendRequest, backend: str = "auto") -> str:
    """`select`'s answer as text, one line a backend."""
    choice = select(request, backend)
    width = max(map(len, choice.reasons))
    return "\n".join(f"{name:{width}}  {reason}" for name, reason in choice.reasons.items())
