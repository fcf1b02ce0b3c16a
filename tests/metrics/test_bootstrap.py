import numpy as np
import pytest

from longspan.errors import InputError
from longspan.metrics import paired_bootstrap


def test_equal_systems_do_not_differ():
    assert paired_bootstrap([1, 0, 1], [1, 0, 1]) == (0, 0, 0, 1)


def test_a_clear_difference_is_seen_and_antisymmetric():
    random = np.random.default_rng(0)
    a, b = random.normal(1, 1, 200), random.normal(0, 1, 200)
    result, mirrored = paired_bootstrap(list(a), list(b)), paired_bootstrap(list(b), list(a))
    assert result.low < result.difference < result.high
    assert result.low > 0 and result.p_value < 0.05
    assert mirrored.difference == pytest.approx(-result.difference)
    assert mirrored.low == pytest.approx(-result.high)


def test_the_seed_decides():
    a, b = [1, 0, 1, 1, 0], [0, 0, 1, 0, 1]
    assert paired_bootstrap(a, b, seed=3) == paired_bootstrap(a, b, seed=3)


@pytest.mark.parametrize(
    ("a", "b", "n", "message"), [([1], [], 9, "same questions"), ([], [], 9, "no questions"), ([1], [1], 0, "n is 0")]
)
def test_wrong_input_is_refused(a, b, n, message):
    with pytest.raises(InputError, match=message):
        paired_bootstrap(a, b, n=n)


def test_scores_of_one_group_are_drawn_together():
    a, b = [10.0, 0.0, 30.0, 5.0], [0.0, 0.0, 10.0, 10.0]
    # Each question in three languages alike: no further evidence.
    once = paired_bootstrap(a, b)
    thrice = paired_bootstrap(a * 3, b * 3, groups=[*"wxyz"] * 3)
    assert thrice == pytest.approx(once)
    apart = paired_bootstrap(a * 3, b * 3)
    assert apart.high - apart.low < thrice.high - thrice.low
    assert paired_bootstrap(a, b, groups=[*"wwxx"]).difference == once.difference
    with pytest.raises(InputError, match="3 groups for 4 scores"):
        paired_bootstrap(a, b, groups=[*"wxy"])
