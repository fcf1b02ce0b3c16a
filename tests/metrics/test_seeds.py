import pytest

from longspan.errors import InputError
from longspan.metrics.seeds import mean_and_deviation, over_seeds
from longspan.records import EvaluationRecord, Score, made_now

MADE = made_now(command="made up", seed=7)


def record(f1_of, *, run="run", seed=None, n_questions=24):
    """A record of one system; `f1_of` has the score on each data set."""
    scores = [
        Score(
            system="some",
            dataset=f"people.{code}",
            language=code,
            n_questions=n_questions,
            metrics={"f1": f1, "em": f1 / 2},
        )
        for code, f1 in f1_of.items()
    ]
    return EvaluationRecord(
        made=MADE, name="people", model="a/model", protocol="-", scores=scores, run=run, training_seed=seed
    )


def test_mean_and_deviation_of_every_cell_and_of_their_mean():
    english, german, whole = over_seeds(
        [record({"en": 50 + step, "de": 60 - step}, seed=seed) for seed, step in ((1, 0), (2, 2), (3, 4))]
    )
    assert (english.run, english.system, english.dataset, english.language) == ("run", "some", "people.en", "en")
    assert (english.mean, german.mean, whole.mean) == pytest.approx((52, 58, 55))
    # The sample deviation: 0, 2 and 4 have 2. What one language gains the other loses, so their mean has none.
    assert (english.deviation, german.deviation, whole.deviation) == pytest.approx((2, 2, 0))
    assert (whole.dataset, whole.language) == ("all", "all")
    assert (english.n_seeds, english.n_questions, whole.n_questions) == (3, 24, 48)


def test_one_seed_has_no_deviation_and_runs_stay_apart():
    rows = over_seeds([record({"en": 50}, seed=1), record({"en": 70}, run="other"), record({"en": 60}, run=None)], "em")
    assert [(row.run, row.mean, row.deviation, row.n_seeds) for row in rows] == [
        ("run", 25, None, 1),
        ("other", 35, None, 1),
        ("a/model", 30, None, 1),
    ]
    assert {row.metric for row in rows} == {"em"}
    assert over_seeds([record({"en": 50})], "f1_thesis") == []


def test_data_sets_of_a_seed_may_be_in_several_records_and_a_seed_without_all_is_not_in_their_mean():
    records = [record({"en": 50}, seed=1), record({"de": 60}, seed=1), record({"en": 70}, seed=2)]
    rows = {row.dataset: row for row in over_seeds(records)}
    assert (rows["people.en"].n_seeds, rows["people.de"].n_seeds, rows["all"].n_seeds) == (2, 1, 1)
    assert rows["all"].mean == 55


def test_what_is_no_seed_is_refused():
    with pytest.raises(InputError, match=r"run run has two scores of some on people\.en with seed 7"):
        over_seeds([record({"en": 50}), record({"en": 60})])
    with pytest.raises(InputError, match="asked 5 to 24 questions"):
        over_seeds([record({"en": 50}, seed=1), record({"en": 50}, seed=2, n_questions=5)])
    with pytest.raises(InputError, match="no values"):
        mean_and_deviation([])
