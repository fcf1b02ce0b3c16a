import json
import logging

import pytest

from longspan.errors import InputError
from longspan.tasks.question_answering.training_data import read_questions


def test_answers_that_are_nowhere_are_named(tiny_squad, tiny_recipe, tmp_path, caplog):
    path = tmp_path / "lost.json"
    content = json.loads(tiny_squad.read_text())
    content["data"][0]["paragraphs"][3]["qas"][1]["answers"] = [{"text": "nowhere", "answer_start": 0}]
    path.write_text(json.dumps(content))
    with caplog.at_level(logging.WARNING, "longspan"):
        questions = read_questions(tiny_recipe(train_data=str(path)), for_evaluation=False)
    assert "lost: answers that are not in their document, of the questions 3-1" in caplog.text
    assert questions.counts["unlocatable_answers"] == 1
    assert len(questions.examples) == 24


def test_each_data_set_joins_its_own_number_of_paragraphs(tiny_recipe, tiny_squad):
    recipe = tiny_recipe(train_data=[str(tiny_squad), f"{tiny_squad} x3"], first_question_only=False)
    questions = read_questions(recipe, for_evaluation=False)
    assert [example.n_slots for example in questions.examples] == [1] * 24 + [3] * 24
    with pytest.raises(InputError, match="x0 joins no paragraph"):
        read_questions(tiny_recipe(train_data=[f"{tiny_squad} x0"]), for_evaluation=False)
