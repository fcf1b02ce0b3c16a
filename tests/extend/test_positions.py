import pytest
import torch

from longspan.errors import InputError
from longspan.extend.positions import extend_positions, require_positions

TRAINED = torch.arange(12.0).reshape(6, 2) ** 2


@pytest.mark.parametrize("max_tokens", [6, 7, 12, 13, 40])
def test_copied_rows_repeat_the_trained_ones_at_any_length(max_tokens):
    rows = extend_positions(TRAINED, max_tokens, "copy")
    assert rows.shape == (max_tokens, 2)
    for p in range(max_tokens):
        assert torch.equal(rows[p], TRAINED[p % 6])
    assert rows.data_ptr() != TRAINED.data_ptr()


def test_interpolated_rows_lie_between_the_trained_ones():
    rows = extend_positions(TRAINED, 11, "interpolate")
    assert torch.allclose(rows[::2], TRAINED)
    assert torch.allclose(rows[1::2], (TRAINED[:-1] + TRAINED[1:]) / 2)


@pytest.mark.parametrize("max_tokens", [6, 17])
def test_interpolation_keeps_both_ends(max_tokens):
    rows = extend_positions(TRAINED, max_tokens, "interpolate")
    assert torch.allclose(rows[[0, -1]], TRAINED[[0, -1]])


def test_one_trained_row_can_be_stretched():
    assert torch.equal(extend_positions(TRAINED[:1], 3, "interpolate"), TRAINED[:1].expand(3, 2))


def test_random_rows_come_after_the_trained_ones_and_follow_the_generator():
    rows = extend_positions(TRAINED, 2006, "random", initializer_range=0.5, generator=torch.Generator().manual_seed(3))
    assert torch.equal(rows[:6], TRAINED)
    assert abs(rows[6:].std().item() - 0.5) < 0.05
    again = extend_positions(TRAINED, 2006, "random", initializer_range=0.5, generator=torch.Generator().manual_seed(3))
    assert torch.equal(rows, again)


@pytest.mark.parametrize("positions", ["copy", "interpolate", "random"])
def test_the_dtype_stays(positions):
    assert extend_positions(TRAINED.half(), 9, positions).dtype == torch.float16


def test_an_unknown_way_is_named():
    with pytest.raises(InputError, match="positions must be one of copy, interpolate, random, not 'rope'"):
        require_positions("rope")
