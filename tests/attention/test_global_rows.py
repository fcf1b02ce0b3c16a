"""Global slots, and the rows of global tokens."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from longspan.attention import AttentionPattern, GlobalRows, GlobalSlots, attend


@given(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=4))
def test_find_and_mask_are_inverse(rows):
    is_global_BT = torch.tensor(rows)
    slots = GlobalSlots.find(is_global_BT)
    if slots is None:
        assert not is_global_BT.any()
        return
    assert torch.equal(slots.mask(6), is_global_BT)
    for index_G, is_used_G in zip(slots.index_BG, slots.is_used_BG, strict=True):
        used = index_G[is_used_G]
        assert torch.equal(used, used.sort().values)
        assert (
            not index_G[~is_used_G].any()
            and not is_used_G.sort(descending=True, stable=True).indices.diff().lt(0).any()
        )


def test_first_skips_padding_and_stays_in_the_row():
    is_token_BT = torch.tensor([[True, True, True], [False, True, True]])
    slots = GlobalSlots.first(2, is_token_BT)
    assert slots.index_BG.tolist() == [[0, 1], [0, 1]]
    assert slots.is_used_BG.tolist() == [[True, True], [False, True]]
    assert GlobalSlots.first(9, is_token_BT).index_BG.shape == (2, 3)
    assert GlobalSlots.first(0, is_token_BT) is None


def test_static_slots_equal_the_same_tokens_found(make_case, assert_close):
    pattern = AttentionPattern(4, 4, n_global=3)
    case = make_case(seed=0, n_rows=3, n_heads=2, n_tokens=40, width=8, pattern=pattern, padding="left")
    is_token_BT = torch.arange(40) >= torch.tensor([[0], [2], [30]])
    q, k, v = (torch.randn(3, 2, 40, 8) for _ in range(3))
    outs = []
    for slots in (GlobalSlots.first(3, is_token_BT), GlobalSlots.find((torch.arange(40) < 3) & is_token_BT)):
        q_BHGD = q.gather(2, slots.index_BG[:, None, :, None].expand(-1, 2, -1, 8))
        rows = GlobalRows(slots, q_BHGD, k, v)
        outs.append(attend(*case[:4], is_token_BT=is_token_BT, global_rows=rows, backend="blocked"))
    assert_close("out", *outs)


def test_unused_slots_are_harmless_whatever_they_hold(make_case, assert_close):
    case = make_case(seed=0, n_rows=2, n_heads=2, n_tokens=30, width=8, pattern=AttentionPattern(4, 4))
    slots = GlobalSlots(torch.tensor([[0, 7], [0, 0]]), torch.tensor([[True, True], [True, False]]))
    q_BHGD = torch.randn(2, 2, 2, 8)
    q_BHGD[1, :, 1] = torch.nan
    q_BHGD.requires_grad_()
    k_BHTD, v_BHTD = torch.randn(2, 2, 2, 30, 8, requires_grad=True)
    out = attend(*case[:4], global_rows=GlobalRows(slots, q_BHGD, k_BHTD, v_BHTD), backend="blocked")
    grads = torch.autograd.grad(out.sum(), [*case[:3], q_BHGD, k_BHTD, v_BHTD])
    assert out.isfinite().all() and all(grad.isfinite().all() for grad in grads)
    fewer = GlobalSlots(slots.index_BG[1:, :1], slots.is_used_BG[1:, :1])
    alone = GlobalRows(fewer, q_BHGD[1:, :, :1], k_BHTD[1:], v_BHTD[1:])
    assert_close("out", out[1:], attend(*(x[1:] for x in case[:3]), case.pattern, global_rows=alone))


def test_a_token_is_seen_once_though_it_is_near_and_global(make_case):
    case = make_case(seed=0, n_rows=1, n_heads=1, n_tokens=8, width=4, pattern=AttentionPattern(7, 7, n_global=2))
    plain = AttentionPattern(7, 7)
    assert torch.allclose(attend(*case[:4]), attend(*case[:3], plain), atol=1e-6)


def test_an_empty_set_of_slots_is_no_global_token(make_case):
    case = make_case(seed=0, n_rows=2, n_heads=2, n_tokens=30, width=8, pattern=AttentionPattern(4, 4))
    none = GlobalSlots(torch.zeros(2, 0, dtype=torch.int64), torch.zeros(2, 0, dtype=torch.bool))
    rows = GlobalRows(none, torch.zeros(2, 2, 0, 8), case.k_BHTD, case.v_BHTD)
    for backend in ("reference", "blocked"):
        assert torch.equal(attend(*case[:4], global_rows=rows, backend=backend), attend(*case[:4], backend=backend))
