"""A data set with rules and aliases of its own is scored by these."""

from dataclasses import replace

from longspan.data.qa import GoldAnswer, QaDataset, QaExample
from longspan.evaluation import evaluate_question_answering

CONTEXT = "The band is from the City-of-Oslo, said Anna."
EXAMPLE = QaExample(
    id="tc_1",
    question="From where?",
    context=CONTEXT,
    answers=(GoldAnswer("City-of-Oslo", CONTEXT.index("City")),),
    supervision="all",
    rules="trivia_qa",
    aliases=("oslo", "city of oslo"),
)


def test_answers_are_compared_with_aliases_by_trivia_qas_rules(scripted):
    # No page: asked all the same, and answered wrongly.
    empty = replace(EXAMPLE, id="tc_2", context="", answers=(GoldAnswer("oslo", None),))
    dataset = QaDataset(name="trivia_qa", language="en", examples=[EXAMPLE, empty])
    record = evaluate_question_answering(
        {"x": scripted()}, [dataset], name="n", model="m", protocol="p", progress=False
    )
    first, second = record.items
    assert first.gold == ["oslo", "city of oslo"]
    # As SQuAD has it, `City-of-Oslo` is one word.
    assert (first.metrics["em"], first.metrics["em_squad"], first.metrics["f1_squad"]) == (100, 0, 0)
    assert second.metrics["em"] == 0
    (score,) = record.scores
    assert (score.n_items, score.metrics["em"]) == (2, 50)
    assert score.counts["gold_not_in_document"] == 1
