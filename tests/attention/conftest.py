"""What all tests of attention share: poisoned uninitialised memory, the table of tolerances, random cases."""

import importlib.util
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from longspan.attention import AttentionPattern, GlobalRows, GlobalSlots

_spec = importlib.util.spec_from_file_location("tolerances", Path(__file__).parent.parent / "tolerances.py")
_tolerances = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_tolerances)


@pytest.fixture(autouse=True)
def poisoned_memory(monkeypatch):
    """Memory that longspan asks for uninitialised is full of NaN, so that nothing can rely on its being zero."""

    def poison(make):
        def made(*args, **kwargs):
            x = make(*args, **kwargs)
            if sys._getframe(1).f_globals.get("__name__", "").startswith("longspan."):
                x.fill_(torch.nan) if x.dtype.is_floating_point else x.fill_(torch.iinfo(x.dtype).max)
            return x

        return made

    for owner, name in ((torch, "empty"), (torch, "empty_like"), (Tensor, "new_empty")):
        monkeypatch.setattr(owner, name, poison(getattr(owner, name)))


@pytest.fixture(scope="session")
def assert_close():
    """assert_close(name, found, true): compares with what the dtype of `found` allows."""

    def check(name: str, found: Tensor, true: Tensor) -> None:
        kind = "out" if name == "out" else "grad"
        allowed = _tolerances.TOLERANCES[str(found.dtype).removeprefix("torch.")][kind]
        error = ((found.double() - true.double()).abs().max() / (1 + true.double().abs().max())).item()
        assert error <= allowed, f"{name}: error {error:.2e} > {allowed:.0e}"  # not <=: NaN fails

    return check


class Case(NamedTuple):
    """One call of `attend` with random numbers."""

    q_BHTD: Tensor
    k_BHTD: Tensor
    v_BHTD: Tensor
    pattern: AttentionPattern
    masks: dict[str, Tensor]
    global_rows: GlobalRows | None

    def vectors(self) -> list[Tensor]:
        return [self.q_BHTD, self.k_BHTD, self.v_BHTD, *(() if self.global_rows is None else self.global_rows[1:])]

    def to(self, dtype: torch.dtype) -> "Case":
        """The same numbers in another dtype, as leaves of their own."""
        moved = [x.detach().to(dtype).requires_grad_() for x in self.vectors()]
        rows = None if self.global_rows is None else GlobalRows(self.global_rows.slots, *moved[3:])
        return Case(*moved[:3], self.pattern, self.masks, rows)


def random_case(
    *,
    seed: int,
    n_rows: int,
    n_heads: int,
    n_tokens: int,
    width: int,
    pattern: AttentionPattern,
    dtype: torch.dtype = torch.float32,
    padding: str = "none",
    dynamic: str = "none",
    documents: bool = False,
    projections: bool = False,
) -> Case:
    """A call with `padding` none, right, left or anywhere, and `dynamic` global tokens none, some, many or all."""
    draw = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=draw)

    def vectors(n: int) -> Tensor:
        # Laid out as a linear layer leaves it, heads side by side.
        x_BTHD = torch.randn(n_rows, n, n_heads, width, generator=draw, dtype=torch.float64)
        return x_BTHD.to(dtype).transpose(1, 2).requires_grad_()

    masks: dict[str, Tensor] = {}
    position_T = torch.arange(n_tokens)
    length_B1 = (uniform(n_rows, 1) * (n_tokens + 1)).long()
    if padding != "none":
        masks["is_token_BT"] = {
            "right": position_T < length_B1,
            "left": position_T >= n_tokens - length_B1,
            "anywhere": uniform(n_rows, n_tokens) < 0.7,
        }[padding]
    if documents:
        masks["document_BT"] = (uniform(n_rows, n_tokens) < 0.15).cumsum(dim=1)
    share = {"none": 0.0, "some": 0.05, "many": 0.5, "all": 1.0}[dynamic]
    is_global_BT = uniform(n_rows, n_tokens) < share
    global_rows = None
    if projections:
        is_global_BT = (is_global_BT | (position_T < pattern.n_global)) & masks.get("is_token_BT", torch.tensor(True))
        slots = GlobalSlots.find(is_global_BT)
        if slots is not None:
            global_rows = GlobalRows(slots, vectors(slots.index_BG.shape[1]), vectors(n_tokens), vectors(n_tokens))
    elif dynamic != "none":
        masks["is_global_BT"] = is_global_BT
    return Case(vectors(n_tokens), vectors(n_tokens), vectors(n_tokens), pattern, masks, global_rows)


@pytest.fixture(scope="session")
def make_case():
    return random_case


@pytest.fixture
def unchecked_shapes():
    """For calls that are wrong on purpose: jaxtyping would object, in its own words, before longspan does."""
    import jaxtyping

    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
