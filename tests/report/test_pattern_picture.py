"""Pictures of attention patterns."""

import pytest

from longspan.attention import AttentionPattern
from longspan.errors import InputError
from longspan.report.pattern_picture import save_pattern_picture


def test_a_picture_is_written(tmp_path):
    path = save_pattern_picture({"": AttentionPattern(2, 2).as_array(8)}, tmp_path / "pattern.png")
    assert path == tmp_path / "pattern.png"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_nothing_to_draw_is_refused(tmp_path):
    with pytest.raises(InputError, match="no pattern to draw"):
        save_pattern_picture({}, tmp_path / "empty.png")
