"""Global slots, and the rows of global tokens."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longspan.attention import (
    AttentionPattern,
    Documents,
    FoldedGlobalRows,
    GlobalRows,
    GlobalSlots,
    attend,
    global_rows,
)
from longspan.errors import InputError


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


def test_unused_slots_may_hold_anything(make_case, assert_close):
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


def test_global_key_in_the_window_counts_once(make_case):
    case = make_case(seed=0, n_rows=1, n_heads=1, n_tokens=8, width=4, pattern=AttentionPattern(7, 7, n_global=2))
    plain = AttentionPattern(7, 7)
    assert torch.allclose(attend(*case[:4]), attend(*case[:3], plain), atol=1e-6)


def test_empty_slots_mean_no_global_token(make_case):
    case = make_case(seed=0, n_rows=2, n_heads=2, n_tokens=30, width=8, pattern=AttentionPattern(4, 4))
    none = GlobalSlots(torch.zeros(2, 0, dtype=torch.int64), torch.zeros(2, 0, dtype=torch.bool))
    rows = GlobalRows(none, torch.zeros(2, 2, 0, 8), case.k_BHTD, case.v_BHTD)
    for backend in ("reference", "blocked"):
        assert torch.equal(attend(*case[:4], global_rows=rows, backend=backend), attend(*case[:4], backend=backend))


def folded_case(make_case, *, n_slots=3, dtype=torch.float64, documents=None, padding="none", causal=False, seed=0):
    """A call with folded global rows: q, k, v and the folded vectors as leaves, and the masks."""
    pattern = AttentionPattern(3, 0 if causal else 2, causal=causal)
    case = make_case(
        seed=seed, n_rows=3, n_heads=2, n_tokens=23, width=4, pattern=pattern, dtype=dtype, padding=padding,
        documents=documents is not None,
    )  # fmt: skip
    draw = torch.Generator().manual_seed(seed + 1)
    is_global_BT = torch.rand(3, 23, generator=draw).argsort(dim=1) < torch.tensor([[n_slots], [1], [0]])
    slots = GlobalSlots.find(is_global_BT & case.masks.get("is_token_BT", torch.tensor(True)))
    shapes = (3, 2, slots.index_BG.shape[1], 4), (3, 23, 6), (8, 6), (8, 6), (8,)
    vectors = [torch.randn(shape, generator=draw, dtype=dtype).requires_grad_() for shape in shapes]
    return case, FoldedGlobalRows(slots, *vectors)


def out_and_gradients(case, rows, leaves, **options):
    out = attend(*case[:4], **(case.masks | options), global_rows=rows)
    weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
    return [out, *torch.autograd.grad((out * weights).sum(), leaves)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    "setting",
    [
        {},
        {"padding": "right"},
        {"padding": "anywhere"},
        {"causal": True},
        {"documents": "ids"},
        {"documents": "found", "padding": "anywhere"},
        {"documents": "found", "causal": True, "padding": "left", "n_slots": 9},
    ],
    ids=str,
)
def test_folded_rows_equal_projected_ones_and_the_oracle(make_case, setting, dtype):
    case, folded = folded_case(make_case, dtype=dtype, **setting)
    if setting.get("documents") == "found":
        ids = case.masks.pop("document_BT")
        case.masks["documents"] = Documents.find(ids, case.masks.get("is_token_BT"))
    leaves = [*case[:3], *folded[1:]]
    found = out_and_gradients(case, folded, leaves, backend="blocked")
    tolerance = 1e-10 if dtype == torch.float64 else 2e-5
    for other, backend in ((folded.unfold(), "blocked"), (folded, "reference")):
        for x, true in zip(found, out_and_gradients(case, other, leaves, backend=backend), strict=True):
            torch.testing.assert_close(x, true, atol=tolerance, rtol=tolerance)


def test_folded_rows_scale_the_bias_with_dropout(make_case):
    case, folded = folded_case(make_case)
    # Once the vectors hold a 1 that the values take, once the bias does: both give the sum of the dropped weights.
    hidden_BTC = torch.cat([folded.hidden_BTC.detach()[..., :5], torch.ones(3, 23, 1, dtype=torch.float64)], dim=-1)
    folded = folded._replace(hidden_BTC=hidden_BTC, value_bias_E=torch.zeros(8, dtype=torch.float64))
    picks_EC = torch.eye(6, dtype=torch.float64)[-1:].expand(8, 6)
    outs = []
    for changed in (
        {"value_weight_EC": picks_EC},
        {"value_weight_EC": 0 * picks_EC, "value_bias_E": torch.ones(8, dtype=torch.float64)},
    ):
        torch.manual_seed(0)
        out = attend(*case[:4], global_rows=folded._replace(**changed), dropout_p=0.5, backend="blocked")
        outs.append(out[folded.slots.mask(23)[:, None].expand(3, 2, 23)])
    torch.testing.assert_close(*outs)
    assert outs[0].unique().numel() > 4


def test_unused_slots_of_folded_rows_are_harmless(make_case):
    case, folded = folded_case(make_case, documents=True)
    q_BHGD = folded.q_BHGD.detach().masked_fill(~folded.slots.is_used_BG[:, None, :, None], torch.nan)
    folded = folded._replace(q_BHGD=q_BHGD.requires_grad_())
    leaves = [*case[:3], *folded[1:]]
    assert all(x.isfinite().all() for x in out_and_gradients(case, folded, leaves, backend="blocked"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"key_weight_EC": torch.zeros(8, 5, dtype=torch.float64)},
            r"global_rows.key_weight_EC must have shape \(8, 6\)",
        ),
        ({"value_bias_E": torch.zeros(6, dtype=torch.float64)}, r"global_rows.value_bias_E must have shape \(8,\)"),
        ({"hidden_BTC": torch.zeros(3, 23, 6)}, "global_rows.hidden_BTC is torch.float32 but q_BHTD is torch.float64"),
    ],
)
def test_folded_rows_that_do_not_fit_are_named(make_case, changed, message):
    case, folded = folded_case(make_case)
    with pytest.raises(InputError, match=message):
        attend(*case[:4], global_rows=folded._replace(**changed))


@pytest.mark.parametrize("are_folded", [False, True])
def test_slots_see_only_their_document(make_case, monkeypatch, are_folded):
    """There is no mask over all slots and tokens: each document computes its own [slots x tokens]."""
    case, rows = folded_case(make_case)
    # A long row of documents, one without a global token.
    documents = Documents.of_lengths([5, 8, 10] * 3)
    flat = [x.detach().transpose(1, 2).reshape(1, 69, 2, 4).transpose(1, 2) for x in case[:3]]
    slots = GlobalSlots.find(rows.slots.mask(23).view(1, 69)).by_document(documents)
    monkeypatch.setattr(GlobalSlots, "by_document", None)
    monkeypatch.setattr(global_rows, "visible_from_slots", None)
    q_BHGD = torch.randn(1, 2, slots.index_BG.shape[1], 4, dtype=torch.float64)
    folded = FoldedGlobalRows(slots, q_BHGD, rows.hidden_BTC.reshape(1, 69, 6), *rows[3:])
    together = attend(
        *flat, case.pattern, documents=documents, global_rows=folded if are_folded else folded.unfold(),
        backend="blocked",
    )  # fmt: skip
    for (_, start, stop), (first, last) in zip(documents.bounds, slots.of_documents, strict=True):
        own = folded._replace(
            slots=GlobalSlots(slots.index_BG[:, first:last] - start, slots.is_used_BG[:, first:last]),
            q_BHGD=q_BHGD[:, :, first:last],
            hidden_BTC=folded.hidden_BTC[:, start:stop],
        )
        alone = attend(*(x[:, :, start:stop] for x in flat), case.pattern, global_rows=own, backend="reference")
        torch.testing.assert_close(together[:, :, start:stop], alone)


def test_first_positions_of_documents():
    documents = Documents.find(torch.tensor([[0, 0, 0, 1, 2, 2], [5, 5, 5, 5, 5, 5]]), torch.arange(6).expand(2, 6) > 0)
    slots = GlobalSlots.first_of_documents(2, documents)
    assert slots.index_BG.tolist() == [[1, 2, 3, 4, 5], [1, 2, 0, 0, 0]]
    assert slots.is_used_BG.sum(dim=1).tolist() == [5, 2]
    assert slots.of_documents == ((0, 2), (2, 3), (3, 5), (0, 2))
    assert slots.by_document(documents).of_documents == slots.of_documents
    assert GlobalSlots.first_of_documents(0, documents) is None


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("backend", ["reference", "blocked", "chunked"])
@pytest.mark.parametrize("setting", [{}, {"documents": True}], ids=str)
def test_hidden_states_at_padding_have_no_effect(backend, bad, setting, make_case):
    case, folded = folded_case(make_case, padding="anywhere", **setting)
    is_padding_BT1 = ~case.masks["is_token_BT"][:, :, None]
    found = []
    for value in (0.0, bad):
        hidden_BTC = folded.hidden_BTC.detach().masked_fill(is_padding_BT1, value).requires_grad_()
        rows = folded._replace(hidden_BTC=hidden_BTC)
        found.append(out_and_gradients(case, rows, [*case[:3], *rows[1:]], backend=backend))
    for true, x in zip(*found, strict=True):
        torch.testing.assert_close(x, true)


@pytest.mark.parametrize("backend", ["blocked", "chunked"])
def test_folded_scores_are_not_rounded_before_softmax(backend):
    """As in test_chunked: bfloat16 rounds 40.125 to 40."""
    q_BHGD, hidden_BTC = torch.full((1, 1, 1, 4), 8.0), torch.zeros(1, 2, 4)
    hidden_BTC[..., 0] = 5
    hidden_BTC[:, 1, 1:3] = torch.tensor([2**-6, 1.0])
    q_BHGD[..., 2:] = 0
    slots = GlobalSlots(torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1, dtype=torch.bool))
    given = (q_BHGD, hidden_BTC, torch.eye(4), torch.eye(4), torch.zeros(4))
    rows = FoldedGlobalRows(slots, *(x.bfloat16() for x in given))
    x_BHTD = torch.zeros(1, 1, 2, 4, dtype=torch.bfloat16)
    out = attend(x_BHTD, x_BHTD, x_BHTD, AttentionPattern(0, 0), global_rows=rows, scale=1.0, backend=backend)
    assert out[0, 0, 0, 2].item() == pytest.approx(torch.tensor(0.125).sigmoid().item(), abs=2e-3)
