"""`blocked` is one operator for torch.compile: no graph break, one graph for all lengths, equal gradients.

Run by `test_blocked_compiled.py`, without the checker of types that other tests run under: it would be traced along.
"""

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from longspan.attention import AttentionPattern, attend
from longspan.attention.blocked import backend as blocked_file


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def outputs_and_gradients(function, case, **arguments) -> list[torch.Tensor]:
    vectors = case.vectors()
    out = function(*vectors, **arguments)
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out.dtype)
    return [out.detach(), *torch.autograd.grad((out * weight).sum(), vectors)]


@pytest.mark.parametrize(
    ("pattern", "dtype", "padding", "documents"),
    [
        (AttentionPattern(6, 9, n_global=2), torch.float32, "right", False),
        (AttentionPattern(6, 0, dilation=(1, 3), causal=True, n_global=1), torch.float32, "anywhere", True),
        (AttentionPattern(5, 5, n_global=1), torch.bfloat16, "none", False),
    ],
)
def test_one_graph_for_all_lengths(pattern, dtype, padding, documents, make_case, assert_close):
    counter = CompileCounterWithBackend("aot_eager")

    def call(q_BHTD, k_BHTD, v_BHTD, **masks):
        return attend(q_BHTD, k_BHTD, v_BHTD, pattern, backend="blocked", **masks)

    compiled = torch.compile(call, fullgraph=True, dynamic=True, backend=counter)
    for seed, n_tokens in enumerate((50, 83)):
        # As many rows as heads would be taken for the same number.
        case = make_case(
            seed=seed, n_rows=3 + seed, n_heads=2, n_tokens=n_tokens, width=8, pattern=pattern, dtype=dtype,
            padding=padding, documents=documents,
        )  # fmt: skip
        eager = outputs_and_gradients(call, case, **case.masks)
        found = outputs_and_gradients(compiled, case, **case.masks)
        for name, one, true in zip(("out", "dq", "dk", "dv"), found, eager, strict=True):
            assert_close(name, one, true)
        if seed == 0:
            n_graphs = counter.frame_count
    assert counter.frame_count == n_graphs


def test_under_autocast_and_with_dropout(make_case):
    pattern = AttentionPattern(6, 6, n_global=1)
    case = make_case(seed=0, n_rows=1, n_heads=2, n_tokens=40, width=8, pattern=pattern, dtype=torch.bfloat16)

    @torch.compile(fullgraph=True, dynamic=True, backend="aot_eager")
    def compiled(q_BHTD, k_BHTD, v_BHTD, dropout_p):
        with torch.autocast("cpu", torch.bfloat16):
            return attend(q_BHTD, k_BHTD, v_BHTD, pattern, dropout_p=dropout_p, backend="blocked")

    assert torch.equal(compiled(*case[:3], 0.0), attend(*case[:4], backend="blocked"))
    torch.manual_seed(0)
    one, other = compiled(*case[:3], 0.5), compiled(*case[:3], 0.5)
    assert one.isfinite().all() and not torch.equal(one, other)


@pytest.mark.parametrize("slots", [False, True])
def test_operator_passes_opcheck(slots, make_case):
    case = make_case(seed=0, n_rows=2, n_heads=2, n_tokens=30, width=8, pattern=AttentionPattern(3, 4), padding="right")
    index_BG, is_used_BG = torch.tensor([[0, 7], [3, 0]]), torch.tensor([[True, True], [True, False]])
    arguments = (
        *case[:3],
        case.masks["is_token_BT"],
        torch.arange(30).expand(2, 30) // 11,
        *((index_BG, is_used_BG) if slots else (None, None)),
        None,
        *(3, 4, [1, 2], False, 0.3, 0.0),
    )
    torch.library.opcheck(blocked_file._operator, arguments)
