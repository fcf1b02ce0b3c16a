"""Every option that is a number has a range, which is checked before the verb begins."""

import argparse
import importlib

import pytest

from longspan.cli.main import VERBS, main
from longspan.cli.number_options import above, at_least, between
from longspan.errors import InputError

# Seeds may be any whole number.
UNBOUNDED = {"shuffle_seed", "needle_seed", "training_seed"}


@pytest.mark.parametrize("verb", VERBS)
def test_every_number_has_a_range(verb):
    parser = argparse.ArgumentParser()
    importlib.import_module(f"longspan.cli.{verb}").add_arguments(parser)
    numbers = {action.dest: action for action in parser._actions if action.type in (int, float)}
    assert {name for name, action in numbers.items() if not hasattr(action, "_smallest")} <= UNBOUNDED


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("predict --document text.txt --batch_size 0", "--batch_size is 0; it must be at least 1"),
        ("predict --document text.txt --overlap -1", "--overlap is -1; it must be at least 0"),
        ("evaluate model --data squad --limit 0", "--limit is 0; it must be at least 1"),
        ("evaluate model --data needle --needle_depths 0 1.5", "--needle_depths is 1.5; it must be from 0 to 1"),
        ("bench --repeats 0", "--repeats is 0; it must be at least 1"),
        ("bench --seconds nan", "--seconds is nan; it must be above 0"),
        ("extend source destination --max_tokens 0", "--max_tokens is 0; it must be at least 1"),
        ("export model destination --opset -9", "--opset is -9; it must be at least 1"),
        ("quickstart --minutes inf", "--minutes is inf; it must be above 0"),
    ],
)
def test_a_number_out_of_its_range(words, message, capsys):
    assert main(words.split()) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_numbers_within_their_ranges():
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, action=at_least(1), nargs="+", default=[7])
    parser.add_argument("--share", type=float, action=between(0, 1))
    parser.add_argument("--seconds", type=float, action=above(0))
    assert parser.parse_args([]).n == [7]
    found = parser.parse_args(["--n", "1", "2", "--share", "1", "--seconds", "1e-9"])
    assert (found.n, found.share, found.seconds) == ([1, 2], 1.0, 1e-9)
    with pytest.raises(InputError, match="--n is 0"):
        parser.parse_args(["--n", "1", "0"])
