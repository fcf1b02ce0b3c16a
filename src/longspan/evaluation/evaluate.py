"""Extractive question answering, every question counted, by several systems on the same questions.

What is counted and how is told in docs/evaluation-protocol.md.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from longspan.data.qa import QaDataset
from longspan.errors import InputError
from longspan.evaluation.cells import Cells, describe
from longspan.evaluation.differences import compare_scores, scores_of
from longspan.models.backend_report import attention_choice
from longspan.progress import progress_bar
from longspan.records import Difference, EvaluationRecord, Item, Place, Score, made_now
from longspan.records.older import COUNT_LABELS, ITEM_NOUN, METRICS, TASK
from longspan.tasks.question_answering.places import places_of, require_every_question
from longspan.tasks.question_answering.predictor import QaPredictor
from longspan.tasks.question_answering.scoring import Predictor, evaluate_cell
from longspan.tasks.question_answering.windows_read import Reading, has_lost_its_gold


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
    run: str | None = None,
    training_seed: int | None = None,
    progress: bool = True,
) -> EvaluationRecord:
    """Ask every system every question.

    Metrics, in per cent, of each answer and as means: `f1` and `em` by each language's own rules (MLQA's), `f1_squad`
    and `em_squad` by SQuAD's English rules; for data with unanswerable questions also what the SQuAD 2.0 scorer gives.
    A question is never dropped: without a prediction, cut away or without text, it is answered wrongly.

    Beside these stand `f1_thesis` and `em_thesis`: the thesis' protocol, over the questions that survive its filter
    alone (`counts["thesis_survivors"]`).

    Args:
        systems: name -> predictor, in the order of the tables.
        datasets: one for each language; two may not have the same name.
        name: of the evaluation, for tables.
        model: which checkpoint the systems are built from.
        protocol: how the questions were made, in words.
        settings: further settings to keep in the record.
        compare: the system whose differences from all others are tested; the last one where None.
        partial: folder for finished (system, data set) cells, and predictions of one that is not: found there, they
            are not computed again. The caller removes it when the record is written (`Cells(partial).remove()`).
        command: what to type to do this again; the process's own command line where None.
        seed: of the training, where the systems come from several.
        data: name -> SHA-256 of further files that decide the figures, such as the weights.
        run: what was trained, its seed left out; records of one run with several seeds belong together.
        training_seed: of the model.
        progress: show a progress bar.

    Raises:
        InputError: no system, no question, two data sets of one name, or an unknown `compare`.
    """
    _check(systems, datasets, compare)
    cells = Cells(partial)
    scores: list[Score] = []
    items: list[Item] = []
    places: list[Place] = []
    with progress_bar(
        total=len(systems) * sum(len(dataset.examples) for dataset in datasets),
        unit="question",
        is_shown=progress,
    ) as bar:
        for dataset in datasets:
            readings: dict[Any, list[Reading]] = {}
            for system, predictor in systems.items():
                bar.set_description(f"{dataset.name}, {system}")
                kept = cells.at(system, predictor, dataset)
                cell = kept.find()
                if cell is None:
                    cell = evaluate_cell(system, predictor, dataset, readings, bar.update, kept.lots)
                    kept.keep(cell)
                else:
                    bar.update(len(dataset.examples))
                scores.append(cell.score)
                items += cell.items
                places += places_of(dataset, cell.items)
    require_every_question(datasets, scores, places)
    hashes = {key: value for dataset in datasets for key, value in dataset.sha256.items()} | dict(data or {})
    lost = {
        dataset.name: ids for dataset in datasets if (ids := [e.id for e in dataset.examples if has_lost_its_gold(e)])
    }
    gpu = _gpu_of(systems)
    return EvaluationRecord(
        made=made_now(seed=seed, data=hashes, command=command, gpu=gpu),
        name=name,
        task=TASK,
        item_noun=ITEM_NOUN,
        metrics=[metric for metric in METRICS if any(metric.name in score.metrics for score in scores)],
        count_labels=COUNT_LABELS,
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
        items=items,
        differences=_differences(items, compare or list(systems)[-1], list(systems)),
        places=places,
        run=run,
        training_seed=training_seed,
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


def _differences(items: Sequence[Item], compared: str, systems: Sequence[str]) -> list[Difference]:
    """The compared system against each other one: over all questions, then on each data set."""
    metric = METRICS[0].name
    scores = {system: scores_of((item for item in items if item.system == system), metric) for system in systems}
    found = {
        baseline: compare_scores(scores[compared], scores[baseline], metric=metric, system=compared, baseline=baseline)
        for baseline in systems
        if baseline != compared
    }
    # Data set by data set, all baselines each.
    return [difference for row in zip(*found.values(), strict=True) for difference in row]


def _gpu_of(systems: Mapping[str, Predictor]) -> str | None:
    for predictor in systems.values():
        if isinstance(predictor, QaPredictor) and predictor.model.device.type == "cuda":
            return torch.cuda.get_device_name(predictor.model.device)
    return None
