import unicodedata
from itertools import accumulate

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from longspan.data.qa import GoldAnswer, QaExample, make_qa_features
from longspan.errors import InputError


def example(context, answer=None, *, question="Where does Anna live?", start=None, identifier="q"):
    answers = ()
    if answer is not None:
        answers = (GoldAnswer(answer, context.index(answer) if start is None else start),)
    return QaExample(id=identifier, question=question, context=context, answers=answers)


def n_before_the_document(tokenizer, question):
    """Tokens of a window without its part of the document."""
    return len(tokenizer(question, "x")["input_ids"]) - len(tokenizer("x", add_special_tokens=False)["input_ids"])


LONG = " ".join(f"Anna lives in Oslo, {i}; it is big." for i in range(40))


def test_one_window_equals_the_tokenizers_own_pair(tokenizer):
    row = example("Anna lives in Oslo, the capital.")
    (feature,) = make_qa_features([row], tokenizer, max_length=200, overlap=20, with_labels=False)
    own = tokenizer(row.question, row.context)
    assert feature.input_ids == own["input_ids"]
    assert feature.attention_mask == own["attention_mask"]
    assert feature.token_type_ids == own.get("token_type_ids")
    sequence_ids = own.encodings[0].sequence_ids
    assert [offset is not None for offset in feature.offsets] == [part == 1 for part in sequence_ids]
    assert (feature.start_position, feature.window_index, feature.n_windows) == (None, 0, 1)
    first_separator = feature.input_ids.index(tokenizer.sep_token_id)
    assert feature.is_question == [i < first_separator for i in range(len(feature.input_ids))]


@pytest.mark.parametrize(("max_length", "overlap"), [(64, 16), (50, 0), (61, 7)])
def test_windows_equal_the_tokenizers_own_overflow(tokenizer, max_length, overlap):
    row = example(LONG)
    features = make_qa_features([row], tokenizer, max_length=max_length, overlap=overlap, with_labels=False)
    own = tokenizer(
        row.question,
        row.context,
        max_length=max_length,
        stride=overlap,
        truncation="only_second",
        return_overflowing_tokens=True,
    )
    assert [feature.input_ids for feature in features] == own["input_ids"]
    assert {feature.n_windows for feature in features} == {len(features)}
    assert [feature.window_index for feature in features] == list(range(len(features)))
    assert features.lengths.tolist() == [len(feature.input_ids) for feature in features]


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_tokenizers_own_settings_play_no_part_and_stay(tokenizer, side):
    rows = [example(LONG, "39")]
    expected = list(make_qa_features(rows, tokenizer, max_length=64, overlap=16, with_labels=True))
    padding_side, truncation_side = tokenizer.padding_side, tokenizer.truncation_side
    tokenizer.padding_side = tokenizer.truncation_side = side
    backend = tokenizer.backend_tokenizer
    backend.enable_truncation(8, direction=side)
    backend.enable_padding(direction=side, length=9)
    try:
        assert list(make_qa_features(rows, tokenizer, max_length=64, overlap=16, with_labels=True)) == expected
        assert backend.truncation["max_length"] == 8
        assert backend.padding["length"] == 9
    finally:
        backend.no_truncation()
        backend.no_padding()
        tokenizer.padding_side, tokenizer.truncation_side = padding_side, truncation_side


def visible(text):
    return [character for character in text.strip() if unicodedata.category(character) != "Mn"]


ALPHABET = "ab Oslo\n\t½ﬁé北京।😀e\u0301\u00a0."


@given(st.text(ALPHABET, min_size=1, max_size=60), st.integers(0, 5), st.data())
def test_windows_cover_every_token_and_labels_hold_the_answer(tokenizers, context, overlap, data):
    tokenizer = tokenizers[data.draw(st.sampled_from(sorted(tokenizers)))]
    if not context.strip():
        context = "x" + context
    start = data.draw(st.integers(0, len(context) - 1))
    end = data.draw(st.integers(start + 1, len(context)))
    row = example(context, context[start:end], question="a?", start=start)
    room = data.draw(st.integers(6, 20))
    n_frame = n_before_the_document(tokenizer, "a?")
    features = make_qa_features([row], tokenizer, max_length=n_frame + room, overlap=overlap, with_labels=True)

    whole = tokenizer(context, add_special_tokens=False)["input_ids"]
    covered: dict[int, int] = {}
    for k, feature in enumerate(features):
        tokens = [i for i, offset in enumerate(feature.offsets) if offset is not None]
        for i, token in enumerate(feature.input_ids[tokens[0] : tokens[-1] + 1] if tokens else []):
            covered[k * (room - overlap) + i] = token
    assert covered == dict(enumerate(whole))

    held = [feature for feature in features if feature.start_position]
    assert features.counts.get("answers_without_window", 0) == (not held)
    for feature in held:
        spans = feature.offsets[feature.start_position : feature.end_position + 1]
        assert spans[0] is not None and spans[-1] is not None
        # Blanks at the answer's ends belong to no token, and marks that a tokenizer takes away need not.
        assert spans[0][0] <= start or not visible(context[start : spans[0][0]])
        assert spans[-1][1] >= end or not visible(context[spans[-1][1] : end])
        assert spans[0][1] > start and spans[-1][0] < end


@pytest.mark.parametrize("answer", ["Oslo", "Anna lives", "½", "ﬁne", "北京", "दिल्ली", "Ünïcödé", "e\u0301", "big."])
def test_labels_point_at_the_answer(tokenizer, answer):
    context = "Anna lives in Oslo, 北京 and नई दिल्ली with ﬁne Ünïcödé, ½ cup; e\u0301 it is big."
    (feature,) = make_qa_features([example(context, answer)], tokenizer, max_length=300, overlap=9, with_labels=True)
    start, end = feature.offsets[feature.start_position], feature.offsets[feature.end_position]
    assert answer in context[start[0] : end[1]]
    assert len(context[start[0] : end[1]]) <= len(answer) + 8


GRAPHEMES = [
    unicodedata.normalize("NFD", "박물관"),
    "दिल्ली",
    "क्षत्रि",
    "กำ",
    "ខ្មែ",
    "👩🏽\u200d🚀",
    "🇸🇪",
    "1\ufe0f\u20e3",
    "葛\U000e0100",
    "e\u0323\u0301",
]


@pytest.mark.parametrize("answer", GRAPHEMES)
@pytest.mark.parametrize("around", ["big {} is", "big{}is", "{0}{0}{0}"])
def test_labels_and_offsets_hold_whole_graphemes(tokenizer, answer, around):
    context = around.format(answer) + " Oslo."
    row = example(context, answer)
    (feature,) = make_qa_features([row], tokenizer, max_length=300, overlap=9, with_labels=True)
    start, end = feature.offsets[feature.start_position], feature.offsets[feature.end_position]
    assert answer in context[start[0] : end[1]]
    ends = {0, *accumulate(len(part) for part in regex.findall(r"\X", context))}
    assert all(place in ends for offset in feature.offsets if offset is not None for place in offset)


def test_a_gold_answer_inside_a_grapheme_labels_all_of_it(tokenizer):
    context = "big e\u0323\u0301 is"
    (feature,) = make_qa_features([example(context, "\u0323")], tokenizer, max_length=99, overlap=9, with_labels=True)
    assert context[slice(*feature.offsets[feature.start_position])] == "e\u0323\u0301"


def test_offsets_hold_no_blanks_at_their_ends(tokenizer):
    context = "  Anna   lives in\nOslo "
    (feature,) = make_qa_features([example(context)], tokenizer, max_length=99, overlap=9, with_labels=False)
    spans = [context[offset[0] : offset[1]] for offset in feature.offsets if offset is not None]
    assert all(span == span.strip() or not span.strip() for span in spans)


def test_windows_without_the_answer_point_at_the_first_token(tokenizer):
    features = make_qa_features([example(LONG, "39")], tokenizer, max_length=64, overlap=16, with_labels=True)
    for feature in features[:-3]:
        assert (feature.start_position, feature.end_position) == (0, 0)
    assert features[-1].start_position > 0
    assert features.counts == {"questions": 1, "windows": len(features)}


def test_what_cannot_be_labelled_is_counted(tokenizer):
    lost = QaExample(id="l", question="?", context="Oslo", answers=(GoldAnswer("Rome", None),))
    second = QaExample(id="s", question="?", context="Oslo", answers=(GoldAnswer("Rome", None), GoldAnswer("Oslo", 0)))
    none = example("Oslo")
    too_long = example(LONG, LONG)
    rows = [lost, second, none, too_long]
    labelled = make_qa_features(rows, tokenizer, max_length=64, overlap=16, with_labels=True)
    assert labelled.counts["questions_without_label"] == 1
    assert labelled.counts["answers_without_window"] == 1
    assert [feature.example_index for feature in labelled[:2]] == [1, 2]
    assert labelled[0].start_position > 0
    assert (labelled[1].start_position, labelled[1].end_position) == (0, 0)
    unlabelled = make_qa_features(rows, tokenizer, max_length=64, overlap=16, with_labels=False)
    assert {feature.example_index for feature in unlabelled} == {0, 1, 2, 3}


def test_blanks_around_a_question_are_left_out(tokenizer):
    rows = [example("Oslo", question=question) for question in ("Where?", "  Where?\n")]
    one, other = make_qa_features(rows, tokenizer, max_length=64, overlap=16, with_labels=False)
    assert one.input_ids == other.input_ids


def test_special_tokens_in_a_text_do_not_move_the_question(tokenizer):
    separator = tokenizer.sep_token
    row = example(f"Oslo {separator} Rome", "Rome", question=f"Is {separator} a token?")
    (feature,) = make_qa_features([row], tokenizer, max_length=64, overlap=16, with_labels=True)
    ordinary = tokenizer("Is it a token?", "Oslo or Rome")["input_ids"]
    for special in set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}:
        assert feature.input_ids.count(special) == ordinary.count(special)
    assert feature.is_question.index(False) == feature.input_ids.index(tokenizer.sep_token_id)
    assert row.context[slice(*feature.offsets[feature.end_position])].endswith("e")


def test_a_long_question_gets_smaller_overlaps(tokenizer):
    row = example(LONG, "39", question="Where does Anna live? " * 3)
    frame = n_before_the_document(tokenizer, row.question.strip())
    features = make_qa_features([row], tokenizer, max_length=frame + 10, overlap=12, with_labels=True)
    assert features.counts["smaller_overlaps"] == 1
    assert "answers_without_window" not in features.counts


def test_a_question_longer_than_the_window_is_named(tokenizer):
    row = example("Oslo", question="Where does Anna live? " * 20, identifier="q17")
    n_tokens = len(tokenizer(row.question.strip(), add_special_tokens=False)["input_ids"])
    with pytest.raises(InputError, match=rf"question q17 has {n_tokens} tokens; .* in 64 tokens; shorten"):
        make_qa_features([row], tokenizer, max_length=64, overlap=16, with_labels=False)


@pytest.mark.parametrize(
    ("row", "options", "message"),
    [
        (example(" "), {}, "document of question 'q' is empty"),
        (example("x", question=" "), {}, "question 'q' is empty"),
        (example("x"), {"max_length": 0}, "max_length is 0"),
        (example("x"), {"overlap": 64}, "overlap is 64"),
        (example("x"), {"overlap": -1}, "overlap is -1"),
    ],
)
def test_wrong_input_is_refused(tokenizers, row, options, message):
    with pytest.raises(InputError, match=message):
        make_qa_features(
            [row], tokenizers["unigram"], **{"max_length": 64, "overlap": 16, "with_labels": False} | options
        )


def test_slow_tokenizers_are_refused():
    class Slow:
        is_fast = False

    with pytest.raises(InputError, match="Slow is not a fast tokenizer"):
        make_qa_features([example("x")], Slow(), max_length=64, overlap=16, with_labels=False)


def test_shared_documents_and_indices(tokenizer):
    rows = [example(LONG, f"{i};", identifier=str(i)) for i in range(20)]
    features = make_qa_features(rows, tokenizer, max_length=64, overlap=16, with_labels=True, progress=False)
    assert [feature.example_index for feature in features] == sorted(feature.example_index for feature in features)
    assert features[-1] == list(features)[-1]
    assert features[3:5] == list(features)[3:5]
    with pytest.raises(IndexError):
        features[len(features)]
