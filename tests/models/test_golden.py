"""Models compute what they computed when tests/golden was written (`python tests/golden/make.py`)."""

import importlib.util
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def make():
    specification = importlib.util.spec_from_file_location("golden_make", GOLDEN / "make.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_logits_of_every_head(make):
    make.golden_file.assert_golden("logits.txt", make.make_logits())


def test_losses_of_the_first_steps(make):
    losses = make.make_losses()
    assert len(losses) == 20
    make.golden_file.assert_golden("losses.txt", losses)
