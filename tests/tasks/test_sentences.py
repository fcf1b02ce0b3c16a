import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.tasks.question_answering.sentences import sentence_around


def around(text, answer):
    start = text.index(answer)
    first, last = sentence_around(text, start, start + len(answer))
    return text[first:last]


@pytest.mark.parametrize(
    ("text", "answer", "sentence"),
    [
        ("One. Two bees fly. Three.", "bees", "Two bees fly."),
        ("Only one", "one", "Only one"),
        ("First.\n\nA heading\n\nThe bee. End.", "heading", "A heading"),
        ("He paid 3.50 euros. She left.", "3.50", "He paid 3.50 euros."),
        ("这是第一句。蜜蜂在飞。第三句。", "蜜蜂", "蜜蜂在飞。"),
        ("यह पहला है। मधुमक्खी उड़ती है। अंत।", "मधुमक्खी", "मधुमक्खी उड़ती है।"),
        ("من هو؟ هذه نحلة. النهاية", "نحلة", "هذه نحلة."),
        ('He said "no." Then he left.', "left", "Then he left."),
        ("A b. C d. E f.", "b. C", "A b. C d."),
        ("Ends with the answer.", "answer.", "Ends with the answer."),
    ],
)
def test_sentences_of_several_scripts(text, answer, sentence):
    assert around(text, answer) == sentence


def test_text_without_full_stops_is_cut_between_words():
    sentence = around("word " * 200 + "answer " + "word " * 200, "answer")
    assert len(sentence) < 620
    assert sentence.startswith("word") and sentence.endswith("word")


@pytest.mark.parametrize("grapheme", ["👩🏽\u200d🚀", "🇸🇪", "\u1112\u1161\u11ab", "क्षि", "e\u0301"])
def test_sentences_cut_no_grapheme(grapheme):
    for n in range(5):
        sentence = around(grapheme * 200 + "x" * n + "answer" + "y" * n + grapheme * 200, "answer")
        before, after = sentence.split("x" * n + "answer" + "y" * n)
        assert set(before.split(grapheme)) == set(after.split(grapheme)) == {""}


def test_a_full_stops_variation_stays_with_its_sentence():
    assert around("这是第一句。\ufe00蜜蜂在飞。\ufe00第三句。", "蜜蜂") == "蜜蜂在飞。\ufe00"


@given(st.text(alphabet="ab .。\n!?", min_size=1, max_size=60), st.data())
def test_the_answer_is_inside(text, data):
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    first, last = sentence_around(text, start, end)
    assert 0 <= first <= start <= end <= last <= len(text)
