"""The kernels against the oracle: run by test_triton.py in a separate process.

There TRITON_INTERPRET=1 is set before triton is imported, and tensors are on the CPU; or it is not, and they are on the
GPU. In the interpreter tiles are small, so that few tokens make several of them.
"""

import os
import sys

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longspan.attention import AttentionPattern, GlobalRows, GlobalSlots, attend
from longspan.attention.triton import launch, operators
from longspan.attention.triton.tile_table import Tiles, TileSet, tiles_for

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = torch.device("cpu" if INTERPRETED else "cuda")
SMALL = TileSet(Tiles(16, 32, 4, 2), Tiles(32, 16, 4, 2), Tiles(32, 16, 4, 2), Tiles(16, 16, 4, 2))
OTHER = TileSet(Tiles(32, 16, 4, 2), Tiles(16, 32, 4, 2), Tiles(16, 32, 4, 2), Tiles(32, 16, 4, 2))
N_EXAMPLES = 8 if INTERPRETED else 150
# Rows of a tile that are thrown away may overflow; the oracle tells if they are not.
pytestmark = [pytest.mark.filterwarnings(f"ignore:{what} encountered") for what in ("overflow", "invalid value")]


@pytest.fixture(scope="session", autouse=True)
def quick_interpreter():
    """The interpreter patches triton.language at each call of a helper: once per launch and file is enough."""
    if not INTERPRETED:
        return
    from triton.runtime import interpreter

    patch = interpreter._patch_lang
    done: set[int] = set()

    def patch_once(function):
        if isinstance(sys._getframe(1).f_locals.get("self"), interpreter.GridExecutor):
            done.clear()
        module = id(function.__globals__)
        if module in done:
            return None
        done.add(module)
        return patch(function)

    interpreter._patch_lang = patch_once


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    if INTERPRETED:
        monkeypatch.setattr(launch, "tiles_for", lambda *which: SMALL)


def on_device(case, dtype=None):
    """The same case on the device under test; the vectors keep their strides."""
    moved = [x.detach().to(DEVICE, dtype).requires_grad_() for x in case.vectors()]
    rows = None
    if case.global_rows is not None:
        slots = case.global_rows.slots
        rows = GlobalRows(GlobalSlots(*(x.to(DEVICE) for x in slots[:2])), *moved[3:])
    masks = {name: x.to(DEVICE) for name, x in case.masks.items()}
    return type(case)(*moved[:3], case.pattern, masks, rows)


@pytest.fixture
def assert_equals_oracle(results, assert_close):
    """The fixture of the same name on the device."""

    def check(case) -> None:
        true = results(on_device(case, torch.float64), "reference")
        for name, found in results(on_device(case), "triton").items():
            assert_close(name, found, true.get(name, torch.zeros_like(found, dtype=torch.float64)))

    return check


@settings(max_examples=N_EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_output_and_all_gradients_equal_the_oracle(data, draw_arguments, make_case, assert_equals_oracle):
    arguments = draw_arguments(
        data,
        n_tokens=[1, 15, 33, 45] if INTERPRETED else [1, 63, 127, 128, 200, 333, 1000],
        # The interpreter knows no bfloat16.
        dtypes=[torch.float32, torch.float16, *([] if INTERPRETED else [torch.bfloat16])],
        max_rows=2,
        max_heads=2,
        reaches=[0, 1, 5, 17, 40, 400],
        dilations=[1, 2, 3],
        max_dilation_of_head=4,
        n_global=[0, 0, 1, 3, 20],
        widths=[3, 16, 20] if INTERPRETED else [8, 32, 64, 80, 128, 256],
    )
    assert_equals_oracle(make_case(**arguments))


@pytest.mark.parametrize(
    ("pattern", "masks"),
    [
        (AttentionPattern(16, 16), {}),  # tiles that all queries see whole, on both sides those they see in part
        (AttentionPattern(40, 7, dilation=(1, 3), n_global=2), {}),
        (AttentionPattern(30, 0, causal=True, n_global=20), {}),
        (AttentionPattern(9, 30, dilation=2, n_global=1), {"padding": "right", "dynamic": "some", "documents": True}),
    ],
)
def test_several_tiles(pattern, masks, make_case, assert_equals_oracle):
    case = make_case(
        seed=0, n_rows=1, n_heads=2, n_tokens=70 if INTERPRETED else 511, width=16, pattern=pattern, **masks
    )
    assert_equals_oracle(case)


def test_bits_are_equal_in_every_run(make_case, results):
    case = make_case(
        seed=0, n_rows=1, n_heads=1, n_tokens=60, width=16, pattern=AttentionPattern(9, 9), dynamic="many",
        padding="right",
    )  # fmt: skip
    once, again = (results(on_device(case), "triton") for _ in range(2))
    for name, x in once.items():
        assert torch.equal(x, again[name]), name


def test_vectors_of_one_projection_are_not_copied(assert_close):
    projected = torch.randn(2, 40, 3, 2, 16, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    vectors = [x.transpose(1, 2) for x in projected.unbind(2)]
    call = launch.TritonCall.of(*vectors, (None,) * 6, None, [1, 1], 5, 5, 0.25, 0.0)
    assert [x.data_ptr() for x in call[:3]] == [x.data_ptr() for x in vectors]
    pattern = AttentionPattern(5, 5)
    found = attend(*vectors, pattern, backend="triton")
    assert_close("out", found, attend(*(x.double() for x in vectors), pattern, backend="reference"))
    assert found.transpose(1, 2).is_contiguous()  # heads side by side, for the layer behind


def test_gradients_that_are_expanded_and_vectors_with_gaps(make_case, assert_close):
    case = on_device(make_case(seed=0, n_rows=1, n_heads=2, n_tokens=20, width=4, pattern=AttentionPattern(4, 4)))
    strided = [x.detach().mT.contiguous().mT.requires_grad_() for x in case[:3]]
    grads = [torch.autograd.grad(attend(*x, case.pattern, backend="triton").sum(), x) for x in (case[:3], strided)]
    for name, one, other in zip(("dq", "dk", "dv"), *grads, strict=True):
        assert_close(name, one, other)


@pytest.mark.parametrize("where", [0, 1, 2])
def test_nan_appears_where_it_is_visible(where, make_case):
    case = on_device(make_case(seed=0, n_rows=1, n_heads=1, n_tokens=20, width=4, pattern=AttentionPattern(2, 2)))
    vectors = [x.detach().clone() for x in case[:3]]
    vectors[where][0, 0, 10] = torch.nan
    out = attend(*vectors, case.pattern, backend="triton")
    assert out[0, 0, [10] if where == 0 else range(8, 13)].isnan().all()


def test_padding_is_not_read(make_case):
    pattern = AttentionPattern(6, 6, n_global=1)
    case = on_device(make_case(seed=0, n_rows=1, n_heads=2, n_tokens=40, width=8, pattern=pattern))
    is_token_BT = (torch.arange(40, device=DEVICE) < 21)[None]
    bad = [x.detach().masked_fill(~is_token_BT[:, None, :, None], torch.nan).requires_grad_() for x in case[1:3]]
    out, *_ = operators.window_attention(
        case.q_BHTD.detach(), *bad, *visibility(bad[0], pattern, is_token_BT), None, [1, 1], 6, 6, 0.3, 0.0
    )
    grads = torch.autograd.grad(out.sum(), bad)
    assert all(x.isfinite().all() for x in (out, *grads))
    assert not any(x[:, :, 21:].any() for x in (out, *grads))


def test_padding_has_no_effect(assert_padding_has_no_effect):
    assert_padding_has_no_effect("triton", to=on_device)


def visibility(x_BHTD, pattern, is_token_BT):
    from longspan.attention.inputs import AttentionInputs
    from longspan.attention.triton.visibility import visibility_of

    inputs = AttentionInputs(x_BHTD, x_BHTD, x_BHTD, pattern, is_token_BT, None, None, None, None, 1.0, 0.0)
    return visibility_of(inputs, inputs.global_slots())


def dropped(vectors, pattern, dropout_p):
    torch.manual_seed(7)
    return attend(*vectors, pattern, dropout_p=dropout_p, backend="triton")


def test_dropout_rate_is_right_and_backward_repeats_it(make_case, assert_close, monkeypatch):
    """With the unit matrix as values, the output is the probabilities, which shows the dropped ones."""
    T, p = 40, 0.3
    # Global rows are attended to by torch's own kernel with draws of its own: here they are left out of the sum.
    pattern = AttentionPattern(14, 9, dilation=(1, 2), n_global=3)
    case = on_device(make_case(seed=0, n_rows=2, n_heads=2, n_tokens=T, width=64, pattern=pattern))
    unit = torch.eye(T, 64, device=DEVICE).expand(2, 2, T, 64)
    local = slice(pattern.n_global, None)
    with torch.no_grad():
        prob = attend(*case[:2], unit, pattern, backend="reference")[:, :, local, :T]
        found = dropped((*case[:2], unit), pattern, p)[:, :, local, :T]
    kept = found != 0
    assert_close("out", found, torch.where(kept, prob / (1 - p), 0.0))
    share = 1 - kept.sum() / (prob > 0).sum()
    assert abs(share - p) < 4 * (p * (1 - p) / int((prob > 0).sum())) ** 0.5
    for a, b in (((0, 0), (0, 1)), ((0, 0), (1, 0))):
        assert not torch.equal(kept[a], kept[b])  # heads and rows draw for themselves

    weight = torch.randn(2, 2, T, 64, generator=torch.Generator().manual_seed(1)).to(DEVICE)[:, :, local]
    if INTERPRETED:  # and whatever the tiles
        monkeypatch.setattr(launch, "tiles_for", lambda *which: OTHER)
    out = dropped(case[:3], pattern, p)[:, :, local]
    grads = torch.autograd.grad((out * weight).sum(), case[:3])
    double = on_device(case, torch.float64)
    score = (double.q_BHTD @ double.k_BHTD.mT)[:, :, local] / 8
    true_prob = score.masked_fill(prob == 0, -torch.inf).softmax(-1)
    true = (torch.where(kept, true_prob / (1 - p), 0.0)) @ double.v_BHTD
    true_grads = torch.autograd.grad((true * weight).sum(), double[:3])
    assert_close("out", out, true)
    for name, one, other in zip(("dq", "dk", "dv"), grads, true_grads, strict=True):
        assert_close(name, one, other)


def test_dropout_keeps_the_mean_exactly():
    x = torch.ones(1, 1, 8, 16, device=DEVICE)
    for p in (0.1, 0.5, 1 / 3):
        numbers = launch.TritonCall.of(x, x, x, (None,) * 6, None, [1], 1, 1, 1.0, p).numbers()
        assert numbers["factor"] * (1 - numbers["n_dropped"] / 2**31) == pytest.approx(1, abs=1e-15)


def test_one_graph_for_the_compiler(make_case, assert_close):
    pattern = AttentionPattern(5, 5, dilation=(1, 2), n_global=2)
    case = on_device(make_case(seed=0, n_rows=1, n_heads=2, n_tokens=30, width=8, pattern=pattern, padding="right"))

    def run(q, k, v, is_token_BT):
        return attend(q, k, v, pattern, is_token_BT=is_token_BT, dropout_p=0.0, backend="triton")

    compiled = torch.compile(run, backend="aot_eager", fullgraph=True)
    outs = [f(*case[:3], case.masks["is_token_BT"]) for f in (run, compiled)]
    assert_close("out", outs[1], outs[0])
    grads = [torch.autograd.grad((out * out.detach().sin()).sum(), case[:3]) for out in outs]
    for name, one, other in zip(("dq", "dk", "dv"), *grads, strict=True):
        assert_close(name, other, one)


def test_operator_keeps_what_it_declares(make_case):
    """torch checks the schema, the shapes and strides of the fake, and the registration of the gradient."""
    case = on_device(make_case(seed=0, n_rows=1, n_heads=1, n_tokens=9, width=4, pattern=AttentionPattern(2, 2)))
    torch.library.opcheck(
        operators.window_attention,
        (*case[:3], *[None] * 7, [1], 2, 2, 0.5, 0.0),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )


def test_no_quadratic_tensor_is_made(make_case, results):
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class Largest(TorchDispatchMode):
        n = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            self.n = max([self.n, *(x.numel() for x in tree_leaves(out) if isinstance(x, torch.Tensor))])
            return out

    pattern = AttentionPattern(4, 4, n_global=1)
    case = on_device(make_case(seed=0, n_rows=1, n_heads=1, n_tokens=100, width=8, pattern=pattern, padding="right"))
    with Largest() as largest:
        results(case, "triton")
    assert largest.n <= 4 * case.q_BHTD.numel()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("capability", [(8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0)])
@pytest.mark.parametrize("width", [16, 32, 64, 128, 256])
def test_every_device_has_a_row(dtype, capability, width):
    for tiles in tiles_for(capability, dtype, width):
        # A product of tiles has at least 16 rows, columns and terms; four keys share one draw of dropout.
        assert tiles.queries >= 16
        assert tiles.keys >= 16
        assert tiles.queries & (tiles.queries - 1) == tiles.keys & (tiles.keys - 1) == 0


def test_a_small_shared_memory_gets_small_tiles():
    lines = [tiles_for(capability, torch.bfloat16, 128) for capability in ((12, 0), (8, 9), (9, 0))]
    assert lines[0] == lines[1] != lines[2]
