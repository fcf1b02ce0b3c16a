import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longspan.errors import InputError
from longspan.tasks.question_answering.decoding import WindowLogits, argmax_span, decode_spans, is_aligned

LETTERS = "ab cd  efg h ij klm n opq rs tuv wx yz"


def every_span(windows, context, max_answer_tokens, n_best):
    """The rule in plain loops: the oracle."""
    best = {}
    for window in windows:
        n_tokens = len(window.offsets)
        for i in range(n_tokens):
            for j in range(i, min(n_tokens, i + max_answer_tokens)):
                if window.offsets[i] is None or window.offsets[j] is None:
                    continue
                start, end = window.offsets[i][0], window.offsets[j][1]
                while start < end and context[start].isspace():
                    start += 1
                while start < end and context[end - 1].isspace():
                    end -= 1
                logit = float(window.start_T[i]) + float(window.end_T[j])
                if start < end and logit > best.get((start, end), -np.inf):
                    best[start, end] = logit
    return sorted(((span, logit) for span, logit in best.items()), key=lambda item: (-item[1], item[0]))[:n_best]


@st.composite
def documents(draw):
    """A context cut into tokens (some of them empty, doubled or with a leading space) in overlapping windows."""
    context = LETTERS[: draw(st.integers(1, len(LETTERS)))]
    cuts = [0, *sorted(draw(st.lists(st.integers(0, len(context)), max_size=12))), len(context)]
    tokens = list(itertools.pairwise(cuts))
    tokens += [tokens[-1]] * draw(st.integers(0, 1))
    size = draw(st.integers(1, len(tokens)))
    step = draw(st.integers(1, size))
    # Few distinct values, so that ties are common.
    logits = st.integers(-3, 3).map(float) | st.floats(-10, 10, width=32)
    windows = []
    for first in range(0, max(1, len(tokens) - size + step), step):
        offsets = [None] * draw(st.integers(1, 3)) + tokens[first : first + size] + [None] * draw(st.integers(0, 2))
        start_T, end_T = ([draw(logits) for _ in offsets] for _ in range(2))
        windows.append(WindowLogits(np.float32(start_T), np.float32(end_T), offsets))
    return context, windows


@settings(deadline=None, max_examples=150)
@given(documents(), st.integers(1, 8), st.integers(1, 25))
def test_equals_the_plain_loops(document, max_answer_tokens, n_best):
    context, windows = document
    decoded = decode_spans(windows, context, max_answer_tokens=max_answer_tokens, n_best=n_best)
    expected = every_span(windows, context, max_answer_tokens, n_best)
    assert [((span.start, span.end), span.logit) for span in decoded.spans] == expected
    assert all(context[span.start : span.end] == span.text and span.text for span in decoded.spans)
    assert decoded.no_answer_score == min(float(w.start_T[0]) + float(w.end_T[0]) for w in windows)
    if decoded.spans:
        scores = [span.score for span in decoded.spans]
        assert sum(scores) == pytest.approx(1)
        assert scores == sorted(scores, reverse=True)


@settings(deadline=None, max_examples=30)
@given(documents(), st.randoms())
def test_the_order_of_windows_does_not_matter(document, random):
    context, windows = document
    shuffled = list(windows)
    random.shuffle(shuffled)
    assert decode_spans(windows, context) == decode_spans(shuffled, context)


def window(offsets, start, end):
    return WindowLogits(np.float32(start), np.float32(end), offsets)


def test_neither_question_nor_special_tokens_can_be_the_answer():
    best_elsewhere = window([None, None, (0, 3), (4, 7), None], [9, 9, 0, 1, 9], [9, 9, 0, 1, 9])
    spans = decode_spans([best_elsewhere], "one two").spans
    assert {span.text for span in spans} == {"one", "two", "one two"}
    assert spans[0].text == "two"


def test_start_and_end_are_chosen_together():
    # The best end stands before the best start; independent argmax would find no span at all.
    crossed = window([None, (0, 3), (4, 7)], [0, 0, 5], [0, 6, 0])
    assert decode_spans([crossed], "one two").spans[0].text == "one"


def test_the_length_cap_counts_tokens():
    offsets = [None, (0, 1), (2, 3), (4, 5), (6, 7)]
    long = window(offsets, [0, 9, 0, 0, 0], [0, 0, 0, 0, 9])
    assert decode_spans([long], "a b c d", max_answer_tokens=4).spans[0].text == "a b c d"
    assert decode_spans([long], "a b c d", max_answer_tokens=3).spans[0].text != "a b c d"
    assert max(len(span.text) for span in decode_spans([long], "a b c d", max_answer_tokens=2).spans) == 3


def test_a_span_of_two_windows_is_listed_once_with_its_best_score():
    one = window([None, (0, 3), (4, 7)], [0, 0, 1], [0, 0, 1])
    two = window([None, (4, 7), (8, 13)], [0, 4, 0], [0, 4, 0])
    spans = decode_spans([one, two], "one two three").spans
    assert (spans[0].text, spans[0].logit) == ("two", 8)
    assert [span.text for span in spans].count("two") == 1


def test_the_no_answer_score_is_the_smallest_of_the_windows():
    sure, unsure = window([None, (0, 3)], [5, 0], [5, 0]), window([None, (4, 7)], [1, 0], [-2, 0])
    assert decode_spans([sure, unsure], "one two").no_answer_score == -1


@pytest.mark.parametrize(
    ("before", "answer", "after", "cut"),
    [
        ("in ", "\u1112\u1161\u11ab", " now", (0, 1)),
        ("an ", "👩🏽\u200d🚀", "!", (1, 2)),
        ("x", "e\u0301", "y", (1, 2)),
        ("", "🇸🇪", "🇳🇴", (0, 1)),
        ("क", "क्ष", "", (2, 3)),
    ],
)
def test_answers_end_between_graphemes(before, answer, after, cut):
    offset = (len(before) + cut[0], len(before) + cut[1])
    (span,) = decode_spans([window([None, offset], [0, 1], [0, 1])], before + answer + after).spans
    assert (span.text, span.start, span.end) == (answer, len(before), len(before) + len(answer))


def test_no_context_token_gives_no_span():
    assert decode_spans([window([None, None], [0, 1], [0, 1])], "one").spans == []


def test_a_long_window_is_scored_in_a_band():
    n_tokens = 4096
    context = "x " * n_tokens
    offsets = [None, *((2 * i, 2 * i + 1) for i in range(n_tokens))]
    random = np.random.default_rng(0)
    start_T, end_T = random.normal(size=(2, n_tokens + 1)).astype(np.float32)
    start_T[4001] = end_T[4011] = 50
    spans = decode_spans([WindowLogits(start_T, end_T, offsets)], context).spans
    assert (spans[0].start, spans[0].end) == (8000, 8021)
    assert len(spans) == 20


def test_nan_logits_are_refused():
    with pytest.raises(InputError, match="NaN"):
        decode_spans([window([None, (0, 3)], [0, float("nan")], [0, 0])], "one")


@pytest.mark.parametrize("option", ["max_answer_tokens", "n_best"])
def test_options_below_one_are_refused(option):
    with pytest.raises(InputError, match="at least 1"):
        decode_spans([window([None, (0, 3)], [0, 0], [0, 0])], "one", **{option: 0})


def test_argmax_chooses_start_and_end_without_each_other_and_without_a_mask():
    offsets = [None, (0, 3), (4, 7), None]
    assert argmax_span(window(offsets, [0, 5, 0, 0], [0, 0, 5, 0])) == (1, 2)
    assert argmax_span(window(offsets, [9, 5, 0, 0], [0, 0, 0, 9])) == (0, 3)
    assert argmax_span(window(offsets, [0, 0, 5, 0], [0, 6, 0, 0])) is None


def test_a_gold_answer_is_aligned_if_its_first_and_last_character_are_in_tokens():
    offsets = [None, (0, 3), (4, 7), None]
    assert is_aligned(offsets, 0, 7) and is_aligned(offsets, 1, 2)
    # A blank between tokens, a character behind the window, nothing at all.
    assert not is_aligned(offsets, 3, 7) and not is_aligned(offsets, 4, 8) and not is_aligned(offsets, 4, 4)
