"""`flex` against the oracle, uncompiled on the CPU; the map of its blocks against the dense mask."""

import inspect

import pytest
import torch
import torch.nn.attention.flex_attention as library
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longspan.attention import AttentionPattern
from longspan.attention import flex as flex_file
from longspan.attention.flex import attend_flex, reason_against_flex, visible_blocks
from longspan.attention.reference import visible_pairs


@pytest.fixture(autouse=True)
def uncompiled_on_the_cpu(monkeypatch):
    """Allow the backward of uncompiled FlexAttention on a CPU, which torch refuses."""
    monkeypatch.setattr(library, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)
    monkeypatch.setattr(library, "_validate_device", lambda query, key, value: None)


DRAWN = {
    "n_tokens": [1, 2, 7, 63, 64, 111],
    "max_heads": 3,
    "dilations": (1, 1, 1, 1, 2, 3, 4),
    "n_global": (0, 0, 1, 3, 40, 90),
    "widths": [16],
    "dynamic": ["none", "none", "some", "many", "all"],
}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_output_and_all_gradients_equal_the_oracle(data, draw_arguments, make_case, assert_equals_oracle):
    arguments = draw_arguments(data, **DRAWN, dtypes=[torch.float32, torch.float32, torch.bfloat16])
    assert_equals_oracle(make_case(**arguments), attend_flex)


def listed(n_blocks, places, n_columns: int) -> torch.Tensor:
    """The numbers and indices of blocks as a dense map."""
    is_listed = torch.zeros(*places.shape[:-1], n_columns, dtype=torch.bool)
    for index in torch.cartesian_prod(*(torch.arange(n) for n in n_blocks.shape)):
        where = tuple(index.tolist())
        is_listed[where][places[where][: n_blocks[where]].long()] = True
    return is_listed


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), block=st.sampled_from([1, 4, 16, 128]))
def test_block_map_covers_visible_pairs(data, block, draw_arguments, make_case, inputs_of):
    arguments = draw_arguments(data, **DRAWN, dtypes=[torch.float32])
    pattern = arguments["pattern"]
    inputs = inputs_of(make_case(**arguments))
    T = arguments["n_tokens"]
    slots = inputs.global_slots()
    is_static = slots is None or slots.are_first
    is_global_BT = None if is_static else slots.mask(T)
    has_any, has_all = visible_blocks(inputs, is_global_BT, block)

    seen = visible_pairs(inputs)
    # of local rows: those of global tokens and of padding are thrown away
    is_row = torch.ones(seen.shape[0], T, dtype=torch.bool) if inputs.is_token_BT is None else inputs.is_token_BT
    if slots is not None:
        is_row = is_row & ~slots.mask(T)
    n_blocks = -(-T // block)
    shape = (*seen.shape[:2], n_blocks, block, n_blocks, block)
    spare = n_blocks * block - T

    def in_blocks(x, fill):
        return torch.nn.functional.pad(x, (0, spare, 0, spare), value=fill).view(shape)

    is_seen = in_blocks(seen & is_row[:, None, :, None], False)
    any_seen, all_seen = is_seen.any(dim=5).any(dim=3), in_blocks(seen | ~is_row[:, None, :, None], False)
    all_seen = all_seen.all(dim=5).all(dim=3)
    assert (any_seen <= has_any).all()
    assert (has_all <= all_seen).all()
    if not arguments["documents"] and arguments["padding"] == "none" and is_static and not pattern.n_global:
        assert torch.equal(any_seen, has_any.expand_as(any_seen))
        if block > 1 and all(d == 1 for d in pattern.dilations(arguments["n_heads"])):
            assert torch.equal(all_seen, has_all.expand_as(all_seen))


def test_the_block_mask_lists_the_map(make_case, inputs_of):
    """The block mask, for queries and for keys, equals `visible_blocks`."""
    pattern = AttentionPattern(100, 300, n_global=2)
    inputs = inputs_of(make_case(seed=0, n_rows=1, n_heads=1, n_tokens=1000, width=16, pattern=pattern))
    has_any, has_all = visible_blocks(inputs, None, 128)
    mask = flex_file._prepare(inputs).block_mask
    assert mask.BLOCK_SIZE == (128, 128) and mask.seq_lengths == (1000, 1000)
    assert torch.equal(listed(mask.kv_num_blocks, mask.kv_indices, 8), has_any & ~has_all)
    assert torch.equal(listed(mask.full_kv_num_blocks, mask.full_kv_indices, 8), has_all)
    assert torch.equal(listed(mask.q_num_blocks, mask.q_indices, 8), (has_any & ~has_all).mT)
    assert torch.equal(listed(mask.full_q_num_blocks, mask.full_q_indices, 8), has_all.mT)
    assert has_all.any()


def test_maps_are_made_once(make_case, monkeypatch, inputs_of):
    made = []
    monkeypatch.setattr(flex_file, "_make", lambda inputs, make=flex_file._make: made.append(1) or make(inputs))
    case = make_case(seed=0, n_rows=2, n_heads=2, n_tokens=60, width=16, pattern=AttentionPattern(6, 5, n_global=1))
    is_global_BT = torch.arange(60) == torch.tensor([[7], [9]])
    for masks in ({}, {"is_global_BT": is_global_BT}, {}, {"is_global_BT": is_global_BT}):
        flex_file._prepare(inputs_of(case._replace(masks=masks)))
    assert len(made) == 2
    is_global_BT[0, 8] = True  # in place: another mask
    prepared = flex_file._prepare(inputs_of(case._replace(masks={"is_global_BT": is_global_BT})))
    assert len(made) == 3 and prepared.slots.index_BG.tolist() == [[0, 7, 8], [0, 9, 0]]


def test_pattern_numbers_reach_the_compiler_as_tensors(make_case, inputs_of):
    """With plain numbers, each window would be compiled separately."""
    pattern = AttentionPattern(3, 4, dilation=(1, 2), n_global=2)
    inputs = inputs_of(make_case(seed=0, n_rows=1, n_heads=2, n_tokens=40, width=16, pattern=pattern))
    is_visible = inspect.unwrap(flex_file._prepare(inputs).block_mask.mask_mod)
    captured = inspect.getclosurevars(is_visible).nonlocals
    numbers = [*vars(captured.pop("of_tensors")).values(), *captured.values()]
    assert all(x is None or isinstance(x, bool | torch.Tensor) for x in numbers)
    assert sum(isinstance(x, torch.Tensor) for x in numbers) == 4


def test_no_tensor_of_the_map_is_quadratic(make_case, inputs_of):
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class Largest(TorchDispatchMode):
        n = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            self.n = max([self.n, *(x.numel() for x in tree_leaves(out) if isinstance(x, torch.Tensor))])
            return out

    case = make_case(
        seed=0,
        n_rows=2,
        n_heads=1,
        n_tokens=8192,
        width=16,
        pattern=AttentionPattern(256, 256),
        padding="right",
        dynamic="some",
        documents=True,
    )
    inputs = inputs_of(case)
    with Largest() as largest:
        flex_file._prepare(inputs)
    assert largest.n <= 2 * 8192 * 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"device": "cpu"}, "on cpu it has no backward"),
        ({"dtype": torch.float64}, "not float64"),
        ({"width": 8}, "head width from 16, not 8"),
        ({"dropout_p": 0.1}, "no dropout"),
    ],
)
def test_unsupported_requests_are_refused(change, reason, gpu_request):
    assert reason in reason_against_flex(gpu_request._replace(**change))


def test_missing_triton_or_capability_is_refused(monkeypatch, gpu_request):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "triton, which is not installed" in reason_against_flex(gpu_request)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert reason_against_flex(gpu_request) is None  # what would be, where there is a GPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    assert "capability 8.0" in reason_against_flex(gpu_request)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    assert reason_against_flex(gpu_request) is None


def test_padding_has_no_effect(assert_padding_has_no_effect):
    assert_padding_has_no_effect(attend_flex)
