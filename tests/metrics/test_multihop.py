"""Multi-hop scores against cases worked out by hand from the official scorers' rules (tests/golden/scorers)."""

import json
from pathlib import Path

import pytest

from longspan.errors import InputError
from longspan.metrics.hotpotqa import HotpotqaGold, HotpotqaPrediction, hotpotqa_scores, score_hotpotqa
from longspan.metrics.musique import MusiqueGold, MusiquePrediction, musique_scores, score_musique
from longspan.metrics.overlap import mean_in_per_cent
from longspan.metrics.two_wiki import TwoWikiGold, TwoWikiPrediction, score_two_wiki, two_wiki_scores
from longspan.metrics.wikihop import wikihop_scores

CASES = json.loads((Path(__file__).parents[1] / "golden" / "scorers" / "multihop.json").read_text(encoding="utf-8"))


def facts(rows):
    return None if rows is None else [tuple(row) for row in rows]


def hotpotqa(case):
    return (
        HotpotqaPrediction(case["answer"], facts(case["facts"])),
        HotpotqaGold(case["gold_answer"], facts(case["gold_facts"])),
    )


def two_wiki(case):
    return (
        TwoWikiPrediction(case["answer"], facts(case["facts"]), facts(case["evidences"])),
        TwoWikiGold(case["gold_answers"], facts(case["gold_facts"]), facts(case["gold_evidences"])),
    )


def musique(case):
    return (
        MusiquePrediction(case["answer"], case["support"]),
        MusiqueGold("q", case["gold_answers"], case["gold_support"]),
    )


SCORERS = {"hotpotqa": (hotpotqa, score_hotpotqa), "two_wiki": (two_wiki, score_two_wiki)}
SCORERS["musique"] = (musique, score_musique)


@pytest.mark.parametrize(
    ("name", "case"), [(name, case) for name in SCORERS for case in CASES[name]], ids=lambda one: str(one)[:40]
)
def test_each_case_equals_its_figures(name, case):
    make, score = SCORERS[name]
    found = score(*make(case))
    assert found == {figure: case[figure] for figure in found}, case["why"]
    assert len(found) == {"hotpotqa": 12, "two_wiki": 16, "musique": 4}[name]


@pytest.mark.parametrize("name", ["hotpotqa", "two_wiki", "musique"])
def test_totals_add_up_question_by_question(name):
    make, _ = SCORERS[name]
    scores = {"hotpotqa": hotpotqa_scores, "two_wiki": two_wiki_scores, "musique": musique_scores}[name]
    predictions, golds = zip(*map(make, CASES[name]), strict=True)
    found = scores(predictions, golds)
    for figure, value in found.items():
        total = 0.0
        for case in CASES[name]:
            total += case[figure]
        assert value == 100 * (total / len(CASES[name])), figure


def test_totals_round_as_one_addition_after_the_other():
    # Python 3.12's sum and NumPy's pairwise one would give 0.1 exactly.
    assert mean_in_per_cent([{"f1": 0.1}] * 10)["f1"] == 100 * (0.9999999999999999 / 10)


def test_musique_full_counts_pairs_of_versions():
    case = CASES["musique_full"]
    predictions = [MusiquePrediction(**row) for row in case["predictions"]]
    golds = [MusiqueGold(**row) for row in case["golds"]]
    found = musique_scores(predictions, golds)
    assert found == {figure: case[figure] for figure in found}
    assert len(found) == 6


def test_a_version_that_is_missing_is_named():
    prediction = MusiquePrediction("a", [0])
    golds = [MusiqueGold("q1", ["a"], [0]), MusiqueGold("q1", ["a"], [0], False), MusiqueGold("q2", ["a"], [0])]
    with pytest.raises(InputError, match="'q2' should come twice, once answerable and once not, and comes 1 times"):
        musique_scores([prediction] * 3, golds)
    with pytest.raises(InputError, match="none of the questions is answerable"):
        musique_scores([prediction], [golds[1]])


def test_wikihop_counts_a_missing_choice_as_wrong():
    assert wikihop_scores(["rome", None, "Rome", "oslo"], ["rome", "rome", "rome", "oslo"]) == {"accuracy": 50.0}


@pytest.mark.parametrize("scores", [hotpotqa_scores, two_wiki_scores, musique_scores, wikihop_scores])
def test_predictions_and_questions_have_to_fit(scores):
    with pytest.raises(InputError, match="no questions"):
        scores([], [])
    with pytest.raises(InputError, match="1 predictions for 2 questions"):
        scores([None], [None, None])
