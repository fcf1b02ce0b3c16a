import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"

# What each prints when it did what it says.
SHOWS = {
    "attention_patterns": "changing token 1000 moves the output of tokens [0, 998, 999, 1000, 1001, 1002]",
    "extend_your_own": "transformers against longspan",
    "long_classification": "long model, all 600 tokens:  accuracy 1.00",
}


def test_every_example_is_run():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(SHOWS)


@pytest.mark.parametrize("name", SHOWS)
@pytest.mark.filterwarnings("ignore")  # an example is a program of its own: libraries may warn there
def test_example(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert SHOWS[name] in capsys.readouterr().out
