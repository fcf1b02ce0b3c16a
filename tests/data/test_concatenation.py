import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.data.qa import GoldAnswer, QaDataset, QaExample, concatenate, load_qa_dataset
from longspan.errors import InputError


def make(contexts, n_questions=2):
    """One example for each entry and question; the answer is the last character of the context."""
    examples = [
        QaExample(
            id=f"{i}-{k}",
            question="?",
            context=context,
            answers=(GoldAnswer(context[-1], len(context) - 1), GoldAnswer("nowhere", None)),
        )
        for i, context in enumerate(contexts)
        for k in range(n_questions)
    ]
    return QaDataset(name="d", language="en", examples=examples, counts={"questions": len(examples)})


def test_is_the_construction_of_the_thesis():
    result = concatenate(make(["aa", "bbb", "c", "dd"]), 3)
    assert [(row.id, row.context, row.slot, row.n_slots) for row in result.examples] == [
        ("0-0", "aabbbc", 0, 3),
        ("1-0", "aabbbc", 1, 3),
        ("2-0", "aabbbc", 2, 3),
        ("3-0", "dd", 0, 1),
    ]
    assert [row.answers[0].start for row in result.examples] == [1, 4, 5, 1]
    assert result.name == "d x3"
    assert (result.counts["questions"], result.counts["left_out_questions"]) == (4, 4)


def test_the_first_row_is_compared_with_the_last():
    # As in the thesis's construction: "aa" at both ends, so row 0 does not differ from the row before it.
    result = concatenate(make(["aa", "bb", "aa"], n_questions=1), 1)
    assert [row.id for row in result.examples] == ["1-0", "2-0"]


def test_one_single_paragraph_keeps_its_first_question():
    assert [row.id for row in concatenate(make(["aa"]), 3).examples] == ["0-0"]


def test_the_packaged_excerpt_keeps_one_question_a_paragraph():
    for name, n in (("packaged/xquad.el", 50), ("packaged/xquad.en.train", 190)):
        assert len(concatenate(load_qa_dataset(name), 5).examples) == n


def test_a_separator_stands_between_paragraphs_only():
    (first, *_), n = concatenate(make(["aa", "b"]), 2, separator="\n\n").examples, 2
    assert (first.context, first.n_slots) == ("aa\n\nb", n)


def test_gold_slot_fills_every_context():
    result = concatenate(make(["a", "b", "c", "d"]), 3, gold_slot=1)
    assert [row.context for row in result.examples] == ["bac", "abc", "acb", "adb"]
    assert {(row.slot, row.n_slots) for row in result.examples} == {(1, 3)}
    assert result.name == "d x3 slot 1"


def test_a_seed_changes_neighbours_but_not_order():
    dataset = make([f"{i} " for i in range(20)])
    plain, shuffled = concatenate(dataset, 4), concatenate(dataset, 4, seed=1)
    assert [row.id for row in plain.examples] == [row.id for row in shuffled.examples]
    assert [row.context for row in plain.examples] != [row.context for row in shuffled.examples]
    assert shuffled == concatenate(dataset, 4, seed=1)


@given(
    st.lists(st.sampled_from(["a", "bb", "ccc", "dddd", "e\u0301"]), min_size=4, max_size=12),
    st.integers(1, 4),
    st.sampled_from(["", " ", "\n\n"]),
    st.none() | st.integers(0, 9),
    st.booleans(),
    st.booleans(),
)
def test_answers_stay_where_they_are(contexts, n, separator, seed, has_gold_slot, first_only):
    contexts = [f"{i}{context}" for i, context in enumerate(contexts)]
    dataset = make(contexts)
    slot = n - 1 if has_gold_slot else None
    result = concatenate(dataset, n, separator=separator, seed=seed, gold_slot=slot, first_question_only=first_only)
    assert len(result.examples) == (len(contexts) if first_only else len(dataset.examples))
    original = {row.id: row for row in dataset.examples}
    for row in result.examples:
        answer, lost = row.answers
        assert row.context[answer.start :][: len(answer.text)] == answer.text
        assert lost == GoldAnswer("nowhere", None)
        assert original[row.id].context in row.context
        parts = len(row.context) - (row.n_slots - 1) * len(separator)
        assert parts >= len(original[row.id].context)
        if has_gold_slot:
            assert (row.slot, row.n_slots) == (slot, n)


@pytest.mark.parametrize(
    ("n", "options", "message"),
    [(0, {}, "is 0; choose 1"), (2, {"gold_slot": 2}, "between 0 and 1"), (9, {"gold_slot": 0}, "has 2 paragraphs")],
)
def test_wrong_numbers_are_refused(n, options, message):
    with pytest.raises(InputError, match=message):
        concatenate(make(["a", "b"]), n, **options)


def test_concatenating_twice_is_refused():
    with pytest.raises(InputError, match="concatenated already"):
        concatenate(concatenate(make(["a", "b"]), 2), 2)


def articles(sizes):
    """A data set with articles of so many paragraphs, one question each."""
    contexts = [f"{title}{i}. " for title, size in sizes.items() for i in range(size)]
    examples = [
        QaExample(id=context, question="?", context=context, answers=(GoldAnswer(context[:2], 0),), title=context[0])
        for context in contexts
    ]
    return QaDataset(name="d", language="en", examples=examples, counts={"questions": len(examples)})


def parts(row):
    return row.context.split(". ")[:-1]


@pytest.mark.parametrize("distractors", ["neighbours", "same article", "other articles"])
def test_every_slot_moves_the_own_paragraph_among_the_same_others(distractors):
    dataset = articles({"a": 5, "b": 4})
    result = concatenate(dataset, 4, gold_slot="all", distractors=distractors, seed=3)
    assert len(result.examples) == result.counts["questions"] == 4 * 9
    for i, original in enumerate(dataset.examples):
        rows = result.examples[4 * i : 4 * i + 4]
        assert {row.id for row in rows} == {original.id}
        assert [row.slot for row in rows] == [0, 1, 2, 3] and {row.n_slots for row in rows} == {4}
        assert [parts(row)[row.slot] + ". " for row in rows] == [original.context] * 4
        assert len({tuple(p for p in parts(row) if p != parts(row)[row.slot]) for row in rows}) == 1
        assert all(row.context[row.answers[0].start :].startswith(row.answers[0].text) for row in rows)
    assert result.name.endswith("every slot) x4")


def test_distractors_come_from_where_they_should():
    dataset = articles({"a": 6, "b": 6, "c": 6})
    for seed in range(3):
        same = concatenate(dataset, 5, distractors="same article", seed=seed)
        other = concatenate(dataset, 5, distractors="other articles", seed=seed)
        for row in same.examples:
            assert {part[0] for part in parts(row)} == {row.title} and len(set(parts(row))) == 5
        for row in other.examples:
            assert [part[0] for part in parts(row)].count(row.title) == 1 and len(set(parts(row))) == 5
        assert {row.slot for row in same.examples} == set(range(5)), "every slot is taken"
        assert "filled_from_other_articles" not in same.counts and "filled_from_same_article" not in other.counts
    assert (same.name, other.name) == ("d (same article) x5", "d (other articles) x5")


@pytest.mark.parametrize(("n_chosen", "slots"), [(8, [0, 0, 1, 1, 2, 2, 3, 3]), (2, [1, 3]), (1, [2])])
def test_chosen_questions_stand_in_slots_at_equal_distances(n_chosen, slots):
    dataset = articles({"a": 6, "b": 6})
    asked = []

    def choose(n_questions):
        asked.append(n_questions)
        return range(n_questions)[-n_chosen:]

    result = concatenate(dataset, 4, distractors="same article", choose=choose)
    assert asked == [12] and [row.id for row in result.examples] == [row.id for row in dataset.examples[-n_chosen:]]
    assert sorted(row.slot for row in result.examples) == slots and result.counts["questions"] == n_chosen
    # Whether a question is asked decides its place, and not what stands around it.
    everywhere = concatenate(dataset, 4, distractors="same article")
    around = {row.id: sorted(parts(row)) for row in everywhere.examples}
    assert all(sorted(parts(row)) == around[row.id] for row in result.examples)


@pytest.mark.parametrize("distractors", ["same article", "other articles"])
def test_what_is_drawn_depends_on_the_seed_alone_and_grows_with_n(distractors):
    dataset = articles({"a": 6, "b": 7})

    def others(n, seed):
        rows = concatenate(dataset, n, gold_slot=0, distractors=distractors, seed=seed).examples
        return [parts(row)[1:] for row in rows]

    assert others(5, 1) == others(5, 1) != others(5, 2)
    assert [row[:2] for row in others(5, 1)] == others(3, 1)
    assert others(5, None) == others(5, 0)


def test_too_few_paragraphs_of_an_article_are_filled_up_and_counted():
    dataset = articles({"a": 2, "b": 9})
    result = concatenate(dataset, 4, distractors="same article")
    assert len(result.examples) == 11 and result.counts["filled_from_other_articles"] == 2
    for row in result.examples[:2]:
        assert [part[0] for part in parts(row)].count("a") == 2 and len(set(parts(row))) == 4
    result = concatenate(dataset, 4, distractors="other articles", gold_slot="all")
    assert len(result.examples) == 44 and result.counts["filled_from_same_article"] == 4 * 9
    assert all(len(set(parts(row))) == 4 for row in result.examples)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gold_slot": "last"}, "'last'; choose a number from 0, or 'all'"),
        ({"distractors": "others"}, "no distractors 'others'; choose one of neighbours, same article"),
        ({"n": 7, "gold_slot": "all"}, "has 6 paragraphs; n is 7"),
        ({"n": 7, "distractors": "same article"}, "has 6 paragraphs; n is 7"),
        ({"n": 6, "distractors": "other articles"}, "has 4 other paragraphs to put beside paragraph 1"),
    ],
)
def test_wrong_options_are_refused(options, message):
    dataset = articles({"a": 3, "b": 2})
    twice = [*dataset.examples]
    twice.insert(3, QaExample(id="a", question="?", context="a0. ", answers=(), title="b"))
    with pytest.raises(InputError, match=message):
        concatenate(QaDataset(name="d", language="en", examples=twice), **{"n": 2, **options})


def test_articles_without_titles_cannot_be_told_apart():
    with pytest.raises(InputError, match="2 of 2 have no title"):
        concatenate(make(["a", "b"]), 2, distractors="same article")
