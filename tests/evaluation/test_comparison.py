from dataclasses import replace

import pytest

from longspan.data.qa import concatenate
from longspan.errors import InputError
from longspan.evaluation import evaluate_question_answering
from longspan.evaluation.comparison import compare_records
from longspan.records import read_record, write_record

ABOUT = {"name": "people", "protocol": "as they are", "progress": False}


@pytest.fixture
def evaluated(people_twice, scripted):
    """An evaluation of `run` by systems that answer the questions in `wrong` wrongly."""

    def make(run, seed=None, *, wrong=(), systems=("some",), datasets=None, model="none"):
        return evaluate_question_answering(
            {system: scripted(wrong=wrong) for system in systems},
            people_twice if datasets is None else datasets,
            run=run,
            training_seed=seed,
            model=model,
            **ABOUT,
        )

    return make


def test_runs_are_compared_in_pairs_pooled_and_on_each_data_set(evaluated, tmp_path):
    half = [f"{i}-0" for i in range(12)]
    records = [evaluated("bad", wrong=half), evaluated("good"), evaluated("third", wrong=half[:6])]
    record = compare_records(records, name="three runs")
    rows = [(row.system, row.baseline, row.dataset, row.language) for row in record.differences]
    assert rows[:3] == [
        ("good: some", "bad: some", "all", "all"),
        ("good: some", "bad: some", "people.en", "en"),
        ("good: some", "bad: some", "people.de", "de"),
    ]
    assert [row[:2] for row in rows[3::3]] == [("third: some", "bad: some"), ("third: some", "good: some")]
    whole, english, _ = record.differences[:3]
    assert whole.mean == english.mean == pytest.approx(50) and 25 < whole.low < 50 < whole.high < 75
    # The same questions in a second language are no further evidence.
    assert (whole.n_units, english.n_units) == (24, 24)
    assert (whole.low, whole.high) == (english.low, english.high)
    assert record.differences[6].mean == pytest.approx(-25)
    assert record.made.data == records[0].made.data
    assert read_record(write_record(record, tmp_path / "comparison.json")) == record


def test_seeds_of_a_run_are_one_side_and_its_data_sets_may_be_in_several_records(evaluated, people_twice):
    half = [f"{i}-0" for i in range(12)]
    seeds = [evaluated("run", 1, wrong=half), evaluated("run", 2)]
    apart = [evaluated("other", 1, datasets=[dataset], wrong=half) for dataset in people_twice]
    record = compare_records([*seeds, *apart], name="seeds")
    assert {(row.system, row.baseline) for row in record.differences} == {("other: some", "run: some")}
    assert [row.mean for row in record.differences] == pytest.approx([-25, -25, -25])


def test_models_without_a_run_are_compared_by_their_names_and_one_system_can_be_chosen(evaluated):
    records = [evaluated(None, model="a", systems=("x", "y")), evaluated(None, model="b", systems=("y", "x", "z"))]
    assert {row.system for row in compare_records(records, name="n").differences} == {"b: x", "b: y"}
    assert {row.system for row in compare_records(records, name="n", system="y").differences} == {"b: y"}
    with pytest.raises(InputError, match="no system 'z' in the record of a"):
        compare_records(records, name="n", system="z")


def test_a_question_asked_at_every_slot_is_one_question(people, evaluated):
    joined = concatenate(people, 3, gold_slot="all")
    record = compare_records(
        [evaluated("a", datasets=[joined]), evaluated("b", datasets=[joined], wrong=["0-0"])], name="slots"
    )
    (row,) = record.differences
    assert len(joined.examples) == 36 and row.n_units == 12 and row.mean == pytest.approx(-100 / 12)


def test_different_questions_are_refused_and_counted(people, evaluated):
    asked = people.examples[4]
    changed = [replace(asked, question="Who?"), *people.examples[6:]]
    other = replace(people, examples=[*people.examples[:4], *changed])
    records = [evaluated("a", datasets=[people]), evaluated("b", datasets=[other])]
    with pytest.raises(
        InputError, match=rf"a and b: some .* 2 differ, of 24 and 23; the first is '{asked.id}' of peop"
    ):
        compare_records(records, name="n")
    slots = [evaluated(run, datasets=[concatenate(people, 3, gold_slot=slot)]) for run, slot in (("a", 0), ("b", 1))]
    with pytest.raises(InputError, match=r"24 differ, of 12 and 12; .* at slot 0"):
        compare_records(slots, name="n")


def test_what_cannot_be_paired_is_refused(evaluated):
    one, other = evaluated("a", 1), evaluated("b", 1)
    for records, message in (
        ([one], "these are of a"),
        ([], "these are of none"),
        ([one, evaluated("a", 1), other], "two records of run a with seed 1 hold people"),
        ([one, other.model_copy(update={"items": []})], "of b has no questions"),
        ([one, evaluated("b", systems=("else",))], "no system is in all"),
    ):
        with pytest.raises(InputError, match=message):
            compare_records(records, name="n")
