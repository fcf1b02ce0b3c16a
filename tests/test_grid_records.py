"""What becomes of the records of a grid: files without single answers, and tables out of them."""

import sys
from pathlib import Path

import pytest

from longspan.errors import InputError
from longspan.records import (
    Difference,
    EvaluationRecord,
    GridRecord,
    GridRun,
    Item,
    Metric,
    Place,
    Score,
    StepLog,
    TrainingRecord,
    made_now,
    read_record,
    write_record,
)

LONG, SHORT = "window + global question", "windows of 512"

QUESTIONS = {"task": "question_answering", "item_noun": "question", "metrics": [Metric(name="f1", label="F1")]}


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    import evaluation_tables
    import grid_records

    yield grid_records, evaluation_tables
    for name in ("grid_records", "answer_bars", "evaluation_tables"):
        sys.modules.pop(name, None)


def _evaluation() -> EvaluationRecord:
    cells, places, given = [], [], []
    for system, f1 in ((LONG, (80.0, 60.0)), (SHORT, (50.0, 10.0))):
        for slot, value in enumerate(f1):
            n_items = 3 - slot
            place = {"length": 2, "unit": "paragraphs", "depth": 0.25 + 0.5 * slot, "slot": slot}
            common = {"system": system, "dataset": "squad x2", "language": "en", "n_items": n_items}
            places.append(Place(**common, **place, metrics={"f1": value}))
        f1_of_all = (3 * f1[0] + 2 * f1[1]) / 5
        metrics = {"f1": f1_of_all, "em": f1_of_all - 5}
        cells.append(
            Score(
                system=system,
                dataset="squad x2",
                language="en",
                n_items=5,
                metrics=metrics,
                seconds_per_item=0.25,
            )
        )
        answer = {"system": system, "dataset": "squad x2", "language": "en", "input": "Who?", "gold": ["Ann"]}
        given.append(Item(id="1", unit="1", prediction="Ann", metrics={"f1": 100.0}, **answer))
    made = made_now(command="longspan evaluate runs/answers/long/42/model")
    return EvaluationRecord(
        made=made,
        name="SQ-2",
        task="question_answering",
        item_noun="question",
        metrics=[Metric(name="f1", label="F1")],
        model="m",
        protocol="p",
        scores=cells,
        places=places,
        items=given,
    )


def _training() -> TrainingRecord:
    steps = [StepLog(step=10 * i, values={"loss": 5.0 - 0.5 * i}) for i in range(1, 7)]
    recipe = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4}
    return TrainingRecord(
        made=made_now(command="longspan finetune recipe.yaml"),
        name="long/42",
        recipe=recipe,
        attention_backend="blocked",
        n_examples=240,
        n_features=250,
        steps=steps,
        seconds=600.0,
        peak_memory_gib=2.0,
    )


def _grid(folder: Path, evaluation: EvaluationRecord) -> Path:
    lines = []
    for name, verb, record in (("long", "finetune", _training()), ("sq2", "evaluate", evaluation)):
        write_record(record, folder / name / "record.json")
        path = f"{name}/record.json"
        lines.append(GridRun(name=name, seed=42, verb=verb, command="longspan ...", status="done", record=path))
    lines.append(GridRun(name="later", seed=42, verb="evaluate", command="longspan ...", status="waiting"))
    write_record(GridRecord(made=made_now(), name="answers", runs=lines), folder / "grid.json")
    return folder


def test_what_is_done_is_collected_without_its_single_answers(benchmarks, tmp_path):
    grid_records, _ = benchmarks
    for name in ("long", "sq2", "results"):
        (tmp_path / name).mkdir()
    written = grid_records.collect(_grid(tmp_path, _evaluation()), tmp_path / "results")
    assert [path.name[11:] for path in written] == ["answers-long-training.json", "answers-sq2.json"]
    kept = read_record(written[1])
    assert kept == _evaluation().model_copy(update={"items": [], "made": kept.made})
    assert kept.scores and not kept.items


def test_a_record_with_a_path_of_one_machine_is_refused(benchmarks, tmp_path):
    grid_records, _ = benchmarks
    for name in ("long", "sq2", "results"):
        (tmp_path / name).mkdir()
    made = made_now(command="longspan evaluate /home/ann/model")
    grid = _grid(tmp_path, _evaluation().model_copy(update={"made": made}))
    with pytest.raises(InputError, match="sq2: made with a path of one machine alone"):
        grid_records.collect(grid, tmp_path / "results")


def test_tables_count_every_question_once(benchmarks):
    _, tables = benchmarks
    systems = tables.systems(_evaluation()).splitlines()
    assert systems[2] == f"| {LONG} | 72.0 | 67.0 | 0.25 | 60.0 to 80.0 |"
    assert systems[3] == f"| {SHORT} | 34.0 | 29.0 | 0.25 | 10.0 to 50.0 |"
    assert systems[-1].startswith("5 questions, all counted; `longspan evaluate")
    assert tables.slots(_evaluation()).splitlines()[:3] == [
        "| F1, the answer in paragraph | 1 | 2 |",
        "| --- | ---: | ---: |",
        f"| {LONG} | 80.0 | 60.0 |",
    ]
    assert f"| {SHORT} | 34.0 |" in tables.paragraphs(_evaluation())


def test_several_lengths_in_several_languages(benchmarks):
    _, tables = benchmarks
    places, scores = [], []
    for language, f1 in (("en", 70.0), ("el", 50.0)):
        for length in (1, 10):
            where = {"language": language, "dataset": f"xquad.{language} x{length}"}
            scores.append(_evaluation().scores[0].model_copy(update=where))
            values = {"length": length, "n_items": 5, "metrics": {"f1": f1 - length}}
            places.append(_evaluation().places[0].model_copy(update=where | values))
    record = _evaluation().model_copy(update={"places": places, "scores": scores})
    assert tables.paragraphs_by_language(record).splitlines()[:4] == [
        "| F1 | paragraphs | mean | en | el |",
        "| --- | ---: | ---: | ---: | ---: |",
        f"| {LONG} | 1 | 59.0 | 69.0 | 49.0 |",
        f"| {LONG} | 10 | 50.0 | 60.0 | 40.0 |",
    ]
    with pytest.raises(AssertionError, match="several lengths"):
        tables.scores(record)


def test_documents_as_they_are_have_no_slots(benchmarks):
    _, tables = benchmarks
    places = [place.model_copy(update={"slot": None}) for place in _evaluation().places]
    record = _evaluation().model_copy(update={"places": places})
    assert tables.systems(record).splitlines()[2] == f"| {LONG} | 72.0 | 67.0 | 0.25 |"


def test_both_protocols_and_what_the_thesis_keeps(benchmarks):
    _, tables = benchmarks
    scores = [
        score.model_copy(
            update={"metrics": {**score.metrics, "f1_thesis": 75.0}, "counts": {"thesis_survivors": kept}},
        )
        for score, kept in zip(_evaluation().scores, (5, 2), strict=True)
    ]
    rows = tables.protocols(_evaluation().model_copy(update={"scores": scores})).splitlines()
    assert rows[2:4] == [f"| {LONG} | 72.0 | 75.0 | +3.0 | 5 of 5 |", f"| {SHORT} | 34.0 | 75.0 | +41.0 | 2 of 5 |"]


def test_a_grid_over_seeds(benchmarks):
    _, tables = benchmarks
    records = []
    for seed, shift in ((42, 0.0), (1337, 4.0)):
        scores = [
            score.model_copy(update={"metrics": {name: value + shift for name, value in score.metrics.items()}})
            for score in _evaluation().scores
        ]
        records.append(
            _evaluation().model_copy(update={"scores": scores, "run": "long-sq2", "training_seed": seed, "answers": []})
        )
    rows = tables.runs(*records).splitlines()
    assert rows[0] == "| Run | System | squad x2 (5) |"
    assert rows[2] == f"| long-sq2 | {LONG} | **74.0 ± 2.8** |"


def test_bars_want_every_question_and_compare_on_the_same(benchmarks):
    import answer_bars
    from bar import NotMeasuredError

    record = _evaluation()
    assert answer_bars.mean_f1(5)(record) == 72.0
    with pytest.raises(NotMeasuredError, match="was asked 5 questions of 2,067"):
        answer_bars.spread(record)
    whole = record.model_copy(
        update={"scores": [score.model_copy(update={"n_items": 2067}) for score in record.scores]}
    )
    assert answer_bars.spread(whole) == 20.0
    assert answer_bars.above(SHORT)(whole) == pytest.approx(38.0)


def test_differences_are_told_over_everything_where_that_is_there(benchmarks):
    _, tables = benchmarks
    common = {"system": LONG, "baseline": SHORT, "metric": "f1", "p_value": 0.01, "n_resamples": 1000}
    one = Difference(dataset="squad x2", language="en", n_units=5, mean=38.0, low=30.25, high=45.0, **common)
    both = one.model_copy(update={"dataset": "all", "language": "all", "n_units": 9})
    record = _evaluation().model_copy(update={"differences": [one]})
    assert tables.differences(record).splitlines()[2] == (f"| SQ-2 | {LONG} | {SHORT} | +38.0 | +30.2 to +45.0 | 5 |")
    record = _evaluation().model_copy(update={"differences": [one, both]})
    assert len(tables.differences(record).splitlines()) == 3 and tables.differences(record).endswith("| 9 |\n")


def test_a_training_is_told_in_steps_minutes_and_loss(benchmarks):
    _, tables = benchmarks
    assert tables.trainings(_training()).splitlines()[2] == "| long/42 | 60 x 4 | 10 | 2.0 | 4.50 | 3.00 |"
