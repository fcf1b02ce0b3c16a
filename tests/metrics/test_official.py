"""Ours against the official scorers on 1,000 answers each (tests/golden/scorers/README.md)."""

import gzip
import json
from pathlib import Path

import pytest

from longspan.errors import InputError
from longspan.metrics import aggregate, best_over_gold, exact_match, f1, official_scores, score_answer, squad_v2_scores

FOLDER = Path(__file__).parents[1] / "golden" / "scorers"


def _load(name):
    return json.loads(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()))


def _golds(row):
    # Of TriviaQA both kinds count; the scorer normalises all of them.
    return row["golds"] if "golds" in row else row["normalized_aliases"] + row["human_answers"]


@pytest.mark.parametrize("name", ["squad", "mlqa", "trivia_qa"])
def test_figures_equal_the_official_scorers_to_the_last_digit(name):
    content = _load(name)
    rows = content["rows"]
    assert len(rows) == 1000
    # MLQA is scored language by language, the others at once.
    groups = content["figures"] if name == "mlqa" else {"en": content["figures"]}
    for language, figures in groups.items():
        part = [row for row in rows if row.get("language", "en") == language]
        predictions, golds = [row["prediction"] for row in part], [_golds(row) for row in part]
        for row, prediction, gold in zip(part, predictions, golds, strict=True):
            if prediction is not None:
                assert best_over_gold(exact_match, prediction, gold, language, name) == row["exact_match"], row["id"]
                assert best_over_gold(f1, prediction, gold, language, name) == row["f1"], row["id"]
        found = official_scores(predictions, golds, language, name)
        assert found == {"exact_match": figures["exact_match"], "f1": figures["f1"]}
        # The mean of per cents, as records have it, differs by rounding only.
        scores = [score_answer(*pair, language, name) for pair in zip(predictions, golds, strict=True)]
        assert aggregate(scores) == pytest.approx(found, rel=1e-13, abs=0)


def test_squad_v2_equals_the_official_scorer():
    content = _load("squad_v2")
    rows = content["rows"]
    predictions, golds = [row["prediction"] for row in rows], [row["golds"] for row in rows]
    for row, prediction, gold in zip(rows, predictions, golds, strict=True):
        own = squad_v2_scores([prediction], [gold])
        assert (own["exact"], own["f1"]) == (100 * row["exact"], 100 * row["f1"]), row["id"]
    # The scorer adds with Python's `sum`, which rounds otherwise from 3.12 on; these are figures of 3.11.
    assert squad_v2_scores(predictions, golds) == pytest.approx(content["figures"], rel=1e-15, abs=0)
    scores = [row["no_answer_score"] for row in rows]
    found = squad_v2_scores(predictions, golds, no_answer_scores=scores, threshold=content["threshold"])
    assert found == pytest.approx(content["figures_with_threshold"], rel=1e-15, abs=0)


def test_questions_and_predictions_have_to_fit():
    with pytest.raises(InputError, match="no questions"):
        official_scores([], [])
    with pytest.raises(InputError, match="2 predictions for 1 questions"):
        official_scores(["a", "b"], [["a"]])
