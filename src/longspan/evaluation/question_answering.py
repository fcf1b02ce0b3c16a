"""Extractive question answering, every question counted, by several systems on the same questions.

What is counted and how is told in docs/evaluation-protocol.md.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple, Protocol

import torch
from tqdm import tqdm

from longspan.data import QaDataset, QaExample, make_qa_features
from longspan.errors import InputError
from longspan.evaluation.cells import Cell, Cells, describe
from longspan.evaluation.memory import PeakMemory
from longspan.metrics import aggregate, paired_bootstrap, score_answer, squad_v2_scores
from longspan.models.choice import attention_choice
from longspan.records import Answer, Difference, EvaluationRecord, Score, made_now
from longspan.tasks.question_answering import QaPrediction, QaPredictor

_CHUNK = 128  # questions between two moves of the progress bar
_SNIPPET = 100  # characters shown on each side of an answer
_N_RESAMPLES = 1000


class Predictor(Protocol):
    """What answers questions: `QaPredictor`, or anything with its `predict`."""

    def predict(self, examples: Sequence[QaExample], *, progress: bool = True) -> Sequence[QaPrediction]:
        """Predictions; a question without one counts as answered wrongly."""
        ...


class _Reading(NamedTuple):
    """What a system reads of one question's document."""

    n_tokens: int  # question and whole document
    spans: list[tuple[int, int]]  # characters from the first to the last token of each window that is read


def evaluate_question_answering(
    systems: Mapping[str, Predictor],
    datasets: Sequence[QaDataset],
    *,
    name: str,
    model: str,
    protocol: str,
    settings: Mapping[str, Any] | None = None,
    compare: str | None = None,
    partial: Path | None = None,
    command: str | None = None,
    seed: int | None = None,
    data: Mapping[str, str] | None = None,
    progress: bool = True,
) -> EvaluationRecord:
    """Ask every system every question.

    Metrics, in per cent, of each answer and as means: `f1` and `em` by each language's own rules (MLQA's), `f1_squad`
    and `em_squad` by SQuAD's English rules; for data with unanswerable questions also what the SQuAD 2.0 scorer gives.
    A question is never dropped: without a prediction, cut away or without text, it is answered wrongly.

    Args:
        systems: name -> predictor, in the order of the tables.
        datasets: one for each language; two may not have the same name.
        name: of the evaluation, for tables.
        model: which checkpoint the systems are built from.
        protocol: how the questions were made, in words.
        settings: further settings to keep in the record.
        compare: the system whose differences from all others are tested; the last one where None.
        partial: folder for finished (system, data set) cells: found there, they are not computed again. The caller
            removes it when the record is written (`Cells(partial).remove()`).
        command: what to type to do this again; the process's own command line where None.
        seed: of the training, where the systems come from several.
        data: name -> SHA-256 of further files that decide the figures, such as the weights.
        progress: show a progress bar.

    Raises:
        InputError: no system, no question, two data sets of one name, or an unknown `compare`.
    """
    _check(systems, datasets, compare)
    cells = Cells(partial)
    scores: list[Score] = []
    answers: list[Answer] = []
    with tqdm(
        total=len(systems) * sum(len(dataset.examples) for dataset in datasets),
        unit="question",
        disable=None if progress else True,
    ) as bar:
        for dataset in datasets:
            readings: dict[Any, list[_Reading]] = {}
            for system, predictor in systems.items():
                bar.set_description(f"{dataset.name}, {system}")
                cell = cells.find(system, predictor, dataset)
                if cell is None:
                    cell = _evaluate_cell(system, predictor, dataset, readings, bar.update)
                    cells.keep(system, predictor, dataset, cell)
                else:
                    bar.update(len(dataset.examples))
                scores.append(cell.score)
                answers += cell.answers
    hashes = {key: value for dataset in datasets for key, value in dataset.sha256.items()} | dict(data or {})
    lost = {
        dataset.name: ids for dataset in datasets if (ids := [e.id for e in dataset.examples if _has_lost_its_gold(e)])
    }
    gpu = _gpu_of(systems)
    return EvaluationRecord(
        made=made_now(seed=seed, data=hashes, command=command, gpu=gpu),
        name=name,
        model=model,
        protocol=protocol,
        settings={
            **(settings or {}),
            "systems": {system: describe(predictor) for system, predictor in systems.items()},
            "data_counts": {dataset.name: dataset.counts for dataset in datasets},
            **({"gold_not_in_document": lost} if lost else {}),
        },
        attention_backend=_attention_of(systems),
        scores=scores,
        answers=answers,
        differences=_differences(answers, compare or list(systems)[-1], list(systems)),
    )


def _attention_of(systems: Mapping[str, Predictor]) -> dict[str, str]:
    """What computes each system's attention on its longest windows, and why."""
    return {
        name: attention_choice(
            predictor.model.config,
            n_rows=predictor.batch_size,
            n_tokens=predictor.max_length,
            device=predictor.model.device.type,
            dtype=predictor.dtype or predictor.model.dtype,
            needs_grad=False,
            has_dynamic_global=predictor.global_tokens == "question",
        )
        for name, predictor in systems.items()
        if isinstance(predictor, QaPredictor)
    }


def _check(systems: Mapping[str, Predictor], datasets: Sequence[QaDataset], compare: str | None) -> None:
    if not systems:
        raise InputError("there is no system to evaluate; name at least one")
    if not datasets:
        raise InputError("there is no data set to evaluate on; name at least one")
    for dataset in datasets:
        if not dataset.examples:
            raise InputError(f"data set {dataset.name} has no questions")
    for dataset_name, n_times in Counter(dataset.name for dataset in datasets).items():
        if n_times > 1:
            raise InputError(f"two data sets are called {dataset_name}; rename one of the files")
    if compare is not None and compare not in systems:
        raise InputError(f"there is no system {compare!r} to compare with; there are {', '.join(systems)}")


def _evaluate_cell(
    system: str,
    predictor: Predictor,
    dataset: QaDataset,
    readings: dict[Any, list[_Reading]],
    tell: Callable[[int], object],
) -> Cell:
    device = predictor.model.device if isinstance(predictor, QaPredictor) else None
    memory = PeakMemory(device)
    predictions = _predict(predictor, dataset.examples, tell)
    peak = memory.gib()
    read = _read(predictor, dataset, readings)
    allows_none = any(example.is_impossible for example in dataset.examples)
    answers = []
    for i, (example, prediction) in enumerate(zip(dataset.examples, predictions, strict=True)):
        text = None if prediction is None else _final_text(prediction, allows_none=allows_none)
        n_tokens = read[i].n_tokens if read else None if prediction is None else prediction.n_tokens
        answers.append(_answer(system, dataset, example, prediction, text, n_tokens))
    metrics = aggregate([answer.metrics for answer in answers])
    if allows_none:
        metrics |= _squad_v2(dataset, predictions)
    seconds = [prediction.seconds for prediction in predictions if prediction is not None]
    score = Score(
        system=system,
        dataset=dataset.name,
        language=dataset.language,
        n_questions=len(answers),
        metrics=metrics,
        seconds_per_question=fmean(seconds) if seconds else None,
        peak_memory_gib=peak,
        counts=_counts(dataset, answers, predictions, read),
    )
    return Cell(score=score, answers=answers)


def _predict(
    predictor: Predictor, examples: Sequence[QaExample], tell: Callable[[int], object]
) -> list[QaPrediction | None]:
    """One entry for each question, None where the predictor has nothing to say or there is nothing to read."""
    found: list[QaPrediction | None] = []
    for first in range(0, len(examples), _CHUNK):
        chunk = examples[first : first + _CHUNK]
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
        tell(len(chunk))
    return found


def _final_text(prediction: QaPrediction, *, allows_none: bool) -> str:
    """The answer, empty where the model finds that there is none and the data has such questions."""
    return "" if allows_none and prediction.no_answer_score > prediction.logit else prediction.text


def _answer(
    system: str,
    dataset: QaDataset,
    example: QaExample,
    prediction: QaPrediction | None,
    text: str | None,
    n_tokens: int | None,
) -> Answer:
    golds = [answer.text for answer in example.answers]
    own = score_answer(text, golds, dataset.language, "mlqa")
    squad = score_answer(text, golds, dataset.language, "squad")
    start = next((answer.start for answer in example.answers if answer.start is not None), None)
    before = after = ""
    if prediction is not None and text:
        before = example.context[max(0, prediction.start - _SNIPPET) : prediction.start]
        after = example.context[prediction.end : prediction.end + _SNIPPET]
    return Answer(
        id=example.id,
        system=system,
        dataset=dataset.name,
        language=dataset.language,
        question=example.question,
        gold=golds,
        prediction=text or "",
        score=None if prediction is None else prediction.score,
        metrics={
            "f1": own["f1"],
            "em": own["exact_match"],
            "f1_squad": squad["f1"],
            "em_squad": squad["exact_match"],
        },
        context_before=before,
        context_after=after,
        depth=None if start is None else start / len(example.context),
        slot=example.slot,
        n_tokens=n_tokens,
    )


def _read(predictor: Predictor, dataset: QaDataset, known: dict[Any, list[_Reading]]) -> list[_Reading]:
    """What `predictor` reads of each document; nothing is known of predictors that are not `QaPredictor`s."""
    if not isinstance(predictor, QaPredictor):
        return []
    key = (id(predictor.tokenizer), predictor.max_length, predictor.overlap)
    if key not in known:
        known[key] = _windows_of(predictor, dataset)
    if not predictor.truncate:
        return known[key]
    return [reading._replace(spans=reading.spans[:1]) for reading in known[key]]


def _windows_of(predictor: QaPredictor, dataset: QaDataset) -> list[_Reading]:
    readings = [_Reading(0, []) for _ in dataset.examples]
    whole = [i for i, e in enumerate(dataset.examples) if e.question.strip() and e.context.strip()]
    features = make_qa_features(
        [dataset.examples[i] for i in whole],
        predictor.tokenizer,
        max_length=predictor.max_length,
        overlap=predictor.overlap,
        with_labels=False,
    )
    for feature in features:
        i = whole[feature.example_index]
        offsets = [offset for offset in feature.offsets if offset is not None]
        if not readings[i].spans:
            readings[i] = _Reading(len(feature.offsets) - len(offsets), [])
        # Overlapping tokens stand in two windows; they are counted in the first.
        end_before = readings[i].spans[-1][1] if readings[i].spans else -1
        n_new = sum(offset[1] > end_before for offset in offsets)
        span = (offsets[0][0], offsets[-1][1]) if offsets else (0, 0)
        readings[i] = _Reading(readings[i].n_tokens + n_new, [*readings[i].spans, span])
    return readings


def _counts(
    dataset: QaDataset,
    answers: Sequence[Answer],
    predictions: Sequence[QaPrediction | None],
    read: Sequence[_Reading],
) -> dict[str, int]:
    """What a reader should know beside the means; all of these questions are in the means."""
    counts = {
        "gold_not_read": sum(
            bool(example.answers) and not _is_read(example, reading.spans)
            for example, reading in zip(dataset.examples, read, strict=False)
        ),
        "gold_not_in_document": sum(map(_has_lost_its_gold, dataset.examples)),
        "no_prediction": sum(prediction is None for prediction in predictions),
        "empty_answers": sum(not answer.prediction for answer in answers),
    }
    return {key: n for key, n in counts.items() if n or (key == "gold_not_read" and read)}


def _has_lost_its_gold(example: QaExample) -> bool:
    """Whether it has gold answers, and none of them stands in its document."""
    return bool(example.answers) and all(answer.start is None for answer in example.answers)


def _is_read(example: QaExample, spans: Sequence[tuple[int, int]]) -> bool:
    """Whether one window that is read holds one of the gold answers whole; unlocatable ones are counted apart."""
    placed = [answer for answer in example.answers if answer.start is not None]
    if not placed:
        return True
    for answer in placed:
        start = (answer.start or 0) + len(answer.text) - len(answer.text.lstrip())
        end = (answer.start or 0) + len(answer.text.rstrip())
        if any(first <= start and end <= last for first, last in spans):
            return True
    return False


def _squad_v2(dataset: QaDataset, predictions: Sequence[QaPrediction | None]) -> dict[str, float]:
    """The SQuAD 2.0 scorer's figures, at the model's own threshold and at the best one."""
    found = squad_v2_scores(
        [None if prediction is None else prediction.text for prediction in predictions],
        [[answer.text for answer in example.answers] for example in dataset.examples],
        no_answer_scores=[0.0 if p is None else _finite(p.no_answer_score - p.logit) for p in predictions],
        threshold=0.0,
        language=dataset.language,
    )
    return {key: value for key, value in found.items() if key.startswith(("HasAns_", "NoAns_", "best_"))}


def _finite(value: float) -> float:
    """A window without any context has a logit of minus infinity: as sure as can be that there is no answer."""
    return min(max(value, -1e9), 1e9) if value == value else 1e9  # noqa: PLR0124 - NaN is not equal to itself


def _differences(answers: Sequence[Answer], compared: str, systems: Sequence[str]) -> list[Difference]:
    """The compared system against each other one: over all questions, then on each data set."""
    f1: dict[str, dict[tuple[str, str], list[float]]] = {system: {} for system in systems}
    for answer in answers:
        f1[answer.system].setdefault((answer.dataset, answer.language), []).append(answer.metrics["f1"])
    groups = list(f1[compared])
    wholes = [("all", "all", groups)] if len(groups) > 1 else []
    result = []
    for dataset, language, members in [*wholes, *((name, language, [(name, language)]) for name, language in groups)]:
        own = [value for member in members for value in f1[compared][member]]
        for baseline in systems:
            if baseline == compared:
                continue
            other = [value for member in members for value in f1[baseline][member]]
            found = paired_bootstrap(own, other, n=_N_RESAMPLES)
            result.append(
                Difference(
                    system=compared,
                    baseline=baseline,
                    dataset=dataset,
                    language=language,
                    metric="f1",
                    n_questions=len(own),
                    mean=found.difference,
                    low=found.low,
                    high=found.high,
                    p_value=found.p_value,
                    n_resamples=_N_RESAMPLES,
                )
            )
    return result


def _gpu_of(systems: Mapping[str, Predictor]) -> str | None:
    for predictor in systems.values():
        if isinstance(predictor, QaPredictor) and predictor.model.device.type == "cuda":
            return torch.cuda.get_device_name(predictor.model.device)
    return None
