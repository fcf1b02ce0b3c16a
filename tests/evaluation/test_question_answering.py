from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longspan.data.qa import GoldAnswer, QaDataset, QaExample, concatenate, read_squad
from longspan.errors import InputError
from longspan.evaluation import evaluate_question_answering, systems_for
from longspan.evaluation.cells import Cells
from longspan.metrics import aggregate, score_answer, squad_v2_scores
from longspan.records import read_record, write_record
from longspan.tasks.open_model import load_qa_model
from longspan.tasks.question_answering import scoring

ABOUT = {"name": "people", "model": "none", "protocol": "as they are", "progress": False}


@given(missing=st.sets(st.integers(0, 23)))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_question_counts_answered_or_not(people, scripted, missing):
    ids = [example.id for example in people.examples]
    system = scripted(missing={ids[i] for i in missing})
    record = evaluate_question_answering({"some": system}, [people], **ABOUT)
    (score,) = record.scores
    assert score.n_items == len(record.items) == 24
    assert score.metrics["f1"] == pytest.approx(100 * (24 - len(missing)) / 24)
    assert score.counts.get("no_prediction", 0) == len(missing)


def test_scores_are_those_of_the_metrics(people_twice, scripted):
    system = scripted(wrong=["0-0", "3-1"])
    record = evaluate_question_answering({"some": system}, people_twice, **ABOUT)
    for dataset, score in zip(people_twice, record.scores, strict=True):
        predictions = system.predict(dataset.examples)
        for rules, ending in (("mlqa", ""), ("squad", "_squad")):
            rows = [
                score_answer(prediction.text, [gold.text for gold in example.answers], dataset.language, rules)
                for example, prediction in zip(dataset.examples, predictions, strict=True)
            ]
            means = aggregate(rows)
            assert score.metrics["f1" + ending] == pytest.approx(means["f1"])
            assert score.metrics["em" + ending] == pytest.approx(means["exact_match"])


def test_answers_say_where_they_stand(people, scripted):
    joined = concatenate(people, 3)
    record = evaluate_question_answering({"some": scripted()}, [joined], **ABOUT)
    for example, answer in zip(joined.examples, record.items, strict=True):
        start = example.answers[0].start
        assert answer.extra["depth"] == pytest.approx(start / len(example.context))
        assert answer.variant == example.slot
        shown = answer.extra.get("context_before", "") + answer.prediction + answer.extra.get("context_after", "")
        assert shown in example.context
    assert record.scores[0].seconds_per_item == 0.25


def test_the_text_around_an_answer_cuts_no_grapheme(people, scripted):
    astronaut = "👩🏽\u200d🚀"
    context = astronaut * 40 + " Anna " + astronaut * 40
    example = replace(people.examples[0], context=context, answers=(GoldAnswer("Anna", context.index("Anna")),))
    record = evaluate_question_answering({"some": scripted()}, [replace(people, examples=[example])], **ABOUT)
    (item,) = record.items
    for text in (item.extra["context_before"], item.extra["context_after"]):
        assert set(text.strip().split(astronaut)) == {""}


def test_a_gold_answer_that_is_nowhere_is_counted_and_asked(people, scripted):
    lost = replace(people.examples[0], answers=(GoldAnswer("not in there", None),))
    data = replace(people, examples=[lost, *people.examples[1:]])
    record = evaluate_question_answering({"some": scripted(wrong=[lost.id])}, [data], **ABOUT)
    assert record.scores[0].n_items == 24
    assert record.scores[0].counts["gold_not_in_document"] == 1
    assert record.settings["gold_not_in_document"] == {people.name: [lost.id]}
    assert record.items[0].metrics["f1"] == 0 and "depth" not in record.items[0].extra


def test_an_empty_document_is_a_wrong_answer(people, scripted):
    data = replace(people, examples=[replace(people.examples[0], context=" "), *people.examples[1:]])
    record = evaluate_question_answering({"some": scripted()}, [data], **ABOUT)
    assert record.scores[0].metrics["em"] == pytest.approx(100 * 23 / 24)


def test_repeated_ids_keep_their_own_answers(people, scripted):
    data = replace(people, examples=[replace(example, id="same") for example in people.examples])
    record = evaluate_question_answering({"some": scripted()}, [data], **ABOUT)
    assert record.scores[0].metrics["em"] == 100


def test_questions_without_an_answer_follow_the_squad_2_scorer(scripted):
    context = "Anna was born in Lund."
    answer = (GoldAnswer("Lund", 17),)
    examples = [
        QaExample(id="a", question="Where?", context=context, answers=answer),
        QaExample(id="b", question="When?", context=context, answers=(), is_impossible=True),
        QaExample(id="c", question="Where was she born?", context=context, answers=answer),
        QaExample(id="d", question="Why?", context=context, answers=(), is_impossible=True),
    ]
    data = QaDataset(name="squad_v2", language="en", examples=examples)
    # c is refused though it has an answer; d is answered though it has none.
    record = evaluate_question_answering({"some": scripted(wrong=["d"], no_answer=["b", "c"])}, [data], **ABOUT)
    metrics = record.scores[0].metrics
    wanted = squad_v2_scores(
        ["Lund", "", "Lund", "Ann"], [["Lund"], [], ["Lund"], []], no_answer_scores=[-1, 1, 1, -1], threshold=0
    )
    assert metrics["HasAns_exact"] == wanted["HasAns_exact"] == 50
    assert metrics["NoAns_exact"] == wanted["NoAns_exact"] == 50
    assert metrics["em"] == wanted["exact"] == 50
    assert metrics["best_f1"] == wanted["best_f1"]
    assert [row.prediction for row in record.items] == ["Lund", "", "", "Ann"]


def test_the_thesis_protocol_stands_beside_the_honest_one_over_its_survivors(people, scripted):
    texts = {"0-0": people.examples[0].answers[0].text + " in 1901", "0-1": "", "1-0": "the " + "Graz"}
    data = replace(people, language="de")

    class AsTheThesis(type(scripted())):
        def predict(self, examples, *, progress=True):
            found = super().predict(examples)
            return [replace(prediction, argmax_text=texts.get(prediction.id)) for prediction in found]

    record = evaluate_question_answering({"some": AsTheThesis(missing=["5-0"])}, [data], **ABOUT)
    (score,) = record.scores
    own = {answer.id: answer.metrics for answer in record.items if "f1_thesis" in answer.metrics}
    assert set(own) == set(texts)
    # "Lund in 1901" for Lund: one of three words; "the" is an article by the English rules, in German too.
    assert [own[identifier]["f1_thesis"] for identifier in texts] == pytest.approx([50, 0, 100])
    assert [own[identifier]["em_thesis"] for identifier in texts] == [0, 0, 100]
    assert score.metrics["f1_thesis"] == pytest.approx(50) and score.metrics["em_thesis"] == pytest.approx(100 / 3)
    assert score.metrics["f1"] == pytest.approx(100 * 23 / 24), "every question, whatever the thesis drops"
    (place,) = {place.metrics.get("f1_thesis") for place in record.places if "f1_thesis" in place.metrics} or {None}
    assert sum(place.n_items for place in record.places) == 24 and place is not None


def test_differences_are_paired_over_all_and_each_data_set(people_twice, scripted):
    systems = {"bad": scripted(wrong=[f"{i}-0" for i in range(12)]), "good": scripted()}
    record = evaluate_question_answering(systems, people_twice, **ABOUT)
    assert [(d.system, d.baseline, d.dataset) for d in record.differences] == [
        ("good", "bad", "all"),
        ("good", "bad", "people.en"),
        ("good", "bad", "people.de"),
    ]
    assert record.differences[0].mean == pytest.approx(50) and record.differences[0].low > 25


def test_a_stopped_run_goes_on_where_it_was(people_twice, scripted, tmp_path):
    class Stopped(type(scripted())):
        def predict(self, examples, *, progress=True):
            if self.n_calls == 1:
                raise KeyboardInterrupt
            return super().predict(examples, progress=progress)

    def settings_of(predictor):
        predictor.settings = "the same"
        return predictor

    cells = tmp_path / "cells"
    with pytest.raises(KeyboardInterrupt):
        evaluate_question_answering({"some": settings_of(Stopped())}, people_twice, partial=cells, **ABOUT)
    assert len(list(cells.iterdir())) == 1
    again = settings_of(scripted())
    record = evaluate_question_answering({"some": again}, people_twice, partial=cells, **ABOUT)
    assert again.n_calls == 1 and len(record.scores) == 2
    # Other questions are not what was kept.
    fewer = [replace(dataset, examples=dataset.examples[:5]) for dataset in people_twice]
    record = evaluate_question_answering({"some": again}, fewer, partial=cells, **ABOUT)
    assert [score.n_items for score in record.scores] == [5, 5]
    # A damaged cell is computed anew.
    for path in cells.iterdir():
        path.write_text(path.read_text()[:40])
    evaluate_question_answering({"some": again}, people_twice, partial=cells, **ABOUT)
    Cells(cells).remove()
    assert not cells.exists()


def test_a_cell_that_was_stopped_goes_on_inside(people, scripted, tmp_path, monkeypatch):
    """24 questions in lots of five; stopped in the fourth lot, they end as if nothing had been."""
    monkeypatch.setattr(scoring, "_LOT", 5)

    class Scripted(type(scripted())):
        settings = "the same"
        n_asked, n_allowed = 0, 99

        def predict(self, examples, *, progress=True):
            if self.n_asked >= self.n_allowed:
                raise KeyboardInterrupt
            self.n_asked += len(examples)
            return super().predict(examples, progress=progress)

    cells, wrong, missing = tmp_path / "cells", ["0-1", "7-0"], ["2-0"]
    whole = evaluate_question_answering({"some": Scripted(wrong=wrong, missing=missing)}, [people], **ABOUT)
    stopped = Scripted(wrong=wrong, missing=missing)
    stopped.n_allowed = 15
    with pytest.raises(KeyboardInterrupt):
        evaluate_question_answering({"some": stopped}, [people], partial=cells, **ABOUT)
    assert sorted(path.name.split(".", 1)[1] for path in cells.iterdir()) == ["0.lot.json", "10.lot.json", "5.lot.json"]
    # A damaged lot and those behind it are asked again.
    (damaged,) = cells.glob("*.10.lot.json")
    damaged.write_text(damaged.read_text()[:-9])
    again = Scripted(wrong=wrong, missing=missing)
    record = evaluate_question_answering({"some": again}, [people], partial=cells, **ABOUT)
    assert again.n_asked == 14 and record.items == whole.items
    assert record.scores[0].metrics == whole.scores[0].metrics and record.scores[0].n_items == 24
    assert [path.name.split(".", 1)[1] for path in cells.iterdir()] == ["cell.json"]
    with pytest.raises(KeyboardInterrupt):
        evaluate_question_answering({"other": stopped}, [people], partial=cells, **ABOUT)
    Cells(cells).remove()
    assert not cells.exists()


@pytest.mark.parametrize(
    "systems, n_datasets, options, message",
    [
        ({}, 1, {}, "no system"),
        ({"a": None}, 0, {}, "no data set"),
        ({"a": None}, 2, {}, "two data sets are called"),
        ({"a": None}, 1, {"compare": "b"}, "no system 'b'"),
    ],
)
def test_refuses_what_makes_no_table(people, systems, n_datasets, options, message):
    with pytest.raises(InputError, match=message):
        evaluate_question_answering(systems, [people] * n_datasets, **ABOUT, **options)


def test_real_predictors_tell_what_they_did_not_read(tiny_qa_folder, tiny_squad, tmp_path):
    joined = concatenate(read_squad(tiny_squad), 4)
    systems = systems_for(
        *load_qa_model(tiny_qa_folder("longformer")),
        names=["truncate 48", "windows of 48", "window + global question"],
    )
    record = evaluate_question_answering(systems, [joined], partial=tmp_path / "cells", **ABOUT)
    counts = {score.system: score.counts["gold_not_read"] for score in record.scores}
    assert counts["truncate 48"] > 0
    assert counts["windows of 48"] == counts["window + global question"] == 0
    survivors = {score.system: score.counts["thesis_survivors"] for score in record.scores}
    cut_away = {score.system: score.counts.get("thesis_cut_away", 0) for score in record.scores}
    assert survivors["truncate 48"] == survivors["windows of 48"] < survivors["window + global question"] == 12
    assert all(survivors[name] + cut_away[name] == 12 for name in systems)
    assert all(("f1_thesis" in score.metrics) == (survivors[score.system] > 0) for score in record.scores)
    # The document's own length, however little of it a system reads.
    lengths = [[a.n_tokens for a in record.items if a.system == name] for name in systems]
    assert lengths[0] == lengths[1] == lengths[2] and min(lengths[0]) > 48
    settings_kept = record.settings["systems"]["window + global question"]
    assert settings_kept["attention_window"] == [8, 8] and settings_kept["global_tokens"] == "question"
    assert read_record(write_record(record, tmp_path / "evaluation.json")) == record
    again = evaluate_question_answering(systems, [joined], partial=tmp_path / "cells", **ABOUT)
    assert again.scores == record.scores, "cells are found again, seconds and all"
