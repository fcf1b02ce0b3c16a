"""A metric for which lower is better is ranked, coloured and summarised the right way round everywhere."""

import pytest

from longspan.cli.evaluate_table import evaluation_table
from longspan.evaluation.comparison import compare_records
from longspan.grid.table import score_table
from longspan.records import EvaluationRecord, Item, Metric, Place, Score
from longspan.report.comparison import comparisons
from longspan.report.markdown import to_markdown
from longspan.report.metric_display import goodness
from longspan.report.page import make_sections
from longspan.report.where import where_section

BITS = Metric(name="bits", label="Bits", unit="bits per character", higher_is_better=False)
VALUES = {"short": 2.0, "long": 1.25}


@pytest.fixture
def losses(evaluation):
    """Two systems on ten texts; `long` is better, since its metric is lower."""

    def make(run="a run", seed=1, shift=0.0):
        scores, items, places = [], [], []
        for system, value in VALUES.items():
            common = {"system": system, "dataset": "texts", "language": "en"}
            own = [value + shift + 0.01 * i for i in range(10)]
            for i, bits in enumerate(own):
                named = {"id": str(i), "unit": str(i), "input": f"text {i}", "gold": [], "prediction": f"{bits}"}
                items.append(Item(**common, **named, metrics={"bits": bits}, score=-bits))
            scores.append(Score(**common, n_items=10, metrics={"bits": sum(own) / 10}, seconds_per_item=value))
            for length, more in ((512, 0.0), (1024, 0.5)):
                for depth in (0.25, 0.75):
                    at = {"length": length, "unit": "tokens", "depth": depth, "slot": None, "n_items": 5}
                    places.append(Place(**common, **at, metrics={"bits": value + more + depth}))
        return EvaluationRecord(
            made=evaluation().made, name="texts", task="character_lm", item_noun="text", metrics=[BITS], model="m",
            protocol="p", scores=scores, items=items, places=places, run=run, training_seed=seed,
        )  # fmt: skip

    return make


def test_best_system_has_the_lowest_mean(losses):
    (comparison,) = comparisons([losses()])
    assert comparison.best_system() == "long" and comparison.ranked(BITS) == ["long", "short"]


def test_page_ranks_and_marks_lowest(losses):
    page = to_markdown("page", make_sections([losses()], [None]))
    assert "Mean Bits, best first: long 1.295; short 2.045." in page
    assert "| long | **1.295** |" in page and "| short | 2.045 |" in page
    assert "scores are low" not in page, "a low value says nothing without a scale"
    assert "Bits of each" not in page and "per cent" not in page
    first_best, first_worst = page.index("text 0 (Bits 1.250"), page.index("text 9 (Bits 1.340")
    assert first_best < first_worst, "the best predictions come first"


def test_colours_are_brightest_where_lowest(losses):
    assert goodness(BITS, 0.5, 2.0) == 0.75 > goodness(BITS, 1.5, 2.0)
    (comparison,) = comparisons([losses()])
    section = where_section(comparison)
    every_place = section.details[0][1][0]
    shades = {row[0].text: row[1].shade for row in every_place.rows}
    assert shades["512 tokens, depth 25\u00a0%"] > shades["1,024 tokens, depth 75\u00a0%"]
    words = [plot.words for block in section.blocks for plot in getattr(block, "plots", ())]
    assert any("from 3.25, dark, to 0, bright" in text for text in words)


def test_terminal_table_says_lower_is_better(losses):
    head, *rows, caption = evaluation_table(losses())
    assert "Bits" in head and "texts" in head and [row.split()[1] for row in rows] == ["2.045", "1.295"]
    assert "Bits, bits per character (lower is better)" in caption


def test_grid_table_keeps_tasks_apart(losses, evaluation):
    text = score_table([losses(seed=1), losses(seed=2, shift=0.1), evaluation()])
    assert any("1.345 ±0.071" in line for line in text)
    assert sum("every text counted" in line for line in text) == 1
    assert sum("every question counted" in line for line in text) == 1


def test_differences_of_runs_say_direction(losses):
    record = compare_records([losses("a"), losses("b", shift=-0.5)], name="b against a")
    assert record.metrics == [BITS] and record.item_noun == "text"
    assert all(row.mean == pytest.approx(-0.5) for row in record.differences)
    page = to_markdown("page", make_sections([record], [None]))
    assert "b: long less a: long -0.500 Bits" in page


def test_records_of_two_tasks_are_not_compared(losses, evaluation):
    with pytest.raises(ValueError, match="two tasks cannot be compared"):
        compare_records([losses("a"), evaluation()], name="x")
