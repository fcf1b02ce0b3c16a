"""Both protocols, places, differences, language models and grids: the sections' own figures."""

import re

import pytest

from longspan.records.older import METRICS
from longspan.report.blocks import Figures, Table, Text, signed
from longspan.report.canvas import parted
from longspan.report.comparison import comparisons
from longspan.report.differences import comparison_section, differences_section
from longspan.report.examples import examples_of
from longspan.report.grid import grid_section
from longspan.report.heat_map import edges, shade
from longspan.report.language_model import language_model_section
from longspan.report.markdown import to_markdown
from longspan.report.page import make_sections
from longspan.report.protocols import protocols_section
from longspan.report.training import training_section
from longspan.report.where import where_section


def tables(blocks):
    return [block for block in blocks if isinstance(block, Table)]


def texts(table):
    return [[cell.text for cell in row] for row in table.rows]


def plots(blocks):
    return [plot for block in blocks if isinstance(block, Figures) for plot in block.plots]


def test_both_protocols_side_by_side(make):
    (comparison,) = comparisons([make.run("long", seed, 50.0 + seed, thesis=True) for seed in (1, 3)])
    section = protocols_section(comparison)
    (table,) = tables(section.blocks)
    assert texts(table) == [["window", "51.5 ± 1.4", "59.5 ± 1.4", "+8.0", "160 of 200 (80 %)"]]
    (by_language,) = dict(section.details)["Both protocols, language by language"]
    assert texts(by_language)[0] == ["Greek (el)", "window", "52.0 ± 1.4", "60.0 ± 1.4", "+8.0", "80 of 100 (80 %)"]
    (comparison,) = comparisons([make.run("long", 1, 50.0)])
    assert protocols_section(comparison) is None


@pytest.mark.parametrize(("seconds", "is_said"), [((240.0, 1900.0), True), ((1900.0, 5300.0), False)])
def test_minutes_are_said_where_the_longest_training_took_no_more(evaluation, training, seconds, is_said):
    records = [evaluation(), *(training(each) for each in seconds)]
    page = to_markdown("page", make_sections(records, [None] * len(records)))
    assert ("The training took minutes instead of the hours" in page) == is_said


@pytest.mark.parametrize(
    ("epoch", "said"), [(None, "5 steps, on 100 examples"), (0.394, "5 steps, 0.39 epochs of 100 examples")]
)
def test_a_training_that_ended_within_its_first_epoch_has_not_seen_all(training, epoch, said):
    record = training()
    if epoch is not None:
        record.steps[-1].values["epoch"] = epoch
    assert said in to_markdown("page", make_sections([record], [None]))


def test_honest_f1_of_the_survivors_alone_and_languages_without_any(evaluation):
    found = evaluation(texts={"el": ("q", "a"), "en": ("q", "a")})
    answers, scores = [], []
    for answer in found.items:
        survives = answer.language == "el" and answer.id in {"el4", "el5"}
        metrics = answer.metrics | ({"f1_thesis": 100.0} if survives else {})
        answers.append(answer.model_copy(update={"metrics": metrics}))
    for score in found.scores:
        metrics = score.metrics | ({"f1_thesis": 100.0} if score.language == "el" else {})
        counts = {"thesis_survivors": 2 if score.language == "el" else 0}
        scores.append(score.model_copy(update={"metrics": metrics, "counts": counts}))
    (comparison,) = comparisons([found.model_copy(update={"items": answers, "scores": scores})])
    section = protocols_section(comparison)
    (table,) = tables(section.blocks)
    assert texts(table)[0] == ["truncate 512", "45.0", "100.0", "+55.0", "65.0", "2 of 12 (17 %)"]
    (by_language,) = dict(section.details)["Both protocols, language by language"]
    assert ["English (en)", "truncate 512", "–", "–", "–", "–", "0 of 6 (0 %)"] in texts(by_language)


@pytest.mark.parametrize("n_seeds", [1, 2])
def test_places_are_heat_maps_and_every_question_is_there_once(make, n_seeds):
    (comparison,) = comparisons(make.places(n_seeds=n_seeds))
    section = where_section(comparison)
    by_length, spread = tables(section.blocks)
    assert list(by_length.columns) == ["System", "1", "3", "5"]
    assert texts(by_length) == [["window", "89.0", "77.0", "65.0"], ["questions", "8", "24", "40"]]
    assert texts(spread) == [["window", "20.0", "40.0"]]
    _, heat_map, scale = plots(section.blocks)
    assert heat_map.title == "window" and heat_map.drawing.count("<rect") == 1 + 3 + 5
    assert "3 paragraphs: 87, 77, 67" in heat_map.words and "from 0" in scale.words
    assert "3 paragraphs, answer in paragraph 2: 77.0, 8 questions" in heat_map.drawing
    details = dict(section.details)
    (every,) = details["Every place in numbers"]
    assert sum(int(row[-1]) for row in texts(every)) == 72
    languages, *_ = details["Every language"]
    assert texts(languages)[0] == ["Greek (el)", "window", "89.0", "77.0", "65.0", "36"]


def test_figures_of_few_questions_are_marked(make):
    """Eight questions at one paragraph, 24 at three, 40 at five; a hundred times as many are enough everywhere."""
    (record,) = make.places()
    (comparison,) = comparisons([record])
    section = where_section(comparison)
    line, heat_map, _ = plots(section.blocks)
    assert ">(89)<" in heat_map.drawing and ">(87)<" in heat_map.drawing
    assert tables(section.blocks)[0].caption.endswith("Hollow above: fewer than 20 questions.")
    assert "In brackets: fewer than 20 questions." in [
        block.text for block in section.blocks if isinstance(block, Text)
    ]
    many = [place.model_copy(update={"n_items": 100 * place.n_items}) for place in record.places]
    (comparison,) = comparisons([record.model_copy(update={"places": many})])
    section = where_section(comparison)
    other_line, heat_map, _ = plots(section.blocks)
    assert ">89<" in heat_map.drawing and "(8" not in heat_map.drawing
    assert "Hollow" not in tables(section.blocks)[0].caption and line.drawing != other_line.drawing


def test_lengths_in_tokens_are_told_once(evaluation, make):
    found = evaluation()
    assert "By the length of the document" in to_markdown("page", make_sections([found], [None]))
    places = [place.model_copy(update={"unit": "tokens"}) for place in make.places()[0].places]
    page = to_markdown("page", make_sections([found.model_copy(update={"places": places})], [None]))
    assert "By the length of the document" not in page


def test_one_system_is_not_ranked(make):
    page = to_markdown("page", make_sections([make.run("long", 1, 50.0)], [None]))
    assert "Mean F1: window 49.5." in page
    page = to_markdown("page", make_sections([make.run("long", 1, 50.0, systems=("window", "truncate"))], [None]))
    assert "Mean F1, best first: window 49.5; truncate 49.5." in page


def test_each_of_several_data_sets_has_its_paragraph(make):
    records = [make.run("long", 1, 50.0), make.run("long", 1, 80.0, dataset="squad", languages=("en",))]
    records.append(make.run("short", 1, 40.0, languages=("el",)))
    page = to_markdown("page", make_sections(records, [None] * 3))
    for lead in ("**xquad (long):** 1 system read 200", "**squad:** 1 system", "**xquad (short):** 1 system"):
        assert lead in page
    assert "## xquad (short): How the systems compare" in page and "*Few questions were read: " in page
    few = records[1].model_copy(update={"scores": [records[1].scores[0].model_copy(update={"n_items": 900})]})
    page = to_markdown("page", make_sections([records[0], few], [None] * 2))
    assert "*Few questions were read of xquad: " in page
    assert "\n1 system read 200" in to_markdown("page", make_sections(records[:1], [None]))


def test_questions_a_second_beside_the_others(make):
    record = make.run("long", 1, 50.0, systems=("window", "full attention"))
    scores = [
        score.model_copy(update={"seconds_per_item": seconds, "n_items": n})
        for score, seconds, n in zip(record.scores, (0.2, 0.7, 0.4, 1.4), (300, 300, 100, 100), strict=True)
    ]
    page = to_markdown("page", make_sections([record.model_copy(update={"scores": scores})], [None]))
    assert "window reads 4 questions per second: 3.5 times as many as full attention." in page
    assert re.search(r"\| window \|.* \| 250 ms \|", page) and re.search(r"\| full attention \|.* \| 875 ms \|", page)


def test_questions_without_a_place_are_counted_and_not_drawn(make):
    (record,) = make.places()
    places = [*record.places, record.places[0].model_copy(update={"depth": None, "slot": None, "length": 3})]
    (comparison,) = comparisons([record.model_copy(update={"places": places})])
    section = where_section(comparison)
    assert plots(section.blocks)[1].drawing.count("<rect") == 1 + 3 + 5
    (every,) = dict(section.details)["Every place in numbers"]
    assert ["3 paragraphs, no gold answer in the document", "89.0", "4"] in texts(every)


def test_fields_reach_halfway_to_their_neighbours():
    assert edges([0.5]) == [(0, 1)]
    assert edges([0.1, 0.3, 0.9]) == [(0, pytest.approx(0.2)), (pytest.approx(0.2), pytest.approx(0.6)), (0.6, 1)]
    assert edges([0.0, 1.0]) == [(0, 0.5), (0.5, 1)]
    assert shade(-1) == shade(0) == (68, 1, 84) and shade(2) == (253, 231, 37)


def test_run_against_run_language_by_language(make):
    record = make.comparison(make.difference(), make.difference("el", 5.0), make.difference("en", 1.0))
    section = comparison_section([record])
    (table,) = tables(section.blocks)
    assert table.caption == "long: window less short: window."
    assert texts(table)[0] == ["all questions", "F1", "+3.0", "+1.0 to +5.0", "0.010", "200"]
    (plot,) = plots(section.blocks)
    assert "language by language" in plot.words
    told = next(block.text for block in section.blocks if isinstance(block, Text))
    assert told.startswith("short against long") and "In 0 of" not in told
    assert comparison_section([]) is None


def test_several_pairs_fold_their_languages_away(make):
    other = {"system": "longer: window"}
    rows = [make.difference(), make.difference("el"), make.difference(**other), make.difference("el", 1.0, **other)]
    section = comparison_section([make.comparison(*rows)])
    (table,) = tables(section.blocks)
    assert len(table.rows) == 2 and len(section.details) == 2


def test_differences_say_which_run_and_seed_they_are_of(make):
    own = make.difference(system="window", baseline="truncate 512")
    records = [
        make.run("long", seed, 60.0, systems=("truncate 512", "window")).model_copy(update={"differences": [own]})
        for seed in (1, 2)
    ]
    (comparison,) = comparisons(records)
    (table,) = tables(differences_section(comparison).blocks)
    assert [row[1] for row in texts(table)] == ["seed 1", "seed 2"]


def test_language_models_before_and_after(make):
    records = [make.pretraining("copied", 2.0), make.pretraining("random", 4.0)]
    section = language_model_section(records)
    (table,) = tables(section.blocks)
    assert list(table.columns) == ["Source", "Run", "When", "512", "1,024"]
    rows = texts(table)
    assert rows[0] == ["all sources", "copied", "before", "10.000", "10.000"]
    assert rows[1] == ["all sources", "copied", "after", "2.000", "2.000"] and table.rows[1][3].is_best
    assert rows[2][:3] == ["all sources", "random", "after"], "its line before training is the one above"
    assert rows[3][0] == "novel, Swedish"
    drawn = plots(section.blocks)
    assert [plot.title for plot in drawn] == ["all sources", "novel, Swedish"] * 2
    assert "Bits per token against tokens" in drawn[0].words and "Loss by position" in drawn[2].words
    assert list(dict(section.details)) == ["Bits per character"]


def test_a_language_model_at_one_length_has_no_line(make):
    section = language_model_section([make.pretraining("a", 2.0, sources=(("t", "unknown"),), lengths=(512,))])
    assert all("Bits per token against" not in plot.words for plot in plots(section.blocks))
    assert language_model_section([]) is None


def test_seeds_of_a_run_share_a_colour_and_many_runs_are_parted(training):
    records = [training().model_copy(update={"name": f"run {i}"}) for i in range(8) for _ in range(2)]
    section = training_section(records)
    drawn = [plot for plot in plots(section.blocks) if plot.words.startswith("training loss")]
    assert len(drawn) == 2 and all(plot.words.count("run ") == 4 for plot in drawn)
    assert parted({str(i): i for i in range(7)}) == [{"0": 0, "1": 1, "2": 2, "3": 3}, {"4": 4, "5": 5, "6": 6}]
    assert parted({}) == []


def test_signs_of_what_rounds_to_zero():
    assert [signed(value) for value in (-0.04, 0.0, -0.0, 0.06, -3.0)] == ["+0.0", "+0.0", "+0.0", "+0.1", "-3.0"]


def test_a_grid_shows_what_failed_and_how_to_do_it_alone(make):
    section = grid_section([make.grid()])
    assert section.blocks[0].text == "Grid “a grid”: 1 of 3 jobs done, 1 FAILED, 1 waiting, 1 min in total."
    states, failed = tables(section.blocks)
    assert [row[1] for row in texts(states)] == ["done", "FAILED", "waiting"]
    assert texts(failed) == [["run failed, seed 42", "InputError: no such file", "longspan finetune failed"]]


def test_gold_answers_in_the_passage_are_marked(evaluation):
    answer = (
        evaluation()
        .items[0]
        .model_copy(
            update={
                "prediction": "Hoesung",
                "gold": ["Hoesung Lee", "in"],
                "extra": {"context_before": "The chair is ", "context_after": " Lee, in Korea (inside)."},
            }
        )
    )
    (section,) = examples_of([("a", answer)], "a", METRICS[0])
    (example,) = (example for block in section.blocks[1:] for example in block.examples)
    marked = [(piece.text, piece.is_answer, piece.is_gold) for piece in example.pieces]
    assert ("Hoesung", True, True) in marked and (" Lee", False, True) in marked and ("in", False, True) in marked
    assert marked[-1] == (" Korea (inside).", False, False), "short answers are whole words"
    assert "".join(piece.text for piece in example.pieces) == "The chair is Hoesung Lee, in Korea (inside)."


def test_marks_in_the_passage_cut_no_grapheme(evaluation):
    passage = {"prediction": "x", "gold": ["cafe"], "extra": {"context_before": "le cafe\u0301 "}}
    answer = evaluation().items[0].model_copy(update=passage)
    (section,) = examples_of([("a", answer)], "a", METRICS[0])
    (example,) = (example for block in section.blocks[1:] for example in block.examples)
    assert not any(piece.text.startswith("\u0301") for piece in example.pieces)


def test_a_question_asked_at_several_places_is_shown_once(evaluation):
    first = evaluation().items[0].model_copy(update={"id": "1", "input": "Who?", "system": "a"})
    answers = [
        first.model_copy(update={"variant": slot, "dataset": dataset, "score": 0.1 * slot, "metrics": {"f1": f1}})
        for dataset, f1 in (("x3", 100.0), ("x5", 0.0))
        for slot in range(3)
    ]
    other = first.model_copy(update={"input": "Where?", "score": 0.0, "metrics": {"f1": 100.0}})
    (section,) = examples_of([("a", answer) for answer in (*answers, other)], "a", METRICS[0])
    best, worst = ([(e.question, e.facts[2]) for e in block.examples] for block in section.blocks[1:])
    assert best == [("Who?", "paragraph 3"), ("Where?", best[1][1])], "the surest of three, and another with its id"
    assert worst == [("Who?", "paragraph 3")]


def test_heat_maps_escape_what_people_wrote(make):
    (record,) = make.places()
    places = [place.model_copy(update={"system": "<b>&"}) for place in record.places]
    scores = [score.model_copy(update={"system": "<b>&"}) for score in record.scores]
    (comparison,) = comparisons([record.model_copy(update={"places": places, "scores": scores})])
    for plot in plots(where_section(comparison).blocks):
        assert not re.search("<b>", plot.drawing)
