"""Patterns as text and as pictures."""

import numpy as np
import pytest

from longspan.attention import AttentionPattern
from longspan.errors import InputError
from longspan.report.pattern_picture import cells, figure_2, save_picture


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


def test_a_picture_is_written_beside_the_text(tmp_path):
    pattern = AttentionPattern(2, 2)
    assert pattern.draw(8, path=tmp_path / "pattern.png") == pattern.draw(8)
    assert (tmp_path / "pattern.png").read_bytes().startswith(b"\x89PNG")


def test_figure_2_has_the_papers_four_panels(tmp_path):
    drawn = {name: cells(pattern, 24) for name, pattern in figure_2().items()}
    assert list(drawn) == ["full attention", "sliding window", "dilated sliding window", "global + sliding window"]
    assert (drawn["full attention"] > 0).all()
    assert np.array_equal(drawn["dilated sliding window"][12].nonzero()[0], [6, 8, 10, 12, 14, 16, 18])
    assert (drawn["global + sliding window"][:2] > 0).all() and (drawn["global + sliding window"][:, :2] > 0).all()
    save_picture(figure_2(), 24, tmp_path / "figure.png")


def test_nothing_to_draw_is_refused(tmp_path):
    with pytest.raises(InputError, match="at least one token, not 0"):
        AttentionPattern(1, 1).draw(0)
    with pytest.raises(InputError, match="no pattern to draw"):
        save_picture({}, 5, tmp_path / "empty.png")
