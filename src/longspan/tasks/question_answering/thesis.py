"""Scores by the protocol of the thesis, on the same predictions as the honest scores.

Sagen (Large-Context Question Answering with Cross-Lingual Transfer, 2021) reads the first window only, drops questions
whose gold answer is not aligned to tokens, chooses start and end independently, and compares by SQuAD's English
rules in every language. docs/evaluation-protocol.md says where this differs from his script.
"""

from collections.abc import Sequence
from statistics import fmean

from longspan.data.qa import QaDataset
from longspan.metrics import score_answer
from longspan.records import EvaluationRecord, Item
from longspan.tasks.question_answering.predictor import QaPrediction
from longspan.tasks.question_answering.windows_read import Reading, characters_of
from longspan.text_table import aligned

_METRICS = ("f1_thesis", "em_thesis")


def thesis_metrics(prediction: QaPrediction | None, golds: Sequence[str]) -> dict[str, float]:
    """`f1_thesis` and `em_thesis` of one question, in per cent; empty if the thesis drops the question."""
    if prediction is None or prediction.argmax_text is None:
        return {}
    found = score_answer(prediction.argmax_text, golds, "en", "squad")
    return {"f1_thesis": found["f1"], "em_thesis": found["exact_match"]}


def thesis_means(items: Sequence[Item]) -> dict[str, float]:
    """Means over the questions that the thesis keeps; empty if there are none."""
    survivors = [item.metrics for item in items if _METRICS[0] in item.metrics]
    return {name: fmean(metrics[name] for metrics in survivors) for name in _METRICS} if survivors else {}


def thesis_counts(dataset: QaDataset, items: Sequence[Item], read: Sequence[Reading]) -> dict[str, int]:
    """`thesis_survivors`, and of those that are dropped `thesis_cut_away`: the answer ends beyond the first window."""
    if not read:
        return {}
    survives = [_METRICS[0] in item.metrics for item in items]
    cut_away = 0
    for example, survived, reading in zip(dataset.examples, survives, read, strict=True):
        gold = characters_of(example.answers[0]) if example.answers else None
        cut_away += not survived and gold is not None and bool(reading.spans) and gold[1] > reading.spans[0][1]
    return {"thesis_survivors": sum(survives), "thesis_cut_away": cut_away}


def thesis_lines(record: EvaluationRecord) -> list[str]:
    """Return lines of text for the terminal: each system's scores by the thesis' protocol; none if nothing has them."""
    rows = [["the thesis' protocol", "F1", "EM", "survivors"]]
    for system in dict.fromkeys(score.system for score in record.scores):
        own = [score for score in record.scores if score.system == system and "thesis_survivors" in score.counts]
        if own:
            n_survivors = sum(score.counts["thesis_survivors"] for score in own)
            asked = sum(score.n_items for score in own)
            means = [[s.metrics[name] for s in own if name in s.metrics] for name in _METRICS]
            shown = [f"{fmean(values):.1f}" if values else "-" for values in means]
            rows.append([system, *shown, f"{n_survivors} of {asked}"])
    if len(rows) == 1:
        return []
    return ["", *aligned(rows), "Over survivors alone, the first window, start and end apart, English rules."]
