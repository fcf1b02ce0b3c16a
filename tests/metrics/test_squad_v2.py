import pytest

from longspan.errors import InputError
from longspan.metrics import squad_v2_scores

# Worked out by hand from the rules of evaluate-v2.0.py.
GOLDS = [["the cat", "cat"], ["big dog"], [], []]
PREDICTIONS = ["cat", "dog", "", "bird"]


def test_scores_as_worked_out_by_hand():
    scores = squad_v2_scores(PREDICTIONS, GOLDS)
    assert scores == {
        "exact": 50,
        "f1": pytest.approx(100 * (1 + 2 / 3 + 1 + 0) / 4),
        "total": 4,
        "HasAns_exact": 50,
        "HasAns_f1": pytest.approx(100 * (1 + 2 / 3) / 2),
        "HasAns_total": 2,
        "NoAns_exact": 50,
        "NoAns_f1": 50,
        "NoAns_total": 2,
    }


def test_empty_answers_are_equal_unlike_in_squad_1():
    assert squad_v2_scores(["the"], [[]])["f1"] == 100
    assert squad_v2_scores([""], [["cat"]])["f1"] == 0


def test_gold_answers_of_which_nothing_is_left_are_no_answers():
    assert squad_v2_scores([""], [["the"]])["exact"] == 100
    assert squad_v2_scores([""], [["the", "cat"]])["exact"] == 0


def test_threshold_turns_unsure_predictions_into_no_answer():
    scores = squad_v2_scores(PREDICTIONS, GOLDS, no_answer_scores=[0.1, 0.9, 0.2, 0.8], threshold=0.5)
    assert (scores["exact"], scores["HasAns_exact"], scores["NoAns_exact"]) == (75, 50, 100)


def test_best_threshold_as_worked_out_by_hand():
    # Accepting in order of the no-answer score from 2 right: +1 (cat) -> 3, "" -> 3, bird -> 2, dog -> 2 (F1 2 + 2/3).
    scores = squad_v2_scores(PREDICTIONS, GOLDS, no_answer_scores=[0.1, 0.9, 0.2, 0.8])
    assert (scores["best_exact"], scores["best_exact_thresh"]) == (75, 0.1)
    assert (scores["best_f1"], scores["best_f1_thresh"]) == (75, 0.1)


def test_best_threshold_is_0_where_no_prediction_should_be_accepted():
    scores = squad_v2_scores(["bird"], [[]], no_answer_scores=[0.3])
    assert (scores["best_exact"], scores["best_exact_thresh"], scores["exact"]) == (100, 0, 0)


def test_a_missing_prediction_counts_as_wrong():
    assert squad_v2_scores([None, None], [["cat"], []])["exact"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], []), "no questions"),
        ((["a"], []), "one prediction, gold row"),
        ((["a"], [["a"]], {"no_answer_scores": [1, 2]}), "one prediction, gold row"),
        ((["a"], [["a"]], {"threshold": 0.5}), "needs no_answer_scores"),
    ],
)
def test_wrong_input_is_refused(arguments, message):
    *positional, named = arguments if isinstance(arguments[-1], dict) else (*arguments, {})
    with pytest.raises(InputError, match=message):
        squad_v2_scores(*positional, **named)
