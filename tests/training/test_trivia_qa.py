"""Training on all gold answers at once (on the first where a model takes one), scored by the data set's rules."""

import json

import pytest

from longspan.training.finetune import trainer as trainer_module
from longspan.training.finetune.finetune import finetune

PAGE = "Anna lives in Oslo. Boris came to Oslo in 1990. The City of Oslo is big, and Clara likes oslo. "


@pytest.fixture
def trivia_file(tmp_path):
    """A release of six questions with two pages each, one of which does not hold the answer."""
    pages = tmp_path / "evidence" / "wikipedia"
    pages.mkdir(parents=True)
    (pages / "Oslo.txt").write_text(PAGE * 2)
    (pages / "Rome.txt").write_text("Rome is far away.")
    answer = {"NormalizedAliases": ["oslo", "city of oslo"], "NormalizedValue": "oslo"}
    files = [{"Filename": "Oslo.txt", "Title": "Oslo"}, {"Filename": "Rome.txt", "Title": "Rome"}]
    rows = [
        {"QuestionId": f"q{i}", "Question": "Where does Anna live?", "Answer": answer, "EntityPages": files}
        for i in range(6)
    ]
    (tmp_path / "qa").mkdir()
    path = tmp_path / "qa" / "wikipedia-train.json"
    path.write_text(json.dumps({"Domain": "Wikipedia", "Split": "train", "VerifiedEval": False, "Data": rows}))
    path.with_name("wikipedia-dev.json").write_text(path.read_text().replace('"train"', '"dev"'))
    return path


@pytest.mark.parametrize("model", ["longformer", "xlm-roberta"])
def test_fine_tunes_and_scores(tiny_recipe, trivia_file, monkeypatch, model):
    shapes, rules = [], []
    inner = trainer_module.QaTrainer.training_step

    def training_step(self, module, inputs, *args, **kwargs):
        shapes.append(tuple(inputs["start_positions"].shape))
        return inner(self, module, inputs, *args, **kwargs)

    def score_answer(text, golds, language, rule):
        rules.append((golds, rule))
        return {"exact_match": 0.0, "f1": 0.0}

    monkeypatch.setattr(trainer_module.QaTrainer, "training_step", training_step)
    monkeypatch.setattr(trainer_module, "score_answer", score_answer)
    dev = trivia_file.with_name("wikipedia-dev.json")
    record = finetune(tiny_recipe(model, train_data=str(trivia_file), eval_data=str(dev), max_steps=2))
    # Each page is a document; the one without the answer cannot be learned from, and is counted.
    assert record.counts["questions"] == 12
    assert record.counts["questions_without_label"] == 6
    assert record.counts["eval_questions"] == 6
    assert {len(shape) for shape in shapes} == ({2} if model == "longformer" else {1})
    assert all(shape[1] > 1 for shape in shapes if len(shape) == 2)
    assert rules == [(["oslo", "city of oslo"], "trivia_qa")] * 6
