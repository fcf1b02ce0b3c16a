"""One system on one data set: every question answered and scored."""

from collections import Counter
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any, Protocol

from longspan.data.qa import QaDataset, QaExample
from longspan.evaluation.cells import Cell
from longspan.evaluation.lots import Lots
from longspan.graphemes import whole_graphemes
from longspan.memory import PeakMemory
from longspan.metrics import aggregate, score_answer, squad_v2_scores
from longspan.records import Item, Score
from longspan.records.older import unit_of
from longspan.tasks.question_answering.predictor import QaPrediction, QaPredictor
from longspan.tasks.question_answering.thesis import thesis_counts, thesis_means, thesis_metrics
from longspan.tasks.question_answering.windows_read import Reading, has_lost_its_gold, is_read, readings_of

# Questions between two moves of the progress bar, and two lots: at seconds each, some minutes; or so many batches.
_LOT, _LOT_BATCHES = 32, 8
_SNIPPET = 100  # characters shown on each side of an answer
_HONEST = ("f1", "em", "f1_squad", "em_squad")  # metrics that every answer has


class Predictor(Protocol):
    """What answers questions: `QaPredictor`, or anything with its `predict`."""

    def predict(self, examples: Sequence[QaExample], *, progress: bool = True) -> Sequence[QaPrediction]:
        """Predictions; a question without one counts as answered wrongly."""
        ...


def evaluate_cell(
    system: str,
    predictor: Predictor,
    dataset: QaDataset,
    readings: dict[Any, list[Reading]],
    tell: Callable[[int], object],
    lots: Lots | None = None,
) -> Cell:
    """Ask `predictor` every question of `dataset`.

    Args:
        system: its name.
        predictor: the system.
        dataset: the questions.
        readings: what is known already of systems that read `dataset` alike; added to.
        tell: called with how many more questions are done.
        lots: keeps predictions as they come, and has those of an earlier start; None: nothing is kept.
    """
    device = predictor.model.device if isinstance(predictor, QaPredictor) else None
    predictions, peak = _predict(predictor, dataset.examples, tell, lots or Lots(None), PeakMemory(device))
    read = readings_of(predictor, dataset, readings)
    allows_none = any(example.is_impossible for example in dataset.examples)
    items: list[Item] = []
    repeats: Counter[tuple[str, int | None]] = Counter()
    for i, (example, prediction) in enumerate(zip(dataset.examples, predictions, strict=True)):
        text = None if prediction is None else _final_text(prediction, allows_none=allows_none)
        n_tokens = read[i].n_tokens if read else None if prediction is None else prediction.n_tokens
        unit = unit_of(example.id, repeats[example.id, example.slot])
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
        peak_memory_gib=peak,
        counts=_counts(dataset, items, predictions, read),
    )
    return Cell(score=score, items=items)


def _predict(
    predictor: Predictor, examples: Sequence[QaExample], tell: Callable[[int], object], lots: Lots, memory: PeakMemory
) -> tuple[list[QaPrediction | None], float | None]:
    """One entry for each question, None where the predictor says nothing or there is nothing to read; peak in GiB."""
    found, peak = lots.read(len(examples))
    tell(len(found))
    n_chunk = max(_LOT, _LOT_BATCHES * getattr(predictor, "batch_size", 0))
    for first in range(len(found), len(examples), n_chunk):
        chunk = examples[first : first + n_chunk]
        askable = [example for example in chunk if example.question.strip() and example.context.strip()]
        given = list(predictor.predict(askable, progress=False)) if askable else []
        if [prediction.id for prediction in given] == [example.id for example in askable]:
            # In order, one each: ids that a data set repeats keep their own predictions.
            own = iter(given)
            asked = {id(example) for example in askable}
            found += [next(own) if id(example) in asked else None for example in chunk]
        else:
            by_id = {prediction.id: prediction for prediction in given}
            strange = set(by_id) - {example.id for example in askable}
            if strange:
                raise ValueError(f"the predictor answered {sorted(strange)[0]!r}, which was not asked")
            found += [by_id.get(example.id) for example in chunk]
        peak = max((known for known in (peak, memory.gib()) if known is not None), default=None)
        if len(found) < len(examples):  # else the cell is kept next
            lots.keep(first, found[first:], peak)
        tell(len(chunk))
    return found, peak


def _final_text(prediction: QaPrediction, *, allows_none: bool) -> str:
    """The answer, empty where the model finds that there is none and the data has such questions."""
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
    """What a reader should know beside the means; all of these questions are in the means."""
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
    """A window without any context has a logit of minus infinity: as sure as can be that there is no answer."""
    return min(max(value, -1e9), 1e9) if value == value else 1e9  # noqa: PLR0124 - NaN is not equal to itself
