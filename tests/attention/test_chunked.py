"""`chunked` against the oracle, and one graph of it for every length."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longspan.attention import AttentionPattern, attend


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_output_and_all_gradients_equal_the_oracle(data, draw_arguments, make_case, assert_equals_oracle):
    dtypes = [torch.float32, torch.float32, torch.float64, torch.bfloat16, torch.float16]
    arguments = draw_arguments(data, n_tokens=[1, 2, 7, 16, 17, 63, 64, 65, 111, 150], dtypes=dtypes)
    assert_equals_oracle(make_case(**arguments), "chunked")


def test_rows_of_one_dilation_without_any_mask(make_case, assert_equals_oracle):
    case = make_case(seed=0, n_rows=2, n_heads=1, n_tokens=33, width=4, pattern=AttentionPattern(3, 2, dilation=2))
    assert_equals_oracle(case, "chunked")


def test_padding_has_no_effect(assert_padding_has_no_effect):
    assert_padding_has_no_effect("chunked")


@pytest.mark.parametrize("n_global", [0, 1])
def test_scores_are_not_rounded_before_the_softmax(n_global):
    """bfloat16 has no number between 40 and 40.25; the softmax of 40 and 40.125 is 0.47 and 0.53."""
    q_BHTD, k_BHTD = torch.zeros(2, 1, 1, 2, 4, dtype=torch.bfloat16)
    q_BHTD[..., :2] = 8
    k_BHTD[..., 0] = 5
    k_BHTD[..., 1, 1] = 2**-6
    v_BHTD = torch.tensor([0.0, 1.0], dtype=torch.bfloat16)[:, None].expand(1, 1, 2, 4)
    out = attend(q_BHTD, k_BHTD, v_BHTD, AttentionPattern(1, 1, n_global=n_global), scale=1.0, backend="chunked")
    # The last row: that of a global token is for torch's own attention.
    assert out[0, 0, 1, 0].item() == pytest.approx(torch.tensor(0.125).sigmoid().item(), abs=2e-3)
