"""Tables of evaluations and fine-tuning runs, made from records: TABLES, which tables.py writes."""

from collections.abc import Callable, Sequence
from statistics import fmean

from table_text import all_counted, made, table

from longspan.records import ComparisonRecord, Difference, EvaluationRecord, Place, Record, Score, TrainingRecord
from longspan.report.blocks import Table
from longspan.report.comparison import comparisons, mean_seconds
from longspan.report.runs import results_section


def scores(record: Record) -> str:
    """F1 (by the rules of each language) of each system in each language."""
    record = _evaluated(record)
    assert len({(score.system, score.language) for score in record.scores}) == len(record.scores), "several lengths"
    languages = list(dict.fromkeys(score.language for score in record.scores))
    rows = []
    for system in _systems(record):
        f1 = {score.language: score.metrics["f1"] for score in record.scores if score.system == system}
        rows.append([system, f"{fmean(f1.values()):.1f}", *(f"{f1[language]:.1f}" for language in languages)])
    return table(["F1", "mean", *languages], rows) + made(record, all_counted(record))


def systems(record: Record) -> str:
    """F1, EM and time of each system over all questions; for joined paragraphs also the range over answer slots."""
    record = _evaluated(record)
    head = ["system", "F1", "EM", "seconds per question"]
    rows, spreads = [], []
    for system in _systems(record):
        cells = [score for score in record.scores if score.system == system]
        rows.append([system, f"{pooled(cells, 'f1'):.1f}", f"{pooled(cells, 'em'):.1f}", f"{mean_seconds(cells):.2f}"])
        by_slot = f1_by_slot(record, system).values()
        spreads += [f"{min(by_slot):.1f} to {max(by_slot):.1f}"] if len(by_slot) > 1 else []
    if spreads:
        head.append("F1 by slot of the answer")
        rows = [[*row, spread] for row, spread in zip(rows, spreads, strict=True)]
    return table(head, rows) + made(record, all_counted(record))


def slots(record: Record) -> str:
    """F1 by the paragraph that holds the answer."""
    return _grouped(_evaluated(record), "F1, the answer in paragraph", lambda place: place.slot, lambda slot: slot + 1)


def paragraphs(record: Record) -> str:
    """F1 by the number of paragraphs or tokens of the document."""
    record = _evaluated(record)
    units = {place.unit for place in record.places}
    assert len(units) == 1, "lengths in paragraphs and in tokens"
    return _grouped(record, f"F1, documents of ({units.pop()})", _length, lambda length: length)


def paragraphs_by_language(record: Record) -> str:
    """F1 of each system by the number of paragraphs or tokens of the document, in each language."""
    record = _evaluated(record)
    languages = list(dict.fromkeys(place.language for place in record.places))
    lengths = {language: {s: _by(record, s, _length, language) for s in _systems(record)} for language in languages}
    rows = []
    for system in _systems(record):
        for length in sorted({place.length for place in record.places}):
            f1 = [lengths[language][system][length] for language in languages]
            rows.append([system, f"{length:,}", f"{fmean(f1):.1f}", *(f"{value:.1f}" for value in f1)])
    unit = record.places[0].unit
    return table(["F1", unit, "mean", *languages], rows) + made(record, all_counted(record))


def differences(*records: Record) -> str:
    """Each system minus its baseline on the same questions, by paired bootstrap; for compared runs per data set."""
    rows = []
    for record in records:
        if isinstance(record, ComparisonRecord):
            own = [one for one in record.differences if one.metric == "f1" and one.dataset != "all"]
            rows += [[one.dataset, *_difference(one)] for one in own]
            continue
        evaluation = _evaluated(record)
        found = evaluation.differences
        # Over all questions if the record has it, else per data set and language.
        for difference in [one for one in found if (one.dataset, one.language) == ("all", "all")] or found:
            if difference.metric == "f1":
                rows.append([evaluation.name, *_difference(difference)])
    head = ["questions of", "system", "less", "F1", "95 % interval", "questions"]
    return table(head, rows)


def protocols(record: Record) -> str:
    """F1 over every question beside F1 by the thesis' protocol, with the number of questions that it keeps."""
    record = _evaluated(record)
    rows = []
    for system in _systems(record):
        cells = [score for score in record.scores if score.system == system]
        kept = sum(score.counts["thesis_survivors"] for score in cells)
        asked = sum(score.n_items for score in cells)
        honest, thesis = (fmean(score.metrics[name] for score in cells) for name in ("f1", "f1_thesis"))
        rows.append([system, f"{honest:.1f}", f"{thesis:.1f}", f"{thesis - honest:+.1f}", f"{kept:,} of {asked:,}"])
    head = ["system", "F1, every question", "F1 as the thesis scored", "difference", "questions it keeps"]
    return table(head, rows)


def runs(*records: Record) -> str:
    """F1 of every run and system of a grid, mean and standard deviation over seeds; one table per set of data sets."""
    section = results_section(comparisons([_evaluated(record) for record in records]))
    assert section is not None, "one evaluation alone is no grid"
    text, captions = [], []
    for found in section.blocks:
        assert isinstance(found, Table)
        rows = [[f"**{cell.text}**" if cell.is_best else cell.text for cell in row] for row in found.rows]
        text.append(table(found.columns, rows, words=(0, 1)))
        captions += [found.caption] if found.caption else []
    return "\n".join([*text, *captions]) + "\n"


def f1_by_slot(record: EvaluationRecord, system: str) -> dict[int, float]:
    """Slot of the answer, from 0 -> F1 over its questions."""
    return _by(record, system, lambda place: place.slot)


def windows_per_step(record: TrainingRecord) -> int:
    """The number of windows in one step on one device."""
    recipe = record.recipe  # transformers' default is 8 rows
    return recipe.get("per_device_train_batch_size", 8) * recipe.get("gradient_accumulation_steps", 1)


def trainings(*records: Record) -> str:
    """The data, duration, and first and last loss of each fine-tuning run."""
    rows = []
    for record in records:
        assert isinstance(record, TrainingRecord)
        loss = [step.values["loss"] for step in record.steps if "loss" in step.values]
        rows.append(
            [
                record.name,
                f"{record.n_steps:,} x {windows_per_step(record)}",
                f"{record.seconds / 60:.0f}",
                f"{record.peak_memory_gib:.1f}",
                f"{loss[0]:.2f}",
                f"{fmean(loss[-5:]):.2f}",
            ]
        )
    head = ["run", "steps x windows", "minutes", "peak memory, GiB", "loss at first", "loss, last five entries"]
    return table(head, rows)


TABLES: dict[str, Callable[..., str]] = {
    "scores": scores,
    "systems": systems,
    "slots": slots,
    "protocols": protocols,
    "runs": runs,
    "paragraphs": paragraphs,
    "paragraphs_by_language": paragraphs_by_language,
    "differences": differences,
    "trainings": trainings,
}


def _evaluated(record: Record) -> EvaluationRecord:
    assert isinstance(record, EvaluationRecord), "no record of an evaluation"
    return record


def _systems(record: EvaluationRecord) -> list[str]:
    return list(dict.fromkeys(score.system for score in record.scores))


def pooled(cells: Sequence[Score] | Sequence[Place], metric: str) -> float:
    """The mean over all questions of some scores."""
    return sum(cell.metrics[metric] * cell.n_items for cell in cells) / sum(cell.n_items for cell in cells)


def _length(place: Place) -> int:
    return place.length


def _by(
    record: EvaluationRecord, system: str, key: Callable[[Place], int | None], language: str | None = None
) -> dict[int, float]:
    """Group -> F1 over its questions, for one language or all."""
    groups: dict[int, list[Place]] = {}
    for place in record.places:
        where = key(place)
        if place.system == system and language in (None, place.language) and where is not None:
            groups.setdefault(where, []).append(place)
    return {where: pooled(groups[where], "f1") for where in sorted(groups)}


def _grouped(
    record: EvaluationRecord, title: str, key: Callable[[Place], int | None], named: Callable[[int], int]
) -> str:
    found = {system: _by(record, system, key) for system in _systems(record)}
    columns = sorted({where for f1 in found.values() for where in f1})
    rows = [[system, *(f"{f1[where]:.1f}" for where in columns)] for system, f1 in found.items()]
    return table([title, *(f"{named(where):,}" for where in columns)], rows) + made(record, all_counted(record))


def _difference(difference: Difference) -> list[str]:
    return [
        difference.system,
        difference.baseline,
        f"{difference.mean:+.1f}",
        f"{difference.low:+.1f} to {difference.high:+.1f}",
        f"{difference.n_units:,}",
    ]
