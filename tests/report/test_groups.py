"""Sets that share members, joined."""

from longspan.report.groups import connected


def test_a_later_set_joins_two_earlier_ones():
    assert connected([["a"], ["b"], ["c", "d"], ["e", "a"], ["a", "c"]]) == [{"a", "c", "d", "e"}, {"b"}]
    assert connected([]) == []
