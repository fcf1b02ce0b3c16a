"""Fixtures of the attention tests: poisoned memory, tolerances, random cases, comparison with the oracle."""

import importlib.util
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor

from longspan.attention import AttentionPattern, GlobalRows, GlobalSlots, attend
from longspan.attention.call import check_inputs
from longspan.attention.inputs import BackendRequest

_spec = importlib.util.spec_from_file_location("tolerances", Path(__file__).parent.parent / "tolerances.py")
_tolerances = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_tolerances)


@pytest.fixture(autouse=True)
def poisoned_memory(monkeypatch):
    """Fill memory that longspan allocates uninitialised with NaN, so that nothing can rely on zeros."""

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
    """assert_close(name, found, true): compares with the tolerance for the dtype of `found`."""

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
        """The same numbers in another dtype, as new leaves."""
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


def drawn_arguments(
    data,
    *,
    n_tokens,
    dtypes,
    max_rows=3,
    max_heads=4,
    reaches=(0, 1, 2, 5, 17, 64, 400),
    dilations=(1, 2, 3, 4),
    max_dilation_of_head=5,
    n_global=(0, 0, 1, 3, 90),
    widths=(3, 8, 16),
    dynamic=("none", "some", "many", "all"),
) -> dict:
    """Arguments of `make_case`, drawn by Hypothesis from `data`; repeated choices are drawn more often."""
    n_heads = data.draw(st.integers(1, max_heads), "n_heads")
    causal = data.draw(st.booleans(), "causal")
    of_heads = st.tuples(*[st.integers(1, max_dilation_of_head)] * n_heads)
    pattern = AttentionPattern(
        left=data.draw(st.sampled_from(reaches), "left"),
        right=0 if causal else data.draw(st.sampled_from(reaches), "right"),
        dilation=data.draw(st.one_of(st.sampled_from(dilations), of_heads), "dilation"),
        causal=causal,
        n_global=data.draw(st.sampled_from(n_global), "n_global"),
    )
    return {
        "seed": data.draw(st.integers(0, 2**31), "seed"),
        "n_rows": data.draw(st.integers(1, max_rows), "n_rows"),
        "n_heads": n_heads,
        "n_tokens": data.draw(st.sampled_from(n_tokens), "n_tokens"),
        "width": data.draw(st.sampled_from(widths), "width"),
        "pattern": pattern,
        "dtype": data.draw(st.sampled_from(dtypes), "dtype"),
        "padding": data.draw(st.sampled_from(["none", "right", "left", "anywhere"]), "padding"),
        "dynamic": data.draw(st.sampled_from(dynamic), "dynamic"),
        "documents": data.draw(st.booleans(), "documents"),
        "projections": data.draw(st.booleans(), "projections"),
    }


@pytest.fixture(scope="session")
def draw_arguments():
    return drawn_arguments


def checked_inputs(case: Case, **options):
    given = {"is_token_BT": None, "is_global_BT": None, "document_BT": None, "scale": None, "dropout_p": 0.0}
    return check_inputs(*case[:4], **(given | case.masks | {"global_rows": case.global_rows} | options))


@pytest.fixture(scope="session")
def inputs_of():
    """inputs_of(case): the checked inputs that a backend gets."""
    return checked_inputs


def output_and_gradients(case: Case, backend, **options) -> dict[str, Tensor]:
    """The output and all gradients, by the name or the function of a backend."""
    if isinstance(backend, str):
        out = attend(*case[:4], **case.masks, global_rows=case.global_rows, backend=backend, **options)
    else:
        out = backend(checked_inputs(case, **options))
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(out)
    # allow_unused: the oracle of one global token that fills the row needs no plain value, for example
    grads = torch.autograd.grad((out * weight).sum(), case.vectors(), allow_unused=True)
    names = ("dq", "dk", "dv", "dq_global", "dk_global", "dv_global")
    found = {name: grad for name, grad in zip(names, grads, strict=False) if grad is not None}
    return {"out": out.detach(), **found}


@pytest.fixture(scope="session")
def results():
    return output_and_gradients


@pytest.fixture(scope="session")
def assert_equals_oracle(assert_close):
    """assert_equals_oracle(case, backend): output and all gradients; the oracle gets the same rounded numbers."""

    def check(case: Case, backend, **options) -> None:
        true = output_and_gradients(case.to(torch.float64), "reference", **options)
        for name, found in output_and_gradients(case, backend, **options).items():
            assert_close(name, found, true.get(name, torch.zeros_like(found, dtype=torch.float64)))

    return check


@pytest.fixture(scope="session")
def assert_padding_has_no_effect():
    """assert_padding_has_no_effect(backend): NaN at padding reaches no output and no gradient of a token."""

    def check(backend, to=lambda case: case) -> None:
        for bad, padding, projections in ((torch.nan, "right", True), (torch.inf, "anywhere", False)):
            case = random_case(
                seed=1, n_rows=2, n_heads=2, n_tokens=40, width=16, pattern=AttentionPattern(5, 6, n_global=2),
                padding=padding, dynamic="some", projections=projections,
            )  # fmt: skip
            case = to(case)
            is_padding_B1T1 = ~case.masks["is_token_BT"][:, None, :, None]
            assert 5 < is_padding_B1T1.sum() < 70
            found = []
            for value in (0.0, bad):
                # All but the queries of the slots, which stand at no position.
                vectors = [
                    x.detach().masked_fill(is_padding_B1T1, value) if x.shape[2] == 40 else x.detach()
                    for x in case.vectors()
                ]
                leaves = [x.requires_grad_() for x in vectors]
                rows = None if case.global_rows is None else GlobalRows(case.global_rows.slots, *leaves[3:])
                given = Case(*leaves[:3], case.pattern, case.masks, rows)
                if isinstance(backend, str):
                    out = attend(*given[:4], **given.masks, global_rows=rows, backend=backend)
                else:
                    out = backend(checked_inputs(given))
                # What comes back from padding, through a norm for example, may be as bad.
                weight = torch.linspace(-1, 1, out.numel(), device=out.device).view_as(out)
                weight = weight.masked_fill(is_padding_B1T1, value)
                found.append((out, *torch.autograd.grad(out, leaves, weight)))
            for true, x in zip(*found, strict=True):
                torch.testing.assert_close(x, true)
                assert x.shape[2] != 40 or not x.masked_select(is_padding_B1T1).any()

    return check


@pytest.fixture(scope="session")
def gpu_request() -> BackendRequest:
    """A request that GPU backends can serve."""
    return BackendRequest(
        n_rows=1, n_heads=2, n_tokens=8, width=64, device="cuda", dtype=torch.bfloat16, needs_grad=True,
        pattern=AttentionPattern(1, 1),
    )  # fmt: skip


@pytest.fixture
def unchecked_shapes():
    """Disable jaxtyping for calls that are wrong on purpose, so that longspan's own errors are raised."""
    import jaxtyping

    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
