"""`chunked` against the oracle, and one graph of it for every length."""

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longspan.attention import AttentionPattern, attend


@st.composite
def cases(draw) -> dict:
    n_heads = draw(st.integers(1, 4))
    causal = draw(st.booleans())
    reach = st.sampled_from([0, 1, 2, 5, 17, 64, 400])
    # Not yet an AttentionPattern: the type checker under it draws random numbers, which a strategy may not.
    pattern = {
        "left": draw(reach),
        "right": 0 if causal else draw(reach),
        "dilation": draw(st.one_of(st.integers(1, 4), st.tuples(*[st.integers(1, 5)] * n_heads))),
        "causal": causal,
        "n_global": draw(st.sampled_from([0, 0, 1, 3, 90])),
    }
    return {
        "seed": draw(st.integers(0, 2**31)),
        "n_rows": draw(st.integers(1, 3)),
        "n_heads": n_heads,
        "n_tokens": draw(st.sampled_from([1, 2, 7, 16, 17, 63, 64, 65, 111, 150])),
        "width": draw(st.sampled_from([3, 8, 16])),
        "pattern": pattern,
        "dtype": draw(st.sampled_from([torch.float32, torch.float32, torch.float64, torch.bfloat16, torch.float16])),
        "padding": draw(st.sampled_from(["none", "right", "left", "anywhere"])),
        "dynamic": draw(st.sampled_from(["none", "some", "many", "all"])),
        "documents": draw(st.booleans()),
        "projections": draw(st.booleans()),
    }


def results(case, backend, **options) -> dict[str, torch.Tensor]:
    """The output and the gradients of everything that has one."""
    out = attend(*case[:4], **case.masks, global_rows=case.global_rows, backend=backend, **options)
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(out.dtype)
    grads = torch.autograd.grad((out * weight).sum(), case.vectors(), allow_unused=True)
    names = ("dq", "dk", "dv", "dq_global", "dk_global", "dv_global")
    found = {name: grad for name, grad in zip(names, grads, strict=False) if grad is not None}
    return {"out": out.detach(), **found}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arguments=cases())
def test_output_and_all_gradients_equal_the_oracle(arguments, make_case, assert_close):
    arguments["pattern"] = AttentionPattern(**arguments["pattern"])
    case = make_case(**arguments)
    true = results(case.to(torch.float64), "reference")
    for name, found in results(case, "chunked").items():
        assert_close(name, found, true.get(name, torch.zeros_like(found, dtype=torch.float64)))
