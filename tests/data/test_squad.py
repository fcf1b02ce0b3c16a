import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.data.qa import GoldAnswer, read_squad
from longspan.data.qa.repair_offsets import locate_answer
from longspan.errors import InputError


def write(path, *questions, context="Anna lives in Oslo. Oslo is big.", **top):
    content = {"data": [{"title": "T", "paragraphs": [{"context": context, "qas": list(questions)}]}], **top}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def question(text="Oslo", start=14, **more):
    return {"id": "q", "question": "Where?", "answers": [{"text": text, "answer_start": start}], **more}


def test_reads_version_1(tmp_path):
    dataset = read_squad(write(tmp_path / "a.json", question()), language="nb")
    (example,) = dataset.examples
    assert (dataset.name, dataset.language, dataset.counts) == ("a", "nb", {"questions": 1, "answers": 1})
    assert (example.id, example.title, example.answers) == ("q", "T", (GoldAnswer("Oslo", 14),))
    assert (example.is_impossible, example.slot, example.n_slots) == (False, None, 1)
    assert list(dataset.sha256) == ["a.json"]


def test_reads_version_2(tmp_path):
    impossible = {"id": "r", "question": "Who?", "answers": [], "is_impossible": True, "plausible_answers": []}
    bare = {"id": "s", "question": "Who?", "is_impossible": True}
    dataset = read_squad(write(tmp_path / "a.json", question(is_impossible=False), impossible, bare, version="v2.0"))
    assert [example.is_impossible for example in dataset.examples] == [False, True, True]
    assert dataset.counts == {"questions": 3, "answers": 1, "impossible": 2}


@pytest.mark.parametrize(
    ("given_start", "found"), [(13, 14), (16, 14), (21, 20), (0, 14), (-1, 14), (999, 20), (17, 14)]
)
def test_wrong_offsets_are_repaired_to_the_nearest(tmp_path, given_start, found):
    dataset = read_squad(write(tmp_path / "a.json", question(start=given_start)))
    assert dataset.examples[0].answers == (GoldAnswer("Oslo", found),)
    assert dataset.counts["repaired_offsets"] == 1
    assert dataset.unlocatable_ids == []


@pytest.mark.parametrize(
    ("context", "text", "expected"),
    [
        ("in Oslo today", " Oslo\n", GoldAnswer("Oslo", 3)),
        ("big\u00a0 city", "big city", GoldAnswer("big\u00a0 city", 0)),
        ("le cafe\u0301 noir", "caf\u00e9", GoldAnswer("cafe\u0301", 3)),
        ("le caf\u00e9 noir", "cafe\u0301", GoldAnswer("caf\u00e9", 3)),
        ("\u0b95\u0bc6\u0bbe\u0b9f\u0bbf", "\u0b95\u0bca\u0b9f\u0bbf", GoldAnswer("\u0b95\u0bc6\u0bbe\u0b9f\u0bbf", 0)),
        ("\u1112\u1161\u11ab\u1100\u116e\u11a8", "\ud55c\uad6d", GoldAnswer("\u1112\u1161\u11ab\u1100\u116e\u11a8", 0)),
    ],
)
def test_other_spellings_of_the_same_text_are_found(context, text, expected):
    assert locate_answer(context, text, 0) == (expected, "respelled")


@pytest.mark.parametrize("text", ["oslo", "Oslo!", "Bergen", "", "  "])
def test_what_is_not_in_the_context_is_reported_and_kept(tmp_path, text):
    dataset = read_squad(write(tmp_path / "a.json", question(text)))
    assert dataset.examples[0].answers == (GoldAnswer(text, None),)
    assert not dataset.examples[0].is_impossible
    assert dataset.unlocatable_ids == ["q"]
    assert dataset.counts["unlocatable_answers"] == 1


@given(
    st.text("ab e\u0301\u00e9\n", min_size=1, max_size=30), st.text("ab e\u0301\u00e9", max_size=5), st.integers(-3, 40)
)
def test_a_located_answer_is_in_its_context(context, text, start):
    answer, how = locate_answer(context, text, start)
    assert (answer.start is None) == (how == "missing")
    if answer.start is not None:
        assert context[answer.start :][: len(answer.text)] == answer.text
    elif text.strip():
        assert text not in context


def test_repeated_ids_are_told_apart_and_counted(tmp_path):
    dataset = read_squad(write(tmp_path / "a.json", question(), question(), question(id="q#2"), question()))
    assert [example.id for example in dataset.examples] == ["q", "q#2", "q#2#2", "q#3"]
    assert dataset.counts["repeated_ids"] == 3


def test_number_ids_become_text(tmp_path):
    assert read_squad(write(tmp_path / "a.json", question(id=7))).examples[0].id == "7"


def without(record, key):
    return {name: value for name, value in record.items() if name != key}


WHERE = r"a\.json: data\[0\]\.paragraphs\[0\]\.qas\[0\]"


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (without(question(), "id"), WHERE + " has no `id`; it has question, answers"),
        (without(question(), "question"), WHERE + " has no `question`"),
        (without(question(), "answers"), WHERE + " has no `answers`"),
        (question(question=3), WHERE + r"\.question should be text, and is a number"),
        (question(question="  "), WHERE + r"\.question is empty"),
        (question(id=None), WHERE + r"\.id should be text or a whole number, and is null"),
        (question(id=True), WHERE + r"\.id should be .* is true or false"),
        (question(answers="Oslo"), WHERE + r"\.answers should be a list of answers, and is text"),
        (question(text=["Oslo"]), WHERE + r"\.answers\[0\]\.text should be text, and is a list"),
        (question(start="14"), WHERE + r"\.answers\[0\]\.answer_start should be a whole number, and is text"),
        (question(answers=[{"text": "Oslo"}]), WHERE + r"\.answers\[0\] has no `answer_start`"),
        (question(answers={"text": ["a"], "answer_start": []}), WHERE + r"\.answers has 1 texts and 0 offsets"),
        (question(is_impossible=True), WHERE + " is marked `is_impossible` and has answers"),
        (question(is_impossible=False, answers=[]), WHERE + " has no answers though"),
        (question(is_impossible="no"), WHERE + r"\.is_impossible should be true or false"),
        ("Where?", WHERE + " should be an object, and is text"),
    ],
)
def test_a_wrong_question_is_named(tmp_path, record, message):
    with pytest.raises(InputError, match=message):
        read_squad(write(tmp_path / "a.json", record))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "a.json is not in SQuAD's format"),
        ({"rows": []}, "a.json is not in SQuAD's format"),
        ({"data": []}, "a.json holds no questions"),
        ({"data": [{}]}, r"data\[0\] has no `paragraphs`; it has no fields"),
        ({"data": [{"paragraphs": {}}]}, r"data\[0\]\.paragraphs should be a list, and is an object"),
        ({"data": [{"paragraphs": [{"qas": []}]}]}, r"data\[0\]\.paragraphs\[0\] has no `context`"),
        ({"data": [{"paragraphs": [{"context": " \n", "qas": []}]}]}, r"paragraphs\[0\]\.context is an empty document"),
        ({"data": [{"paragraphs": [{"context": 1, "qas": []}]}]}, r"paragraphs\[0\]\.context should be text"),
        ({"data": [{"paragraphs": [{"context": "x"}]}]}, r"paragraphs\[0\] has no `qas`"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, content, message):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_squad(path)
