from dataclasses import replace

import pytest

from longspan.data.qa import GoldAnswer, concatenate
from longspan.evaluation import evaluate_question_answering
from longspan.tasks.question_answering.places import places_of, require_every_question

ABOUT = {"name": "people", "model": "none", "protocol": "as they are", "progress": False}


def evaluated(system, *datasets):
    return evaluate_question_answering({"some": system}, datasets, **ABOUT)


def test_joined_paragraphs_stand_by_their_number_and_the_slot(people, scripted):
    joined = [concatenate(people, n, gold_slot="all") for n in (1, 4)]
    record = evaluated(scripted(wrong=["0-0"]), *joined)
    places = record.places
    assert [(row.length, row.unit, row.slot, row.depth) for row in places] == [
        (1, "paragraphs", 0, 0.5),
        *[(4, "paragraphs", slot, (slot + 0.5) / 4) for slot in range(4)],
    ]
    assert {row.n_items for row in places} == {12} and {row.mean_tokens for row in places} == {30}
    assert {row.dataset for row in places} == {"people.en (every slot) x1", "people.en (every slot) x4"}
    assert [row.metrics["f1"] for row in places] == [pytest.approx(100 * 11 / 12)] * 5
    assert [score.n_items for score in record.scores] == [12, 48]


def test_made_documents_stand_by_what_they_were_made_with(people, scripted):
    made = [
        replace(example, depth=(i % 3) / 2, nominal_tokens=256 << (i % 2)) for i, example in enumerate(people.examples)
    ]
    places = evaluated(scripted(), replace(people, examples=made)).places
    assert [(row.length, row.depth) for row in places] == [(n, d) for n in (256, 512) for d in (0, 0.5, 1)]
    assert {(row.unit, row.slot, row.n_items) for row in places} == {("tokens", None, 4)}


def test_whole_documents_are_grouped_by_powers_of_two_and_fifths(people, scripted):
    record = evaluated(scripted(), people)
    sizes = [1, 128, 129, 256, 257, 4096, 4097, None]
    depths = [0.0, 0.19, 0.2, 0.5, 0.99, 1.0, None, 0.0]
    rows = zip(record.items, sizes, depths, strict=False)
    answers = [answer.model_copy(update={"n_tokens": n, "extra": {"depth": depth}}) for answer, n, depth in rows]
    places = places_of(replace(people, examples=people.examples[:8]), answers)
    assert [(row.length, row.depth, row.n_items) for row in places] == [
        (0, 0.1, 1),
        (128, 0.1, 2),
        (256, 0.3, 1),
        (256, 0.5, 1),
        (512, 0.9, 1),
        (4096, 0.9, 1),
        (8192, None, 1),
    ]
    assert sum(row.n_items for row in places) == 8


def test_every_question_has_a_place_however_odd(people, scripted):
    odd = [replace(people.examples[0], answers=(GoldAnswer("not in there", None),)), *people.examples[1:]]
    odd[1] = replace(odd[1], context=" ")
    record = evaluated(scripted(missing=[odd[2].id]), replace(people, examples=odd))
    assert sum(row.n_items for row in record.places) == record.scores[0].n_items == 24
    assert [row.depth for row in record.places if row.length == 128][-1] is None
    for row in record.places:
        assert set(row.metrics) >= {"f1", "em"}


def test_cells_that_do_not_add_up_are_a_fault(people, scripted):
    record = evaluated(scripted(), people)
    require_every_question([people], record.scores, record.places)
    for scores, places, data in (
        (record.scores, record.places[1:], people),
        (record.scores, [*record.places, record.places[0]], people),
        (record.scores, record.places, replace(people, examples=people.examples[1:])),
        ([record.scores[0].model_copy(update={"n_items": 23})], record.places, people),
    ):
        with pytest.raises(RuntimeError, match=r"some on people.en: of 2[34] questions"):
            require_every_question([data], scores, places)
