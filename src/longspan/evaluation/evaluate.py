"""Several systems on the same examples: every example counts.

What is counted and how is described in docs/evaluation-protocol.md.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from longspan.errors import InputError
from longspan.evaluation.differences import compare_scores, scores_of
from longspan.evaluation.resume import Cell, Cells, PartialPredictions, describe
from longspan.memory import PeakMemory
from longspan.models.backend_report import attention_choice
from longspan.progress import progress_bar
from longspan.records import Difference, EvaluationRecord, Item, Metric, Place, Score, made_now
from longspan.tasks.task import Examples, FineTuningTask, Predictor

# Examples between two moves of the progress bar, which are also kept together; or so many batches, if that is more.
_PART, _PART_BATCHES = 32, 8


def evaluate(
    task: FineTuningTask,
    systems: Mapping[str, Predictor],
    datasets: Sequence[Any],
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
    """Evaluate every system on every example.

    An example is never dropped: without a prediction, or with nothing to read, it counts as a wrong prediction.

    Args:
        task: scores the predictions.
        systems: name -> predictor, in the order of the tables.
        datasets: one for each language; two may not have the same name.
        name: of the evaluation, for tables.
        model: the checkpoint that the systems are built from.
        protocol: how the examples were made, in words.
        settings: further settings to keep in the record.
        compare: the system whose differences from all others are tested; None for the last one.
        partial: folder for finished cells (a system on a data set) and predictions of one that is not finished; what is
            found there is not computed again. The caller removes it when the record is written
            (`Cells(partial).remove()`).
        command: what to type to do this again; None for the command line of this process.
        seed: of the training, if the systems come from several.
        data: name -> SHA-256 of further files that decide the figures, such as the weights.
        run: what was trained, without its seed; records of one run with several seeds belong together.
        training_seed: of the model.
        progress: show a progress bar.

    Raises:
        InputError: no system, no example, two data sets of one name, an unknown `compare`, or a system that the task
            cannot score on a data set.
    """
    _check(systems, datasets, compare, task.item_noun)
    for dataset in datasets:
        for predictor in systems.values():
            task.check_evaluation(dataset, predictor)
    cells = _evaluate_cells(task, systems, datasets, Cells(partial), progress=progress)
    scores = [cell.score for _, cell in cells]
    items = [item for _, cell in cells for item in cell.items]
    places = [place for dataset, cell in cells for place in task.places(dataset, cell.items)]
    require_every_example(datasets, scores, places if task.has_places else None)
    metrics = _ordered_metrics(task, [cell for _, cell in cells])
    hashes = {key: value for dataset in datasets for key, value in dataset.sha256.items()} | dict(data or {})
    return EvaluationRecord(
        made=made_now(seed=seed, data=hashes, command=command, gpu=_gpu_of(systems)),
        name=name,
        task=task.name,
        item_noun=task.item_noun,
        metrics=metrics,
        count_labels=dict(task.count_labels),
        model=model,
        protocol=protocol,
        settings={
            **(settings or {}),
            "systems": {system: describe(predictor) for system, predictor in systems.items()},
            "data_counts": {dataset.name: dict(dataset.counts) for dataset in datasets},
            **task.data_settings(datasets),
        },
        attention_backend=_attention_of(systems),
        scores=scores,
        items=items,
        differences=_differences(items, metrics[0].name, compare or list(systems)[-1], list(systems)),
        places=places,
        run=run,
        training_seed=training_seed,
    )


def _evaluate_cells(
    task: FineTuningTask,
    systems: Mapping[str, Predictor],
    datasets: Sequence[Any],
    cells: Cells,
    *,
    progress: bool,
) -> list[tuple[Any, Cell]]:
    """Return each data set with the cell of each system, computed unless `cells` has it."""
    found: list[tuple[Any, Cell]] = []
    total = len(systems) * sum(len(dataset.examples) for dataset in datasets)
    with progress_bar(total=total, unit=task.item_noun, is_shown=progress) as bar:
        for dataset in datasets:
            for system, predictor in systems.items():
                bar.set_description(f"{dataset.name}, {system}")
                kept = cells.at(system, predictor, task, dataset)
                cell = kept.find()
                if cell is None:
                    cell = evaluate_cell(task, system, predictor, dataset, bar.update, kept.partial)
                    kept.keep(cell)
                else:
                    bar.update(len(dataset.examples))
                found.append((dataset, cell))
    return found


def _ordered_metrics(task: FineTuningTask, cells: Sequence[Cell]) -> list[Metric]:
    """Return the metrics of all cells: the task's own in its order, then further ones in the order of the cells."""
    metrics = {metric.name: metric for cell in cells for metric in cell.metrics}
    order = {metric.name: place for place, metric in enumerate(task.metrics)}
    return sorted(metrics.values(), key=lambda metric: order.get(metric.name, len(order)))


def evaluate_cell(
    task: FineTuningTask,
    system: str,
    predictor: Any,
    dataset: Any,
    on_progress: Callable[[int], object],
    partial: PartialPredictions | None = None,
) -> Cell:
    """Predict and score every example of one data set with one system.

    Args:
        task: scores the predictions.
        system: its name.
        predictor: the system.
        dataset: the examples.
        on_progress: called with the number of further examples that are done.
        partial: keeps predictions as they come, and has those of an earlier start; None keeps nothing.
    """
    model: Any = getattr(predictor, "model", None)
    device: Any = getattr(model, "device", None)
    partial = partial or PartialPredictions(None)
    predictions, peak = _predict(task, predictor, dataset.examples, on_progress, partial, PeakMemory(device))
    scored = task.score(system, dataset, predictor, predictions)
    score = scored.score.model_copy(update={"peak_memory_gib": peak})
    return Cell(score=score, items=scored.items, metrics=scored.metrics)


def require_every_example(
    datasets: Sequence[Examples], scores: Sequence[Score], places: Sequence[Place] | None
) -> None:
    """Check that each cell, and its places together (None if the task has none), hold every example of their data set.

    Raises:
        RuntimeError: one does not; figures would be of other examples than they say.
    """
    n_placed: dict[tuple[str, str, str], int] = {}
    for place in places or ():
        key = (place.system, place.dataset, place.language)
        n_placed[key] = n_placed.get(key, 0) + place.n_items
    n_asked = {(dataset.name, dataset.language): len(dataset.examples) for dataset in datasets}
    for score in scores:
        asked = n_asked[score.dataset, score.language]
        placed = n_placed.get((score.system, score.dataset, score.language), 0) if places is not None else asked
        if not asked == score.n_items == placed:
            raise RuntimeError(
                f"{score.system} on {score.dataset}: of {asked} examples {score.n_items} were counted and "
                f"{placed} have a place; this is a fault of longspan"
            )


def _predict(
    task: FineTuningTask,
    predictor: Any,
    examples: Sequence[Any],
    on_progress: Callable[[int], object],
    partial: PartialPredictions,
    memory: PeakMemory,
) -> tuple[list[Any], float | None]:
    """Return one prediction for each example, None if there is none, and the peak memory in GiB."""
    kind = task.prediction_type()
    found, peak = partial.read(len(examples), kind)
    on_progress(len(found))
    n_part = max(_PART, _PART_BATCHES * getattr(predictor, "batch_size", 0))
    for first in range(len(found), len(examples), n_part):
        part = examples[first : first + n_part]
        askable = [example for example in part if task.is_askable(example)]
        given = list(predictor.predict(askable, progress=False)) if askable else []
        if [prediction.id for prediction in given] == [example.id for example in askable]:
            # In order, one each: ids that a data set repeats keep their own predictions.
            own = iter(given)
            asked = {id(example) for example in askable}
            found += [next(own) if id(example) in asked else None for example in part]
        else:
            by_id = {prediction.id: prediction for prediction in given}
            strange = set(by_id) - {example.id for example in askable}
            if strange:
                raise ValueError(f"the predictor answered {sorted(strange)[0]!r}, which was not asked")
            found += [by_id.get(example.id) for example in part]
        peak = max((known for known in (peak, memory.gib()) if known is not None), default=None)
        if len(found) < len(examples):  # else the finished cell is kept next
            partial.keep(first, found[first:], peak, kind)
        on_progress(len(part))
    return found, peak


def _attention_of(systems: Mapping[str, Any]) -> dict[str, str]:
    """Return what computes each system's attention on its longest windows, and why."""
    return {
        name: attention_choice(
            predictor.model.config,
            n_rows=predictor.batch_size,
            n_tokens=predictor.max_length,
            device=predictor.model.device.type,
            dtype=predictor.dtype or predictor.model.dtype,
            needs_grad=False,
            has_dynamic_global=predictor.has_global_tokens,
        )
        for name, predictor in systems.items()
        if isinstance(getattr(predictor, "model", None), torch.nn.Module)
    }


def _check(systems: Mapping[str, Predictor], datasets: Sequence[Examples], compare: str | None, noun: str) -> None:
    if not systems:
        raise InputError("there is no system to evaluate; name at least one")
    if not datasets:
        raise InputError("there is no data set to evaluate on; name at least one")
    for dataset in datasets:
        if not dataset.examples:
            raise InputError(f"data set {dataset.name} has no {noun}s")
    for dataset_name, n_times in Counter(dataset.name for dataset in datasets).items():
        if n_times > 1:
            raise InputError(f"two data sets are called {dataset_name}; rename one of the files")
    if compare is not None and compare not in systems:
        raise InputError(f"there is no system {compare!r} to compare with; there are {', '.join(systems)}")


def _differences(items: Sequence[Item], metric: str, compared: str, systems: Sequence[str]) -> list[Difference]:
    """Return the compared system against each other one: over all items, then on each data set."""
    scores = {system: scores_of((item for item in items if item.system == system), metric) for system in systems}
    found = {
        baseline: compare_scores(scores[compared], scores[baseline], metric=metric, system=compared, baseline=baseline)
        for baseline in systems
        if baseline != compared
    }
    # Data set by data set, all baselines each.
    return [difference for row in zip(*found.values(), strict=True) for difference in row]


def _gpu_of(systems: Mapping[str, Any]) -> str | None:
    for predictor in systems.values():
        model = getattr(predictor, "model", None)
        if isinstance(model, torch.nn.Module) and getattr(model, "device", None) is not None:
            device: Any = model.device
            if device.type == "cuda":
                return torch.cuda.get_device_name(device)
    return None
