"""Each GPU backend against the oracle on the device: forward, backward, memory, waiting. Run by test_gpu.py.

A backend that refuses the device, or a dtype, is skipped with its reason. FlexAttention compiles for each set of masks,
dtypes and widths, minutes in all, so that it gets fewer of them.
"""

import pytest
import torch

from longspan.attention import AttentionPattern, GlobalRows, GlobalSlots, attend
from longspan.attention.backends import BACKENDS
from longspan.attention.documents import Documents
from longspan.attention.inputs import BackendRequest

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
DEVICE = torch.device("cuda")
GPU_BACKENDS = [name for name in BACKENDS if name not in ("blocked", "chunked", "reference")]
# Compilers warn of what they could do better.
pytestmark.append(pytest.mark.filterwarnings("default"))
torch._dynamo.config.recompile_limit = 256

PATTERNS = {
    "window": AttentionPattern(64, 64),
    "itself": AttentionPattern(0, 0),
    "right only": AttentionPattern(0, 100),
    "uneven": AttentionPattern(200, 31),
    "all": AttentionPattern(4096, 4096),
    "causal": AttentionPattern(130, 0, causal=True),
    "gaps": AttentionPattern(40, 40, dilation=4),
    "gaps by head": AttentionPattern(40, 17, dilation=(1, 2, 1, 3)),
    "first": AttentionPattern(64, 64, n_global=1),
    "many first": AttentionPattern(64, 20, n_global=70),
    "first, causal, gaps": AttentionPattern(33, 0, dilation=(1, 1, 2, 2), causal=True, n_global=5),
}
MASKS = {
    "nothing": {},
    "padded right": {"padding": "right"},
    "padded left": {"padding": "left"},
    "padded anywhere": {"padding": "anywhere"},
    "global": {"dynamic": "some"},
    "half global": {"dynamic": "many", "projections": True},
    "documents": {"documents": True},
    "all of it": {"padding": "right", "dynamic": "some", "documents": True, "projections": True},
}


def skip_if_refused(backend: str, case, dtype: torch.dtype, **changes) -> None:
    B, H, T, D = case.q_BHTD.shape
    request = BackendRequest(B, H, T, D, DEVICE.type, dtype, True, case.pattern, "is_token_BT" in case.masks, **changes)
    against = BACKENDS[backend].reason_against(request)
    if against is not None:
        pytest.skip(against)


def on_device(case, dtype: torch.dtype):
    moved = [x.detach().to(DEVICE, dtype).requires_grad_() for x in case.vectors()]
    rows = None
    if case.global_rows is not None:
        slots = case.global_rows.slots
        rows = GlobalRows(slots._replace(index_BG=slots[0].to(DEVICE), is_used_BG=slots[1].to(DEVICE)), *moved[3:])
    masks = {name: x.to(DEVICE) for name, x in case.masks.items()}
    return type(case)(*moved[:3], case.pattern, masks, rows)


@pytest.fixture
def assert_equals_oracle(results, assert_close):
    """The fixture of the same name on the device."""

    def check(case, backend: str, dtype: torch.dtype, **options) -> None:
        skip_if_refused(backend, case, dtype)
        given = on_device(case, dtype)
        # The oracle is given the same rounded numbers.
        true = results(on_device(given, torch.float64), "reference", **options)
        for name, found in results(given, backend, **options).items():
            assert_close(name, found, true.get(name, torch.zeros_like(found, dtype=torch.float64)))

    return check


@pytest.mark.parametrize("n_tokens", [1, 63, 1000])
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("backend", GPU_BACKENDS)
def test_patterns(backend, pattern, n_tokens, make_case, assert_equals_oracle):
    case = make_case(seed=n_tokens, n_rows=2, n_heads=4, n_tokens=n_tokens, width=64, pattern=PATTERNS[pattern])
    assert_equals_oracle(case, backend, torch.bfloat16)


@pytest.mark.parametrize("pattern", ["window", "first, causal, gaps"])
@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize("backend", GPU_BACKENDS)
def test_masks(backend, masks, pattern, make_case, assert_equals_oracle):
    case = make_case(seed=3, n_rows=3, n_heads=4, n_tokens=700, width=64, pattern=PATTERNS[pattern], **MASKS[masks])
    assert_equals_oracle(case, backend, torch.bfloat16)


@pytest.mark.parametrize("width", [32, 64, 80, 128, 256])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("backend", GPU_BACKENDS)
def test_widths_and_dtypes(backend, dtype, width, make_case, assert_equals_oracle):
    case = make_case(
        seed=5, n_rows=1, n_heads=2, n_tokens=515, width=width, pattern=AttentionPattern(64, 30, n_global=2)
    )
    assert_equals_oracle(case, backend, dtype)


@pytest.mark.parametrize("backend", GPU_BACKENDS)
def test_padding_has_no_effect(backend, assert_padding_has_no_effect):
    def to(case):
        dtype = torch.bfloat16 if backend == "flash" else torch.float32
        skip_if_refused(backend, case, dtype)
        return on_device(case, dtype)

    assert_padding_has_no_effect(backend, to=to)


@pytest.mark.parametrize("n_global", [0, 9])
@pytest.mark.parametrize("backend", GPU_BACKENDS)
def test_unpadded_batch_does_not_wait_for_the_device(backend, n_global, make_case, assert_close, results):
    """Documents known on the host, whose first tokens are global with separate projections, in several calls."""
    lengths = [700, 1, 12, 130, 1205]
    documents = Documents.of_lengths(lengths, DEVICE)
    pattern = AttentionPattern(64, 64)
    case = make_case(seed=0, n_rows=1, n_heads=2, n_tokens=sum(lengths), width=64, pattern=pattern)
    skip_if_refused(backend, case, torch.bfloat16, has_documents=True, has_dynamic_global=n_global > 0)
    slots = GlobalSlots.first_of_documents(n_global, documents)
    if slots is not None:
        own = make_case(seed=1, n_rows=1, n_heads=2, n_tokens=sum(lengths), width=64, pattern=pattern)
        index_BHGD = slots.index_BG.cpu()[:, None, :, None].expand(1, 2, -1, 64)
        case = case._replace(
            global_rows=GlobalRows(slots, own.q_BHTD.detach().gather(2, index_BHGD), own.k_BHTD, own.v_BHTD)
        )
    given = on_device(case, torch.bfloat16)
    true = results(on_device(given, torch.float64), "reference", documents=documents)
    weight = torch.randn(given.q_BHTD.shape, dtype=torch.bfloat16, device=DEVICE)
    results(given, backend, documents=documents)  # compiles what there is to compile
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        out = attend(*given[:4], global_rows=given.global_rows, documents=documents, backend=backend)
        torch.autograd.grad(out, given.vectors(), weight)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for name, found in results(given, backend, documents=documents).items():
        assert_close(name, found, true[name])


@pytest.mark.parametrize("n_global", [0, 32])
@pytest.mark.parametrize("backend", GPU_BACKENDS)
def test_peak_memory_is_a_few_times_the_queries(backend, n_global, make_case):
    """At 65,536 tokens a mask would take 4 GiB; here: the output, then the three gradients and their sums."""
    pattern = AttentionPattern(256, 256, n_global=n_global)
    case = make_case(seed=0, n_rows=1, n_heads=12, n_tokens=128, width=64, pattern=pattern)
    skip_if_refused(backend, case, torch.bfloat16)
    x_BTHD = [torch.randn(1, 2**16, 12, 64, dtype=torch.bfloat16, device=DEVICE) for _ in range(4)]
    *vectors, grad = (x.transpose(1, 2).requires_grad_() for x in x_BTHD)
    one = grad.numel() * grad.element_size()
    for _ in range(2):  # the first compiles, and makes plans
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        out = attend(*vectors, pattern, backend=backend)
        forward = (torch.cuda.max_memory_allocated() - before) / one
        grads = torch.autograd.grad(out, vectors, grad)
        both = (torch.cuda.max_memory_allocated() - before) / one
        del out, grads
    assert forward <= 4, f"forward {forward:.2f} x the queries"
    assert both <= 10, f"with backward {both:.2f} x the queries"


@pytest.mark.parametrize("pattern", ["window", "first", "gaps"])
@pytest.mark.parametrize("backend", GPU_BACKENDS)
def test_inside_a_compiled_graph(backend, pattern, make_case, assert_close):
    """No graph break with static global tokens."""
    case = make_case(seed=0, n_rows=2, n_heads=2, n_tokens=512, width=64, pattern=PATTERNS[pattern])
    skip_if_refused(backend, case, torch.bfloat16)
    given = on_device(case, torch.bfloat16)

    def through(q_BHTD, k_BHTD, v_BHTD):
        return attend(q_BHTD, k_BHTD, v_BHTD, case.pattern, backend=backend) * 2

    out = torch.compile(through, fullgraph=True)(*given[:3])
    grads = torch.autograd.grad(out.sum(), given.vectors())
    true = through(*given[:3])
    true_grads = torch.autograd.grad(true.sum(), given.vectors())
    for name, one, other in zip(("out", "dq", "dk", "dv"), (out, *grads), (true, *true_grads), strict=True):
        assert_close(name, one, other)
