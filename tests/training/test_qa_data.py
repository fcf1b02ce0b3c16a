import json
import logging

from longspan.training.qa_data import read_questions


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
