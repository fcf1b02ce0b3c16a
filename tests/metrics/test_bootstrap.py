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
