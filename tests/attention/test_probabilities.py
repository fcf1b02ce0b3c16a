"""Attention probabilities equal those of the oracle, in transformers' layout."""

import pytest
import torch

from longspan.attention import AttentionPattern, GlobalRows, attention_weights
from longspan.attention.call import check_inputs
from longspan.attention.reference import reference_probabilities


@pytest.mark.parametrize(
    ("pattern", "options"),
    [
        (AttentionPattern(5, 3), {}),
        (AttentionPattern(5, 3, dilation=(1, 3)), {"padding": "right"}),
        (AttentionPattern(2, 2, n_global=2), {"padding": "left"}),
        (AttentionPattern(4, 4), {"dynamic": "some", "padding": "anywhere"}),
        (AttentionPattern(80, 90, dilation=2), {"dynamic": "some", "documents": True}),
        (AttentionPattern(6, 0, causal=True, n_global=1), {"dynamic": "some", "projections": True, "padding": "right"}),
    ],
)
def test_probabilities_equal_the_oracle(pattern, options, make_case):
    case = make_case(seed=3, n_rows=2, n_heads=2, n_tokens=100, width=8, pattern=pattern, **options)
    masks = {"is_token_BT": None, "is_global_BT": None, "document_BT": None, **case.masks}
    inputs = check_inputs(*case[:4], **masks, global_rows=case.global_rows, scale=None, dropout_p=0.0)
    true_BHTT = reference_probabilities(inputs)
    local_BHTS, global_BHGT = attention_weights(
        case.q_BHTD, case.k_BHTD, pattern, **masks, global_rows=case.global_rows
    )

    slots = inputs.global_slots()
    n_slots = 0 if slots is None else slots.index_BG.shape[1]
    W = pattern.left + 1 + pattern.right
    assert local_BHTS.shape == (2, 2, 100, n_slots + W)
    rebuilt_BHTT = torch.zeros_like(true_BHTT)
    for head, dilation in enumerate(pattern.dilations(2)):
        for column in range(W):
            shift = (column - pattern.left) * dilation
            for query in range(max(0, -shift), min(100, 100 - shift)):
                rebuilt_BHTT[:, head, query, query + shift] += local_BHTS[:, head, query, n_slots + column]
    for slot in range(n_slots):
        for row in range(2):
            position = int(slots.index_BG[row, slot])
            rebuilt_BHTT[row, :, :, position] += local_BHTS[row, :, :, slot]
            if slots.is_used_BG[row, slot]:
                assert not rebuilt_BHTT[row, :, position].any()
                rebuilt_BHTT[row, :, position] += global_BHGT[row, :, slot]
            else:
                assert not global_BHGT[row, :, slot].any()
    assert torch.allclose(rebuilt_BHTT, true_BHTT, atol=1e-6)
    assert (global_BHGT is None) == (slots is None)


def test_memory_is_linear_in_tokens(make_case):
    case = make_case(seed=0, n_rows=1, n_heads=1, n_tokens=2000, width=4, pattern=AttentionPattern(3, 3))
    local_BHTS, nothing = attention_weights(case.q_BHTD, case.k_BHTD, case.pattern)
    assert local_BHTS.shape == (1, 1, 2000, 7) and nothing is None
    assert torch.allclose(local_BHTS.sum(dim=-1), torch.ones(()))


def test_values_of_global_rows_are_ignored(make_case):
    case = make_case(
        seed=0,
        n_rows=1,
        n_heads=1,
        n_tokens=20,
        width=4,
        pattern=AttentionPattern(3, 3),
        dynamic="many",
        projections=True,
    )
    rows = GlobalRows(*case.global_rows[:3], torch.full_like(case.v_BHTD, torch.nan))
    assert all(x.isfinite().all() for x in attention_weights(*case[:2], case.pattern, global_rows=rows))
