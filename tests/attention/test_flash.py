"""`flash` against the oracle, with a CPU flash kernel in place of the GPU kernels."""

import itertools

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longspan.attention import AttentionPattern, GlobalRows, GlobalSlots
from longspan.attention.documents import Documents
from longspan.attention.flash import backend as flash_file
from longspan.attention.flash.backend import attend_flash, plan_of, reason_against_flash
from longspan.attention.flash.kernels import FlashFunctions
from longspan.attention.flash.layout import SequenceOffsets, window_of


def sequences(offsets: SequenceOffsets, window: tuple[int, int], n_queries: int, n_keys: int):
    """The queries, keys and window bias of each sequence."""
    for offset, n, longest in ((offsets.q, n_queries, offsets.max_q), (offsets.k, n_keys, offsets.max_k)):
        assert offset.dtype == torch.int32 and offset[0] == 0 and offset[-1] == n
        assert offset.diff().min() > 0  # kernels differ in what they make of an empty sequence
        assert offset.diff().max() == longest
    for (q0, q1), (k0, k1) in zip(
        *(itertools.pairwise(offset.tolist()) for offset in (offsets.q, offsets.k)), strict=True
    ):
        # aligned at the end, as the library does
        distance = torch.arange(k1 - k0) - torch.arange(q1 - q0)[:, None] - (k1 - k0) + (q1 - q0)
        left, right = (reach if reach >= 0 else n_queries + n_keys for reach in window)
        is_seen = (distance >= -left) & (distance <= right)
        yield slice(q0, q1), slice(k0, k1), torch.zeros(is_seen.shape).masked_fill(~is_seen, -torch.inf)


def cpu_forward(q, k, v, offsets, window, scale):
    parts = []
    for queries, keys, bias in sequences(offsets, window, len(q), len(k)):
        one = (x.transpose(0, 1)[None] for x in (q[queries], k[keys], v[keys]))
        parts.append(
            torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(*one, attn_mask=bias.to(q.dtype), scale=scale)
        )
    return torch.cat([out[0].transpose(0, 1) for out, _ in parts]), torch.cat([lse[0] for _, lse in parts], dim=1)


def cpu_backward(grad, q, k, v, out, lse, offsets, window, scale):
    assert all(x.stride(-1) == 1 for x in (grad, q, k, v, out))
    grads = [torch.empty_like(x) for x in (q, k, v)]
    for queries, keys, bias in sequences(offsets, window, len(q), len(k)):
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
    monkeypatch.setattr(flash_file, "_FUNCTIONS", FlashFunctions(cpu_forward, cpu_backward))


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_output_and_all_gradients_equal_the_oracle(data, draw_arguments, make_case, assert_equals_oracle):
    arguments = draw_arguments(
        data,
        n_tokens=[1, 2, 7, 60, 63, 64, 111],
        dtypes=[torch.float32, torch.float32, torch.bfloat16, torch.float16],
        dynamic=["none", "none", "some", "many", "all"],
    )
    assert_equals_oracle(make_case(**arguments), attend_flash)


@pytest.mark.parametrize("scale", [-0.3, 0.0, 0.5])
def test_any_scale(scale, make_case, assert_equals_oracle):
    case = make_case(
        seed=0,
        n_rows=2,
        n_heads=2,
        n_tokens=50,
        width=8,
        pattern=AttentionPattern(4, 4, n_global=1),
        padding="anywhere",
    )
    assert_equals_oracle(case, attend_flash, scale=scale)


def test_a_batch_without_any_token(make_case, results):
    case = make_case(seed=0, n_rows=2, n_heads=2, n_tokens=20, width=8, pattern=AttentionPattern(2, 2, n_global=1))
    nowhere_BT = torch.zeros(2, 20, dtype=torch.bool)
    for x in results(case._replace(masks={"is_token_BT": nowhere_BT}), attend_flash).values():
        assert not x.any()


@pytest.mark.parametrize("n_global", [0, 2])
def test_packed_documents_with_their_own_first_tokens_global(
    n_global, make_case, monkeypatch, inputs_of, assert_equals_oracle
):
    """An unpadded batch: nothing reads from the device, and no product over blocks is needed."""
    documents = Documents.of_lengths([30, 1, 2, 41, 26])
    case = make_case(
        seed=0, n_rows=1, n_heads=2, n_tokens=100, width=8, pattern=AttentionPattern(5, 3, dilation=(1, 2))
    )
    slots = GlobalSlots.first_of_documents(n_global, documents)
    if slots is not None:
        given = make_case(seed=1, n_rows=1, n_heads=2, n_tokens=100, width=8, pattern=case.pattern)
        index_BHGD = slots.index_BG[:, None, :, None].expand(1, 2, -1, 8)
        q_BHGD = given.q_BHTD.detach().gather(2, index_BHGD).requires_grad_()
        case = case._replace(global_rows=GlobalRows(slots, q_BHGD, given.k_BHTD, given.v_BHTD))
    inputs = inputs_of(case, documents=documents)
    with monkeypatch.context() as patch:
        for look in ("cpu", "item", "tolist", "nonzero", "__bool__", "__int__", "numpy"):
            patch.setattr(torch.Tensor, look, None)
        plan = plan_of(inputs)
    assert not plan.blocks and (plan.columns is not None) == (n_global > 0)
    assert plan.columns is None or plan.columns.of_queries == slice(0, 100)
    assert_equals_oracle(case, attend_flash, documents=documents)


@pytest.mark.parametrize(
    ("counts", "of_queries"),
    [([2, 1, 3, 0], slice(0, 74)), ([0, 1, 3, 1], slice(30, 100)), ([2, 0, 3, 0], None)],
)
def test_documents_without_global_tokens_have_no_columns(
    counts, of_queries, make_case, inputs_of, assert_equals_oracle
):
    """A view suffices if documents with global tokens are neighbours, as before the one padding token."""
    documents = Documents.of_lengths([30, 3, 41, 26])
    case = make_case(seed=0, n_rows=1, n_heads=2, n_tokens=100, width=8, pattern=AttentionPattern(5, 3))
    is_global_BT = torch.zeros(1, 100, dtype=torch.bool)
    for (_, start, _), n in zip(documents.bounds, counts, strict=True):
        is_global_BT[0, start : start + n] = True
    case = case._replace(masks={"is_global_BT": is_global_BT})
    columns = plan_of(inputs_of(case, documents=documents)).columns
    assert columns.of_queries == of_queries if of_queries else len(columns.of_queries) == 71
    assert_equals_oracle(case, attend_flash, documents=documents)


@pytest.mark.parametrize("first", [True, False])
def test_leading_question_tokens_are_columns(first, make_case, inputs_of, assert_equals_oracle):
    """Rows with questions of different lengths and one without, with padding in between."""
    case = make_case(seed=0, n_rows=3, n_heads=2, n_tokens=40, width=8, pattern=AttentionPattern(3, 3))
    position_T = torch.arange(40)
    is_global_BT = position_T < torch.tensor([[5], [0], [9]])
    if not first:
        is_global_BT[1, 20] = True
    masks = {"is_token_BT": position_T < torch.tensor([[40], [31], [9]]), "is_global_BT": is_global_BT}
    case = case._replace(masks=masks)
    plan = plan_of(inputs_of(case))
    assert (plan.columns is not None, len(plan.blocks) > 0) == (first, not first)
    assert_equals_oracle(case, attend_flash)


def test_global_tokens_anywhere_in_small_blocks(make_case, monkeypatch, inputs_of, assert_equals_oracle):
    monkeypatch.setattr("longspan.attention.flash.layout._MAX_SCORES", 1)
    for documents in (True, False):
        case = make_case(
            seed=0,
            n_rows=2,
            n_heads=3,
            n_tokens=150,
            width=8,
            pattern=AttentionPattern(40, 9, dilation=(1, 2, 1)),
            dynamic="some",
            documents=documents,
            padding="anywhere",
        )
        assert len(plan_of(inputs_of(case)).blocks) > 2
        assert_equals_oracle(case, attend_flash)


def test_padding_inside_rows_is_masked(make_case, inputs_of, assert_equals_oracle):
    """Padding inside a row cannot be removed, because distances count positions."""
    case = make_case(seed=0, n_rows=1, n_heads=2, n_tokens=30, width=8, pattern=AttentionPattern(4, 4, n_global=3))
    is_token_BT = torch.ones(1, 30, dtype=torch.bool)
    is_token_BT[0, [1, 10, 11]] = False
    case = case._replace(masks={"is_token_BT": is_token_BT})
    assert plan_of(inputs_of(case)).has_holes
    assert_equals_oracle(case, attend_flash)


def test_padding_has_no_effect(assert_padding_has_no_effect):
    assert_padding_has_no_effect(attend_flash)


@pytest.mark.parametrize(("n_tokens", "moves"), [(64, False), (63, True)])
def test_dilation_that_divides_the_length_moves_no_token(n_tokens, moves, make_case, inputs_of):
    case = make_case(
        seed=0, n_rows=2, n_heads=2, n_tokens=n_tokens, width=8, pattern=AttentionPattern(4, 4, dilation=4)
    )
    (group,) = plan_of(inputs_of(case)).groups
    assert (group.order is not None) == moves
    assert group.offsets.max_q == 16
    x_NHD = torch.arange(2 * n_tokens * 2 * 8).view(-1, 2, 8)
    assert moves or group.regroup(x_NHD).data_ptr() == x_NHD.data_ptr()
    assert torch.equal(group.ungroup(group.regroup(x_NHD), 2), x_NHD)
    assert torch.equal(group.ungroup_lse(group.regroup_lse(x_NHD[..., 0].mT), 2), x_NHD[..., 0].mT)


def test_covering_windows_are_passed_as_unlimited():
    offset = torch.tensor([0, 10], dtype=torch.int32)
    offsets = SequenceOffsets(offset, offset, 10, 10)
    assert window_of(AttentionPattern(9, 8), offsets) == (-1, 8)
    assert window_of(AttentionPattern(8, 9), offsets) == (8, -1)
    assert window_of(AttentionPattern(400, 0, causal=True), offsets) == (-1, 0)
    assert window_of(AttentionPattern(0, 0), SequenceOffsets(offset, offset, 1, 1)) == (-1, -1)


def test_plans_are_made_once_for_all_layers(make_case, monkeypatch, inputs_of):
    made = []
    monkeypatch.setattr(
        flash_file, "make_plan", lambda inputs, make=flash_file.make_plan: made.append(1) or make(inputs)
    )
    is_token_BT = torch.arange(60) < torch.tensor([[60], [31]])
    for seed in range(3):
        case = make_case(seed=seed, n_rows=2, n_heads=2, n_tokens=60, width=8, pattern=AttentionPattern(6, 7))
        plan_of(inputs_of(case._replace(masks={"is_token_BT": is_token_BT})))
    assert len(made) == 1
    is_token_BT[0, 50:] = False
    assert plan_of(inputs_of(case._replace(masks={"is_token_BT": is_token_BT}))).groups[0].offsets.max_q == 50


def test_no_intermediate_tensor_is_quadratic(make_case, monkeypatch, results):
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class Largest(TorchDispatchMode):
        n = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            self.n = max([self.n, *(x.numel() for x in tree_leaves(out) if isinstance(x, torch.Tensor))])
            return out

    pattern = AttentionPattern(8, 8, dilation=(1, 2), n_global=1)
    case = make_case(seed=0, n_rows=1, n_heads=2, n_tokens=2048, width=8, pattern=pattern, padding="right")
    # The kernel's other stand-in is dense.
    linear = FlashFunctions(
        lambda q, k, v, offsets, window, scale: (q + 0, q[..., 0].mT + 0),
        lambda grad, q, k, v, *others: (q + 0, k + 0, v + 0),
    )
    monkeypatch.setattr(flash_file, "_FUNCTIONS", linear)
    with Largest() as largest:
        results(case, attend_flash)
    assert largest.n <= 2 * case.q_BHTD.numel()


def test_torch_accepts_the_arguments(monkeypatch):
    """Names, order and types of arguments on a fake device: results have the right shapes."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    monkeypatch.undo()
    with FakeTensorMode():
        q, k, v = (torch.empty(n, 2, 64, dtype=torch.bfloat16, device="cuda") for n in (30, 4, 4))
        offsets = SequenceOffsets(*(torch.empty(3, dtype=torch.int32, device="cuda") for _ in range(2)), 20, 3)
        out, lse = flash_file._FUNCTIONS.forward(q, k, v, offsets, (-1, -1), 0.1)
        assert out.shape == q.shape and lse.shape == (2, 30) and lse.dtype == torch.float32
        grads = flash_file._FUNCTIONS.backward(out, q, k, v, out, lse, offsets, (5, -1), 0.1)
        assert [x.shape for x in grads] == [q.shape, k.shape, v.shape]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"device": "cpu"}, "tensors are on cpu"),
        ({"dtype": torch.float32}, "not float32"),
        ({"width": 60}, "not 60"),
        ({"width": 264}, "up to 256, not 264"),
        ({"width": 256, "has_padding": True}, "no room to mask padding"),
        ({"dropout_p": 0.1}, "no dropout"),
    ],
)
def test_unsupported_requests_are_refused(change, reason, gpu_request):
    assert reason in reason_against_flash(gpu_request._replace(**change))


def test_unsupported_devices_and_builds_are_refused(monkeypatch, gpu_request):
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert "ROCm" in reason_against_flash(gpu_request)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert reason_against_flash(gpu_request) is None  # what would be, where there is a GPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: False)
    assert "without flash attention" in reason_against_flash(gpu_request)
    monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    assert "capability 8.0" in reason_against_flash(gpu_request)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    assert reason_against_flash(gpu_request) is None
