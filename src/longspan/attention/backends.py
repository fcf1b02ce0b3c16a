"""The table of backends, and the choice of one for a call.

To add a backend, write one file with a function from `AttentionInputs` to the output, and one line in `BACKENDS`.
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
        reason_against: why the backend cannot serve a request; None if it can.
        reason_for: why the backend is worth choosing.
        is_one_graph: whether it consists of torch's operations, in a number that does not depend on the length. Only
            such a backend is chosen while exporting.
        reason_unless_named: why the backend must be named explicitly for a request; None if it need not.
    """

    attend: Callable[[AttentionInputs], Tensor]
    reason_against: Callable[[BackendRequest], str | None]
    reason_for: str
    is_one_graph: bool = False
    reason_unless_named: Callable[[BackendRequest], str | None] = lambda request: None


class BackendChoice(NamedTuple):
    """The answer of `select`.

    Attributes:
        backend: name of the chosen backend.
        reasons: name of each backend in the table -> the reason for or against it.
    """

    backend: str
    reasons: dict[str, str]


# In order of preference: `select` takes the first one that can serve a request.
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
_NOT_ONE_GRAPH = "an exported graph must hold for any length and run without longspan"


def select(request: BackendRequest, backend: str = "auto") -> BackendChoice:
    """The backend for `request`: the first in the table that can serve it, or the named one.

    Args:
        request: the call without its tensors.
        backend: "auto", or the name of a backend, which is never replaced by another.

    Raises:
        InputError: no backend has the name, or the named backend cannot serve the request.
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
    """The answer of `select` as text, one line per backend; arguments and errors as `select`."""
    choice = select(request, backend)
    width = max(map(len, choice.reasons))
    return "\n".join(f"{name:{width}}  {reason}" for name, reason in choice.reasons.items())
