"""`AttentionPattern`: no torch, refusals, counts and text."""

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.attention import AttentionPattern
from longspan.errors import InputError


def test_pattern_and_text_need_no_torch(tmp_path):
    program = (
        "import sys; from longspan.attention.pattern import AttentionPattern;"
        "from longspan.attention import AttentionPattern as same; assert same is AttentionPattern;"
        "p = AttentionPattern(2, 2, n_global=1); p.draw(9); p.n_visible(9);"
        "assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules, 'loaded'"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)


def test_files_do_not_hide_functions(tmp_path):
    program = (
        "import longspan.attention.call, longspan.attention.backends, longspan.attention.probabilities;"
        "from longspan.attention import attend, select, explain, attention_weights, GlobalRows, GlobalSlots;"
        "assert all(map(callable, (attend, select, explain, attention_weights)))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)


@given(
    left=st.integers(0, 12),
    right=st.integers(0, 12),
    dilations=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    causal=st.booleans(),
    n_global=st.integers(0, 30),
    n_tokens=st.integers(1, 25),
)
def test_n_visible_counts_visible_pairs(left, right, dilations, causal, n_global, n_tokens):
    pattern = AttentionPattern(left, 0 if causal else right, tuple(dilations), causal, n_global)
    query, key = np.arange(n_tokens)[:, None], np.arange(n_tokens)
    counted = sum(int(pattern.visible(query, key, dilation=d).sum()) for d in dilations)
    assert pattern.n_visible(n_tokens, len(dilations)) == counted


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"left": -1, "right": 1}, "left must be a whole number from 0, not -1"),
        ({"left": 1, "right": 1.5}, "right must be a whole number from 0, not 1.5"),
        ({"left": 1, "right": 1, "n_global": -2}, "n_global"),
        ({"left": 1, "right": 1, "dilation": 0}, "dilation must be a whole number from 1, or one for each head, not 0"),
        ({"left": 1, "right": 1, "dilation": ()}, "dilation"),
        ({"left": 1, "right": 1, "dilation": (1, -1)}, "dilation"),
        ({"left": 1, "right": 1, "causal": True}, "sees nothing to the right"),
    ],
)
def test_impossible_patterns_are_refused(arguments, message, unchecked_shapes):
    with pytest.raises(InputError, match=message):
        AttentionPattern(**arguments)


@pytest.mark.parametrize("window", [0, -2, 3, 2.0, True])
def test_attention_window_must_be_even_and_positive(window, unchecked_shapes):
    with pytest.raises(InputError, match="attention_window"):
        AttentionPattern.from_attention_window(window)


def test_attention_window_counts_both_sides():
    assert AttentionPattern.from_attention_window(512) == AttentionPattern(256, 256)
    assert AttentionPattern.from_attention_window(8, causal=True) == AttentionPattern(4, 0, causal=True)


def test_dilations_must_match_the_heads():
    with pytest.raises(InputError, match="dilations for 2 heads, the tensors have 3"):
        AttentionPattern(1, 1, dilation=(1, 2)).dilations(3)


def test_text_shows_window_global_and_nothing():
    drawn = AttentionPattern(1, 1, dilation=2, n_global=1).draw(6)
    assert drawn.split("\n") == [
        "■ ○ ■ ○ ○ ○",
        "○ ■ · ■ · ·",
        "■ · ■ · ■ ·",
        "○ ■ · ■ · ■",
        "○ · ■ · ■ ·",
        "○ · · ■ · ■",
    ]


def test_no_tokens_are_not_drawn():
    with pytest.raises(InputError, match="at least one token, not 0"):
        AttentionPattern(1, 1).draw(0)


def test_figure_2_has_the_papers_four_panels():
    pictures = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "pictures.py"))
    drawn = {title: pattern.as_array(24) for title, pattern in pictures["PATTERNS"].items()}
    assert list(drawn) == ["full attention", "sliding window", "dilated sliding window", "global + sliding window"]
    assert (drawn["full attention"] > 0).all()
    assert np.array_equal(drawn["dilated sliding window"][12].nonzero()[0], [6, 8, 10, 12, 14, 16, 18])
    assert (drawn["global + sliding window"][:2] > 0).all() and (drawn["global + sliding window"][:, :2] > 0).all()
