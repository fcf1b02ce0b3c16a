import unicodedata
from itertools import accumulate

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from longspan.graphemes import MOST_CHARACTERS, grapheme_end, grapheme_start, split_graphemes, whole_graphemes

GRAPHEMES = {
    "Korean in NFD": unicodedata.normalize("NFD", "관"),
    "Korean with an old vowel": "\u1100\u119e\u11a8",
    "Hindi conjunct": "क्षि",
    "Hindi conjunct with a joiner": "क्\u200dष",
    "Bengali": "ক্ষো",
    "Tamil in NFD": "கொ",
    "Thai": "กำ",
    "Thai tone": "ที่",
    "Khmer": "ខ្មែ",
    "Burmese": "က္က",
    "emoji with joiners": "👩🏽\u200d🚀",
    "skin tone": "👍🏿",
    "flag": "🇸🇪",
    "flag of tags": "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "keycap": "1\ufe0f\u20e3",
    "ideographic variation": "葛\U000e0100",
    "marks": "e\u0323\u0301",
    "Hebrew points": "שָׁ",
    "Arabic number sign": "\u06005",
}


@pytest.mark.parametrize("grapheme", GRAPHEMES.values(), ids=GRAPHEMES)
@pytest.mark.parametrize(("before", "after"), [("", ""), ("a ", " b"), ("क", "क"), ("🇫🇮", "🇫🇮"), ("가", "나")])
def test_a_grapheme_is_kept_whole(grapheme, before, after):
    text = before + grapheme + after
    first, last = len(before), len(before) + len(grapheme)
    for place in range(first, last):
        assert grapheme_start(text, place) == first
        assert grapheme_end(text, place + 1) == last
        assert whole_graphemes(text, place, place + 1) == (first, last)


LETTERS = "ab \r\n\u0301\u200d\ufe0f\u20e31कष्ि\u0600각ᄀ\u1161\u11a8กำ👩🏽🚀🇸🇪\u1039က"


@given(st.text(LETTERS, max_size=24))
def test_a_neighbourhood_tells_as_much_as_the_text(text):
    ends = [0, *accumulate(len(part) for part in regex.findall(r"\X", text))]
    for place in range(len(text) + 1):
        assert grapheme_start(text, place) == max(end for end in ends if end <= place)
        assert grapheme_end(text, place) == min(end for end in ends if end >= place)
    assert [start for start, _ in split_graphemes(text)] == ends[:-1]


def test_all_flags_in_a_row_are_told_apart():
    text = "🇸🇪🇳🇴" * 129
    assert whole_graphemes(text, 513, 515) == (512, 516)


@pytest.mark.parametrize("text", ["e" + "\u0301" * 3_000_000, "🇸" * 3_000_000], ids=["marks", "flags"])
def test_endless_graphemes_cost_no_time(text):
    for place in (5 * MOST_CHARACTERS, 1_500_001):
        assert whole_graphemes(text, place, place) == (place, place)
