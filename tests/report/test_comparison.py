"""Which evaluation records stand together, and what their means and intervals are."""

from statistics import stdev

import pytest

from longspan.records.older import METRICS
from longspan.report.blocks import Table
from longspan.report.comparison import comparisons, names_apart
from longspan.report.names import family_name, without_length
from longspan.report.runs import results_section
from longspan.report.scores import score_sections


def test_seeds_of_a_run_are_one_line_and_runs_stand_beside_each_other(make):
    records = [make.run("short", seed, level) for seed, level in ((1, 40.0), (2, 44.0))]
    records += [make.run("long", seed, level) for seed, level in ((1, 60.0), (2, 62.0), (3, 61.0))]
    (comparison,) = comparisons(records)
    assert comparison.systems == ["short: window", "long: window"]
    assert [comparison.n_seeds(name) for name in comparison.systems] == [2, 3]
    assert comparison.values(METRICS[0], "short: window", "xquad", "el") == [40.0, 44.0]
    assert comparison.mean(METRICS[0], "long: window") == 60.5
    overview = score_sections(comparison)[0].blocks[0]
    assert isinstance(overview, Table)
    rows = [[cell.text for cell in row] for row in overview.rows]
    assert rows[0][1] == f"41.5 ± {stdev([40.0, 44.0]):.1f}" and rows[1][1] == "60.5 ± 1.0"
    assert overview.columns[3] == "Seeds" and [row[3] for row in rows] == ["2", "3"]
    assert "over 2 to 3 seeds" in overview.caption and "200 questions" in overview.caption


def test_a_run_twice_is_said_and_counted_once_the_newest(make):
    old, new = make.run("long", 1, 10.0), make.run("long", 1, 60.0, date="2026-03-01T00:00:00+00:00")
    for records in ([old, new], [new, old]):
        (comparison,) = comparisons(records)
        assert comparison.values(METRICS[0], "window", "xquad", "el") == [60.0]
        (note,) = comparison.notes
        assert "long, seed 1 is here twice" in note and "2026-03-01" in note and "not averaged" in note


def test_other_questions_or_another_protocol_stand_apart(make):
    other = make.run("long", 1, 60.0).model_copy(update={"protocol": "q"})
    fewer = make.run("long", 1, 60.0, languages=("el",))
    assert len(comparisons([make.run("long", 1, 60.0), other, fewer])) == 3


def test_a_name_that_is_too_long_for_headings_gives_way_to_the_data(make):
    record = make.run("long", 1, 60.0, dataset="xquad_long.10").model_copy(update={"name": "every paragraph " * 5})
    (comparison,) = comparisons([record])
    assert comparison.short_name == "xquad_long"
    assert comparisons([make.run("long", 1, 60.0)])[0].short_name == "xquad"


def test_evaluations_of_one_name_are_told_apart(make):
    found = comparisons([make.run("short", 1, 60.0), make.run("long", 1, 60.0, languages=("el",))])
    assert names_apart(found) == ["xquad (short)", "xquad (long)"] and names_apart(found[:1]) == ["xquad"]
    # The same run of both, or none that is known: by their place.
    found = comparisons([make.run("long", 1, 60.0), make.run("long", 1, 60.0, languages=("el",))])
    assert names_apart(found) == ["xquad (1)", "xquad (2)"]


def test_one_table_of_runs_and_data_sets(make):
    records = [make.run(run, seed, 50.0 + seed) for run in ("a", "b") for seed in (1, 2)]
    records += [make.run("a", 1, 80.0, dataset="squad", languages=("en",))]
    section = results_section(comparisons(records))
    assert section is not None
    (table,) = section.blocks
    assert isinstance(table, Table) and table.columns == ["Run", "System", "xquad (200)", "squad (100)"]
    assert [[cell.text for cell in row][2:] for row in table.rows] == [["51.0 ± 0.7", "80.0"], ["51.0 ± 0.7", "–"]]
    assert results_section([]) is None
    # What shares no data set with these stands in a table of its own.
    records += [make.run("c", 1, 70.0, dataset="mlqa", languages=("en",))]
    section = results_section(comparisons(records))
    assert section is not None
    both = [block for block in section.blocks if isinstance(block, Table)]
    assert [table.columns[2:] for table in both] == [table.columns[2:], ["mlqa (100)"]]
    assert [[row[0].text for row in table.rows] for table in both] == [["a", "b"], ["c"]]
    assert both[0].caption and not both[1].caption


def test_the_interval_of_a_mean_counts_a_question_once_in_all_languages(evaluation):
    found = evaluation(texts={"el": ("q", "a"), "en": ("q", "a")})
    (comparison,) = comparisons([found])
    apart = comparison.margin(METRICS[0], "truncate 512")
    values = [20.0 + 10 * i for i in range(6)]
    spread = sum((value - 45) ** 2 for value in values) ** 0.5 / 6
    assert apart == pytest.approx(1.96 * spread / 2**0.5), "ids differ: two languages are twelve questions"
    answers = [answer.model_copy(update={"id": answer.id[2:], "unit": answer.id[2:]}) for answer in found.items]
    (comparison,) = comparisons([found.model_copy(update={"items": answers})])
    assert comparison.margin(METRICS[0], "truncate 512") == pytest.approx(1.96 * spread), "the same six questions twice"
    (comparison,) = comparisons([found.model_copy(update={"items": answers[1:]})])
    assert comparison.margin(METRICS[0], "truncate 512") is None, "an answer is missing"


@pytest.mark.parametrize(
    ("dataset", "language", "family", "stem"),
    [
        ("xquad.el", "el", "xquad", "xquad"),
        ("xquad_long.el.10", "el", "xquad_long.10", "xquad_long"),
        ("packaged/xquad.el x5 slot 2", "el", "packaged/xquad x5 slot 2", "packaged/xquad"),
        ("squad_long.3", "en", "squad_long.3", "squad_long"),
        ("squad_long.10 slot 2", "en", "squad_long.10 slot 2", "squad_long"),
        ("squad_v2", "en", "squad_v2", "squad_v2"),
        ("dev-v1.1", "en", "dev-v1.1", "dev-v1.1"),
        ("dev-v1.1 x10", "en", "dev-v1.1 x10", "dev-v1.1"),
        ("mlqa.en.en", "en", "mlqa", "mlqa"),
        ("mlqa.en.de", "en", "mlqa, question in another language", "mlqa, question in another language"),
        ("dev-context-de-question-de", "de", "mlqa.dev", "mlqa.dev"),
        ("dev-context-de-question-de x3", "de", "mlqa.dev x3", "mlqa.dev"),
        ("test-context-de-question-en", "de", "mlqa.test, question in another language",
         "mlqa.test, question in another language"),
    ],
)  # fmt: skip
def test_families(dataset, language, family, stem):
    assert family_name(dataset, language) == family and without_length(family) == stem


def test_pairs_of_languages_are_a_table_of_their_own(make):
    record = make.run("long", 1, 60.0)
    pairs = [("en", "en"), ("en", "de"), ("de", "en"), ("de", "de")]
    scores = [
        record.scores[0].model_copy(update={"dataset": f"mlqa.{a}.{b}", "language": a, "metrics": {"f1": 10.0 + i}})
        for i, (a, b) in enumerate(pairs)
    ]
    (comparison,) = comparisons([record.model_copy(update={"scores": scores})])
    (languages,) = (section for section in score_sections(comparison) if section.anchor == "languages")
    (table,) = dict(languages.details)["Languages of text and question"]
    assert isinstance(table, Table) and list(table.columns) == ["Text", "de", "en"]
    assert [cell.text for cell in table.rows[0]] == ["German (de)", "13.0", "12.0"]
