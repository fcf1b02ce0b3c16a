"""Answers -> scores: every question of a data set counts."""

from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longspan.data.qa import QaDataset, QaExample
from longspan.graphemes import whole_graphemes
from longspan.metrics import aggregate, score_answer, squad_v2_scores
from longspan.records import Item, Score, older
from longspan.tasks.question_answering.decoding import SpanDecoder, WindowLogits
from longspan.tasks.question_answering.predictor import QaPrediction
from longspan.tasks.question_answering.thesis import thesis_counts, thesis_means, thesis_metrics
from longspan.tasks.question_answering.windows_read import Reading, has_lost_its_gold, is_read
from longspan.tasks.task import FeatureSet, Scored

_SNIPPET = 100  # characters shown on each side of an answer
_HONEST = ("f1", "em", "f1_squad", "em_squad")  # metrics that every answer has


def score_answers(
    system: str, dataset: QaDataset, predictor: Any, predictions: Sequence[QaPrediction | None]
) -> Scored:
    """Score one system's answers to one data set; a question without a prediction is answered wrongly.

    Metrics, in per cent, of each answer and as means: `f1` and `em` by each language's own rules (MLQA's), `f1_squad`
    and `em_squad` by SQuAD's English rules; for data with unanswerable questions also the figures of SQuAD 2.0's
    scorer. `f1_thesis` and `em_thesis` follow the thesis' protocol, over the questions that its filter keeps
    (`counts["thesis_survivors"]`).
    """
    del predictor
    read = _readings(predictions)
    allows_none = any(example.is_impossible for example in dataset.examples)
    items: list[Item] = []
    repeats: Counter[tuple[str, int | None]] = Counter()
    for i, (example, prediction) in enumerate(zip(dataset.examples, predictions, strict=True)):
        text = None if prediction is None else _final_text(prediction, allows_none=allows_none)
        n_tokens = read[i].n_tokens if read else None if prediction is None else prediction.n_tokens
        unit = older.unit_of(example.id, repeats[example.id, example.slot])
        repeats[example.id, example.slot] += 1
        items.append(_item(system, dataset, example, unit, prediction, text, n_tokens))
    honest = aggregate([{name: item.metrics[name] for name in _HONEST} for item in items])
    metrics = honest | thesis_means(items)
    if allows_none:
        metrics |= _squad_v2(dataset, predictions)
    seconds = [prediction.seconds for prediction in predictions if prediction is not None]
    score = Score(
        system=system,
        dataset=dataset.name,
        language=dataset.language,
        n_items=len(items),
        metrics=metrics,
        seconds_per_item=fmean(seconds) if seconds else None,
        peak_memory_gib=None,
        counts=_counts(dataset, items, predictions, read),
    )
    return Scored(score, items, [metric for metric in older.METRICS if metric.name in metrics])


def score_windows(
    examples: Sequence[tuple[QaExample, str]],
    rows: FeatureSet,
    logits: Sequence[NDArray[np.floating]],
    *,
    max_answer_tokens: int,
) -> dict[str, float]:
    """Return exact match and F1 of questions, given the model's logits of all their windows.

    Args:
        examples: each with its language.
        rows: the windows.
        logits: of the answer's start and end, float [windows, T] each.
        max_answer_tokens: longest answer.
    """
    start_NT, end_NT = logits[0], logits[1]
    decoders = [SpanDecoder(example.context, max_answer_tokens=max_answer_tokens) for example, _ in examples]
    for row in range(len(rows)):
        window = rows[row]
        n = len(window.input_ids)
        decoders[window.example_index].add(WindowLogits(start_NT[row, :n], end_NT[row, :n], window.offsets))
    # Only a data set with unanswerable questions (SQuAD 2.0) gives the model the choice not to answer.
    may_decline = any(example.is_impossible for example, _ in examples)
    scores = []
    for decoder, (example, language) in zip(decoders, examples, strict=True):
        spans, no_answer_score = decoder.decoded()
        declines = may_decline and (not spans or no_answer_score > spans[0].logit)
        text = "" if declines or not spans else spans[0].text
        scores.append(score_answer(text, example.golds, language, example.rules))
    return aggregate(scores)


def _readings(predictions: Sequence[QaPrediction | None]) -> list[Reading]:
    """Return what was read of each document; nothing if the predictions do not say."""
    if not any(one is not None and one.n_tokens_document is not None for one in predictions):
        return []
    return [
        Reading(0, []) if one is None or one.n_tokens_document is None else Reading(one.n_tokens_document, one.windows)
        for one in predictions
    ]


def _final_text(prediction: QaPrediction, *, allows_none: bool) -> str:
    """The answer; empty if the model finds none and the data has unanswerable questions."""
    return "" if allows_none and prediction.no_answer_score > prediction.logit else prediction.text


def _item(
    system: str,
    dataset: QaDataset,
    example: QaExample,
    unit: str,
    prediction: QaPrediction | None,
    text: str | None,
    n_tokens: int | None,
) -> Item:
    golds = example.golds
    own = score_answer(text, golds, dataset.language, example.rules)
    squad = score_answer(text, golds, dataset.language, "squad")
    start = next((answer.start for answer in example.answers if answer.start is not None), None)
    before = after = ""
    if prediction is not None and text:
        first, last = max(0, prediction.start - _SNIPPET), prediction.end + _SNIPPET
        first, last = whole_graphemes(example.context, first, last)
        before, after = example.context[first : prediction.start], example.context[prediction.end : last]
    n_tokens_read = None if prediction is None else prediction.n_tokens
    extra = {"context_before": before, "context_after": after}
    return Item(
        id=example.id,
        unit=unit,
        variant=example.slot,
        system=system,
        dataset=dataset.name,
        language=dataset.language,
        input=example.question,
        gold=golds,
        prediction=text or "",
        score=None if prediction is None else prediction.score,
        metrics={
            "f1": own["f1"],
            "em": own["exact_match"],
            "f1_squad": squad["f1"],
            "em_squad": squad["exact_match"],
            **thesis_metrics(prediction, golds),
        },
        n_tokens=n_tokens,
        n_tokens_read=n_tokens_read,
        truncated=None if n_tokens is None or n_tokens_read is None else n_tokens_read < n_tokens,
        extra={name: text for name, text in extra.items() if text}
        | ({} if start is None else {"depth": start / len(example.context)}),
    )


def _counts(
    dataset: QaDataset,
    items: Sequence[Item],
    predictions: Sequence[QaPrediction | None],
    read: Sequence[Reading],
) -> dict[str, int]:
    """Counts that explain the means; all of these questions are in the means."""
    counts = {
        "gold_not_read": sum(
            bool(example.answers) and not is_read(example, reading.spans)
            for example, reading in zip(dataset.examples, read, strict=False)
        ),
        "gold_not_in_document": sum(map(has_lost_its_gold, dataset.examples)),
        "no_prediction": sum(prediction is None for prediction in predictions),
        "empty_answers": sum(not item.prediction for item in items),
    }
    counts |= thesis_counts(dataset, items, read)
    told = ("gold_not_read", "thesis_survivors")
    return {key: n for key, n in counts.items() if n or (key in told and read)}


def _squad_v2(dataset: QaDataset, predictions: Sequence[QaPrediction | None]) -> dict[str, float]:
    """The SQuAD 2.0 scorer's figures, at the model's own threshold and at the best one."""
    found = squad_v2_scores(
        [None if prediction is None else prediction.text for prediction in predictions],
        [example.golds for example in dataset.examples],
        no_answer_scores=[0.0 if p is None else _finite(p.no_answer_score - p.logit) for p in predictions],
        threshold=0.0,
        language=dataset.language,
    )
    return {key: value for key, value in found.items() if key.startswith(("HasAns_", "NoAns_", "best_"))}


def _finite(value: float) -> float:
    """Replace minus infinity, the logit of a window without any context, by a finite score: surely no answer."""
    return min(max(value, -1e9), 1e9) if value == value else 1e9  # noqa: PLR0124 - NaN is not equal to itself
