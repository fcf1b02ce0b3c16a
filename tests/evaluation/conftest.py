from dataclasses import replace

import pytest

from longspan.data.qa import QaDataset, read_squad
from longspan.tasks.question_answering.predictor import QaPrediction


class Scripted:
    """Answers with the gold, except where told otherwise: ids to leave out, ids to answer wrongly."""

    def __init__(self, missing=(), wrong=(), *, no_answer=()):
        self.missing, self.wrong, self.no_answer = set(missing), set(wrong), set(no_answer)
        self.n_calls = 0

    def predict(self, examples, *, progress=True):
        self.n_calls += 1
        return [self._one(example) for example in examples if example.id not in self.missing]

    def _one(self, example):
        gold = example.answers[0] if example.answers else None
        text, start = (gold.text, gold.start or 0) if gold else ("", 0)
        if example.id in self.wrong:
            text, start = example.context[:3], 0
        return QaPrediction(
            id=example.id,
            text=text,
            start=start,
            end=start + len(text),
            score=0.5,
            alternatives=[],
            no_answer_score=2.0 if example.id in self.no_answer else 0.0,
            n_windows=1,
            n_tokens=30,
            seconds=0.25,
            logit=1.0,
        )


@pytest.fixture
def scripted():
    return Scripted


@pytest.fixture
def people(tiny_squad) -> QaDataset:
    return read_squad(tiny_squad, name="people.en")


@pytest.fixture
def people_twice(people) -> list[QaDataset]:
    return [people, replace(people, name="people.de", language="de")]
