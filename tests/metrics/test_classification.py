import warnings

import numpy as np
import pytest

from longspan.metrics.classification import classification_scores, regression_scores


def test_single_label_by_hand():
    gold = [("a",), ("a",), ("b",), ("b",), ("b",), ("c",)]
    predicted = [("a",), ("b",), ("b",), ("b",), ("a",), ("a",)]
    scores = classification_scores(gold, predicted, ["a", "b", "c"], is_multi_label=False)
    # a: 1 right, 3 predicted, 2 gold; b: 2 right, 3 predicted, 3 gold; c: none right.
    assert scores["f1/a"] == pytest.approx(100 * 2 / 5)
    assert scores["f1/b"] == pytest.approx(100 * 4 / 6)
    assert scores["f1/c"] == 0
    assert scores["f1_macro"] == pytest.approx((40 + 200 / 3) / 3)
    assert scores["accuracy"] == scores["f1_micro"] == pytest.approx(50)


def test_matthews_of_two_classes_by_hand():
    gold = [("true",)] * 4 + [("false",)] * 6
    predicted = [("true",)] * 3 + [("false",)] * 6 + [("true",)]  # 3 tp, 1 fn, 5 tn, 1 fp
    scores = classification_scores(gold, predicted, ["false", "true"], is_multi_label=False)
    assert scores["matthews"] == pytest.approx((3 * 5 - 1 * 1) / (4 * 4 * 6 * 6) ** 0.5)
    assert scores["f1/true"] == pytest.approx(75)


def test_multi_label_accuracy_needs_all_labels():
    gold = [{"x", "y"}, {"x"}, set(), {"y"}]
    predicted = [{"x", "y"}, {"x", "y"}, set(), set()]
    scores = classification_scores(gold, predicted, ["x", "y"], is_multi_label=True)
    assert scores == {
        "accuracy": 50,
        "f1_macro": pytest.approx(75),
        "f1_micro": pytest.approx(100 * 6 / 8),
        "f1/x": pytest.approx(100),
        "f1/y": pytest.approx(50),
    }


@pytest.mark.parametrize("seed", range(5))
def test_single_label_equals_scikit_learn(seed):
    from sklearn import metrics

    random = np.random.default_rng(seed)
    names = [f"class {i}" for i in range(random.integers(2, 8))]
    gold, predicted = (random.choice(names, 60).tolist() for _ in range(2))
    scores = classification_scores([[one] for one in gold], [[one] for one in predicted], names, is_multi_label=False)
    assert scores["accuracy"] == pytest.approx(100 * metrics.accuracy_score(gold, predicted))
    assert scores["f1_macro"] == pytest.approx(100 * metrics.f1_score(gold, predicted, labels=names, average="macro"))
    assert scores["f1_micro"] == pytest.approx(100 * metrics.f1_score(gold, predicted, average="micro"))
    assert scores["matthews"] == pytest.approx(metrics.matthews_corrcoef(gold, predicted))
    for name, f1 in zip(names, metrics.f1_score(gold, predicted, labels=names, average=None), strict=True):
        assert scores[f"f1/{name}"] == pytest.approx(100 * f1)


@pytest.mark.parametrize("seed", range(5))
def test_multi_label_equals_scikit_learn(seed):
    from sklearn import metrics

    random = np.random.default_rng(seed)
    names = np.array(["a", "b", "c", "d"])
    gold, predicted = (random.random((50, 4)) < 0.4 for _ in range(2))
    scores = classification_scores(
        [names[row] for row in gold], [names[row] for row in predicted], names.tolist(), is_multi_label=True
    )
    assert scores["accuracy"] == pytest.approx(100 * metrics.accuracy_score(gold, predicted))
    for average in ("macro", "micro"):
        assert scores[f"f1_{average}"] == pytest.approx(100 * metrics.f1_score(gold, predicted, average=average))
    assert "matthews" not in scores


@pytest.mark.parametrize(
    ("gold", "predicted", "accuracy", "matthews"),
    [(["a"], ["a"], 100, 0), (["a", "a"], ["b", "b"], 0, 0), (["a", "b"], ["a", "a"], 50, 0)],
)
def test_constant_labels_are_defined_without_warnings(gold, predicted, accuracy, matthews):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = classification_scores(
            [[one] for one in gold], [[one] for one in predicted], ["a", "b"], is_multi_label=False
        )
    assert (scores["accuracy"], scores["matthews"]) == (accuracy, matthews)
    assert all(np.isfinite(value) for value in scores.values())


def test_no_labels_at_all_have_an_f1_of_zero():
    scores = classification_scores([(), ()], [(), ()], ["a"], is_multi_label=True)
    assert scores == {"accuracy": 100, "f1_macro": 0, "f1_micro": 0, "f1/a": 0}


def test_figures_do_not_depend_on_what_the_data_happens_to_hold():
    names = ["a", "b"]
    # Several labels are allowed, though here each text has one.
    assert "matthews" not in classification_scores([["a"], ["b"]], [["a"], ["a"]], names, is_multi_label=True)
    # One text has no prediction: it counts as a class of its own.
    gold, predicted = [["a"], ["b"], ["a"], ["b"]], [["a"], ["b"], [], ["a"]]
    scores = classification_scores(gold, predicted, names, is_multi_label=False)
    # By hand: 2 of 4 right; gold 2 a, 2 b; predicted 2 a, 1 b, 1 none. (2 * 4 - 2 * 2 - 2 * 1) / sqrt(10 * 8)
    assert scores["matthews"] == pytest.approx(2 / 80**0.5)
    assert (scores["accuracy"], scores["f1/b"]) == (50, pytest.approx(100 * 2 / 3))


def test_wrong_inputs_of_scores_are_refused():
    with pytest.raises(ValueError, match="not in label_names: 'b'"):
        classification_scores([["a"]], [["b"]], ["a"], is_multi_label=False)
    with pytest.raises(ValueError, match="1 gold and 2 predicted"):
        classification_scores([["a"]], [["a"], ["a"]], ["a"], is_multi_label=False)
    for gold, predicted in (([[]], [["a"]]), ([["a", "b"]], [["a"]]), ([["a"]], [["a", "b"]])):
        with pytest.raises(ValueError, match=r"text 0 has . gold and . predicted labels, not one"):
            classification_scores(gold, predicted, ["a", "b"], is_multi_label=False)
    with pytest.raises(ValueError, match="label_names is empty"):
        classification_scores([[]], [[]], [], is_multi_label=True)
    with pytest.raises(ValueError, match="0 gold"):
        regression_scores([], [])


def test_regression_by_hand():
    scores = regression_scores([1, 2, 3, 4], [1, 4, 9, 16])
    assert scores["pearson"] == pytest.approx(25 / (5 * 129) ** 0.5)
    assert scores["spearman"] == pytest.approx(1)
    assert scores["mse"] == pytest.approx((0 + 4 + 36 + 144) / 4)


@pytest.mark.parametrize("seed", range(3))
def test_regression_equals_numpy(seed):
    random = np.random.default_rng(seed)
    gold, noise = random.normal(size=(2, 40))
    scores = regression_scores(gold.tolist(), (gold + noise).tolist())
    assert scores["pearson"] == pytest.approx(np.corrcoef(gold, gold + noise)[0, 1])
    ranks = [values.argsort().argsort() for values in (gold, gold + noise)]
    assert scores["spearman"] == pytest.approx(np.corrcoef(*ranks)[0, 1])
    assert scores["mse"] == pytest.approx((noise**2).mean())


@pytest.mark.parametrize(("gold", "predicted"), [([1, 1], [1, 2]), ([1, 2], [0.5, 0.5]), ([3], [3])])
def test_constant_values_have_no_correlation(gold, predicted):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = regression_scores(gold, predicted)
    assert (scores["pearson"], scores["spearman"]) == (0, 0)
