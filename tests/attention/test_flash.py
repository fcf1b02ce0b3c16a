"""`flash` against the oracle: everything but the library's kernels, in whose place a CPU's flash kernel stands."""

import itertools

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longspan.attention import AttentionPattern, GlobalRows, GlobalSlots
from longspan.attention import flash as flash_file
from longspan.attention.checks import check_inputs
from longspan.attention.documents import Documents
from longspan.attention.flash import Kernel, attend_flash, plan_of, reason_against_flash
from longspan.attention.flash_plan import Cuts
from longspan.attention.reference import attend_reference
from longspan.attention.selection import Request

NAMES = ("dq", "dk", "dv", "dq_global", "dk_global", "dv_global")


def sequences(cuts: Cuts, window: tuple[int, int], n_queries: int, n_keys: int):
    """Of each sequence: its queries, its keys, and the bias of its window."""
    for cut, n, longest in ((cuts.q, n_queries, cuts.max_q), (cuts.k, n_keys, cuts.max_k)):
        assert cut.dtype == torch.int32 and cut[0] == 0 and cut[-1] == n
        assert cut.diff().min() > 0  # kernels differ in what they make of an empty sequence
        assert cut.diff().max() == longest
    for (q0, q1), (k0, k1) in zip(*(itertools.pairwise(cut.tolist()) for cut in (cuts.q, cuts.k)), strict=True):
        # aligned at the end, as the library does
        distance = torch.arange(k1 - k0) - torch.arange(q1 - q0)[:, None] - (k1 - k0) + (q1 - q0)
        left, right = (reach if reach >= 0 else n_queries + n_keys for reach in window)
        is_seen = (distance >= -left) & (distance <= right)
        yield slice(q0, q1), slice(k0, k1), torch.zeros(is_seen.shape).masked_fill(~is_seen, -torch.inf)


def cpu_forward(q, k, v, cuts, window, scale):
    parts = []
    for queries, keys, bias in sequences(cuts, window, len(q), len(k)):
        one = (x.transpose(0, 1)[None] for x in (q[queries], k[keys], v[keys]))
        parts.append(
            torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(*one, attn_mask=bias.to(q.dtype), scale=scale)
        )
    return torch.cat([out[0].transpose(0, 1) for out, _ in parts]), torch.cat([lse[0] for _, lse in parts], dim=1)


def cpu_backward(grad, q, k, v, out, lse, cuts, window, scale):
    assert all(x.stride(-1) == 1 for x in (grad, q, k, v, out))
    grads = [torch.empty_like(x) for x in (q, k, v)]
    for queries, keys, bias in sequences(cuts, window, len(q), len(k)):
        of_queries = [grad[queries], q[queries], k[keys], v[keys], out[queries]]
        parts = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
            *(x.transpose(0, 1)[None] for x in of_queries),
            lse[:, queries][None].contiguous(),
            0.0,
            False,
            attn_mask=bias.to(q.dtype),
            scale=scale,
        )
        for whole, part, place in zip(grads, parts, (queries, keys, keys), strict=True):
            whole[place] = part[0].transpose(0, 1)
    return tuple(grads)


@pytest.fixture(autouse=True)
def cpu_kernel(monkeypatch):
    monkeypatch.setattr(flash_file, "_KERNEL", Kernel(cpu_forward, cpu_backward))


def inputs_of(case, *, documents: Documents | None = None, scale: float | None = None):
    masks = {name: case.masks.get(name) for name in ("is_token_BT", "is_global_BT", "document_BT")}
    return check_inputs(
        *case[:4], **masks, documents=documents, global_rows=case.global_rows, scale=scale, dropout_p=0.0
    )


def results(case, attend, **options) -> dict[str, torch.Tensor]:
    out = attend(inputs_of(case, **options))
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(out.dtype)
    grads = torch.autograd.grad((out * weight).sum(), case.vectors(), allow_unused=True)
    found = {name: grad for name, grad in zip(NAMES, grads, strict=False) if grad is not None}
    return {"out": out.detach(), **found}


def assert_equals_oracle(case, assert_close, **options) -> None:
    true = results(case.to(torch.float64), attend_reference, **options)
    for name, found in results(case, attend_flash, **options).items():
        assert_close(name, found, true.get(name, torch.zeros_like(found, dtype=torch.float64)))


@st.composite
def cases(draw) -> dict:
    n_heads = draw(st.integers(1, 4))
    causal = draw(st.booleans())
    reach = st.sampled_from([0, 1, 2, 5, 17, 64, 400])
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
        "n_tokens": draw(st.sampled_from([1, 2, 7, 60, 63, 64, 111])),
        "width": draw(st.sampled_from([3, 8, 16])),
        "pattern": pattern,
        "dtype": draw(st.sampled_from([torch.float32, torch.float32, torch.bfloat16, torch.float16])),
        "padding": draw(st.sampled_from(["none", "right", "left", "anywhere"])),
        "dynamic": draw(st.sampled_from(["none", "none", "some", "many", "all"])),
        "documents": draw(st.booleans()),
        "projections": draw(st.booleans()),
    }


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arguments=cases())
def test_output_and_all_gradients_equal_the_oracle(arguments, make_case, assert_close):
    arguments["pattern"] = AttentionPattern(**arguments["pattern"])
    assert_equals_oracle(make_case(**arguments), assert_close)
