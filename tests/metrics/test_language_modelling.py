import math

import numpy as np
import pytest

from longspan.metrics.language_modelling import LossSums


def sums_of(nats, positions, characters, n_positions=8):
    sums = LossSums(n_positions)
    sums.add(np.array(nats), np.array(positions), np.array(characters))
    return sums


def test_units():
    sums = sums_of([math.log(2), math.log(8)], [0, 5], [4, 1])
    assert sums.loss == pytest.approx(math.log(16) / 2)
    assert sums.bits_per_token == pytest.approx(2)
    assert sums.bits_per_character == pytest.approx(4 / 5)


def test_ranges_of_positions_hold_their_own_tokens():
    sums = sums_of([1.0, 3.0, 5.0], [0, 1, 7], [1, 1, 1])
    assert sums.loss_by_position(4) == {"0-1": 2.0, "6-7": 5.0}
    assert sums.loss_by_position(100).keys() == {"0-0", "1-1", "7-7"}


def test_merged_sums_are_those_of_all_tokens():
    whole = sums_of([1.0, 2.0, 4.0], [0, 3, 3], [1, 2, 3])
    parts = sums_of([1.0], [0], [1])
    parts.merge(sums_of([2.0, 4.0], [3, 3], [2, 3]))
    assert (parts.loss, parts.n_tokens, parts.n_characters) == (whole.loss, whole.n_tokens, whole.n_characters)
    assert parts.loss_by_position() == whole.loss_by_position()


def test_nothing_is_no_number():
    assert math.isnan(LossSums(4).loss)
    assert LossSums(4).bits_per_character is None
