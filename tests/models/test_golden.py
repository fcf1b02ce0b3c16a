"""Models compute what they computed when tests/golden was written (`python tests/golden/make.py`)."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

GOLDEN = Path(__file__).parents[1] / "golden"
TOLERANCE = 2e-3  # other processors and versions of torch round otherwise, and 20 steps let it grow


@pytest.fixture(scope="module")
def make():
    specification = importlib.util.spec_from_file_location("golden_make", GOLDEN / "make.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_logits_of_every_head(make):
    golden = dict(line.split(": ") for line in (GOLDEN / "logits.txt").read_text(encoding="utf-8").splitlines())
    found = make.make_logits()
    assert golden.keys() == found.keys()
    for head, scores in found.items():
        expected = np.array([float(x) for x in golden[head].split()])
        np.testing.assert_allclose(scores.ravel(), expected, atol=TOLERANCE, rtol=TOLERANCE, err_msg=head)


def test_losses_of_the_first_steps(make):
    golden = [float(line.split()[1]) for line in (GOLDEN / "losses.txt").read_text(encoding="utf-8").splitlines()]
    np.testing.assert_allclose(make.make_losses(), golden, atol=TOLERANCE, rtol=TOLERANCE)
