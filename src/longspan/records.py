"""Typed JSON records of runs, scores and timings: the only thing reports read.

Every figure in a table or a plot comes from one of these, and each says how it was made. A record is written with
`write_record` and read back, as its own type, with `read_record`.
"""

import functools
import hashlib
import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, ValidationInfo, model_validator

from longspan.errors import InputError
from longspan.files import replace_file
from longspan.limits import read_description

# Of the records written now. 2: places, training seeds, comparisons and grids. A record without a version is of 1, and
# is read; one of a later version is refused.
SCHEMA_VERSION: Final = 2


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


class _Record(_Row):
    schema_version: Literal[1, 2] = SCHEMA_VERSION

    @model_validator(mode="before")
    @classmethod
    def _date_old_ones(cls, fields: Any, info: ValidationInfo) -> Any:
        return {"schema_version": 1} | fields if info.mode == "json" and isinstance(fields, dict) else fields


class Machine(_Row):
    """Where a record was made."""

    processor: str
    cores: int
    memory_gib: float
    gpu: str | None = None
    system: str
    versions: dict[str, str] = Field(description="python and the libraries that decide the figures")


class Made(_Row):
    """How a record was made: enough for somebody else to make it again."""

    command: str
    commit: str | None = Field(None, description="git commit of longspan, with '+changes' for an unclean tree")
    date: str = Field(description="UTC, ISO 8601")
    seed: int | None = None
    data: dict[str, str] = Field(default_factory=dict, description="name of each data file -> its SHA-256")
    machine: Machine


class Check(_Row):
    """One statement of the extension's proof, with the largest deviation found."""

    statement: str
    n_inputs: int
    largest_error: float
    tolerance: float
    passed: bool


class Drift(_Row):
    """How far the extended model moves from the original on real text of one length."""

    n_tokens: int
    n_texts: int
    mean_cosine: float = Field(description="between last hidden states, token by token")
    largest_error: float


class ProofRecord(_Record):
    """What `extend` proved about one extended model."""

    kind: Literal["proof"] = "proof"
    made: Made
    source: str
    family: str
    old_max_tokens: int
    max_tokens: int
    attention_window: list[int]
    positions: str
    checks: list[Check]
    drift: list[Drift]
    notes: list[str] = Field(default_factory=list, description="what was left behind or could not be shown")


class StepLog(_Row):
    """One logged training step; `values` holds what the Trainer logged (loss, learning_rate, ...)."""

    step: int
    values: dict[str, float]


class LanguageModelScore(_Row):
    """How well a masked language model fills in what is masked of one source, with contexts of one length.

    The same tokens are asked for at every length, so that lengths, and before and after, can be compared.
    """

    when: Literal["initial", "final"] = Field(description="before the first step, or after the last")
    dataset: str = Field(description="name of the source, or 'all' for all of them together")
    language: str
    n_tokens: int = Field(description="tokens that the model sees at once, special ones included")
    n_predicted: int = Field(description="tokens asked for")
    loss: float = Field(description="mean over them, in nats")
    bits_per_token: float = Field(description='loss / ln 2: the "BPC" of the Longformer paper')
    bits_per_character: float | None = Field(
        None, description="bits of the tokens asked for, over the characters of text that these stand for"
    )
    loss_by_position: dict[str, float] = Field(
        default_factory=dict, description="'first-last' position in the input -> mean loss there, in nats"
    )


class TrainingRecord(_Record):
    """One training run."""

    kind: Literal["training"] = "training"
    made: Made
    name: str
    recipe: dict[str, Any]
    attention_backend: str = Field(description="what `select` chose, and why")
    n_examples: int
    n_features: int
    steps: list[StepLog]
    seconds: float
    peak_memory_gib: float
    counts: dict[str, int] = Field(default_factory=dict, description="repaired offsets, answers cut away, ...")
    language_model: list[LanguageModelScore] = Field(
        default_factory=list, description="of a pre-training run: before and after"
    )

    @property
    def n_steps(self) -> int:
        """Of the optimiser; 0 where nothing was logged."""
        return max((step.step for step in self.steps), default=0)

    @property
    def epochs(self) -> float | None:
        """Passes over the windows, as the last log says; None where none says it."""
        return max((step.values["epoch"] for step in self.steps if "epoch" in step.values), default=None)


class Score(_Row):
    """One cell: one system on one data set in one language, every question counted."""

    system: str
    dataset: str
    language: str
    n_questions: int
    metrics: dict[str, float] = Field(description="metric name -> value; per cent where the field uses per cent")
    seconds_per_question: float | None = None
    peak_memory_gib: float | None = Field(None, description="highest while answering: of the GPU, else of the process")
    counts: dict[str, int] = Field(default_factory=dict, description="e.g. gold answers outside what was read")


class Answer(_Row):
    """One question as one system answered it."""

    id: str
    system: str
    dataset: str
    language: str
    question: str
    gold: list[str]
    prediction: str
    score: float | None = Field(None, description="the model's own score of its answer")
    metrics: dict[str, float]
    context_before: str = Field("", description="text just before the predicted answer")
    context_after: str = ""
    depth: float | None = Field(None, description="where the gold answer starts in its document, 0 to 1")
    slot: int | None = Field(None, description="which of the concatenated paragraphs holds the answer, from 0")
    n_tokens: int | None = Field(None, description="question and document together")


class Difference(_Row):
    """One system against another on the same questions, by paired bootstrap over questions."""

    system: str
    baseline: str
    dataset: str = Field(description="name of the data set, or 'all' for every question of the record")
    language: str = Field(description="language, or 'all'")
    metric: str
    n_questions: int
    mean: float = Field(description="mean over questions of system less baseline, in the metric's unit")
    low: float = Field(description="2.5th percentile over resamples")
    high: float = Field(description="97.5th percentile over resamples")
    p_value: float = Field(description="two-sided")
    n_resamples: int


class Place(_Row):
    """Questions of one cell whose answers lie at one place of documents of one length: a field of a heat map.

    The fields of a system, data set and language hold every question of its cell once.
    """

    system: str
    dataset: str
    language: str
    length: int = Field(
        description="of the documents, in `unit`; the upper end where these are grouped; 0 where nobody counted"
    )
    unit: Literal["paragraphs", "tokens"]
    depth: float | None = Field(
        description="where the answer is, 0 to 1; the middle where places are grouped; None where the document has none"
    )
    slot: int | None = Field(None, description="which paragraph holds the answer, from 0; None where none are joined")
    n_questions: int
    metrics: dict[str, float]
    mean_tokens: float | None = Field(None, description="question and document together")


class EvaluationRecord(_Record):
    """Scores of one or more systems on the same questions."""

    kind: Literal["evaluation"] = "evaluation"
    made: Made
    name: str
    model: str
    protocol: str
    settings: dict[str, Any] = Field(default_factory=dict)
    attention_backend: dict[str, str] = Field(
        default_factory=dict, description="system -> what `select` chose for it, and why; older records do not say"
    )
    scores: list[Score]
    answers: list[Answer] = Field(default_factory=list)
    differences: list[Difference] = Field(default_factory=list)
    places: list[Place] = Field(default_factory=list, description="where the answers were, where that was asked for")
    run: str | None = Field(None, description="what was trained, its seed left out")
    training_seed: int | None = Field(None, description="of the model that is evaluated")


class ComparisonRecord(_Record):
    """Models that were evaluated on the same questions, two at a time."""

    kind: Literal["comparison"] = "comparison"
    made: Made
    name: str
    differences: list[Difference] = Field(description="system and baseline are 'run: system'")


class GridRun(_Row):
    """One line of a grid."""

    name: str
    seed: int | None = None
    verb: Literal["pretrain", "finetune", "evaluate"]
    command: str = Field(description="what to type to do this line alone")
    status: Literal["done", "failed", "waiting"]
    seconds: float | None = None
    record: str | None = Field(None, description="path of its record, from the grid's folder")
    error: str | None = None


class GridRecord(_Record):
    """All runs of a grid, and what became of them."""

    kind: Literal["grid"] = "grid"
    made: Made
    name: str
    runs: list[GridRun]


class Timing(_Row):
    """One measured cell of a benchmark: median and 20th / 80th percentile of several repeats."""

    what: str
    system: str
    n_tokens: int
    dtype: str
    median_seconds: float
    q20_seconds: float
    q80_seconds: float
    repeats: int
    peak_memory_bytes: int | None = None
    ratio_to: dict[str, float] = Field(default_factory=dict, description="other system -> our time / its time")
    is_chosen: bool = Field(False, description="longspan would take this system by itself; older records do not say")
    left_out: str | None = Field(None, description="why there is no measurement, where there is none")


class BenchmarkRecord(_Record):
    """Timings of one benchmark run, all peers in the same process."""

    kind: Literal["benchmark"] = "benchmark"
    made: Made
    name: str
    settings: dict[str, Any] = Field(default_factory=dict)
    timings: list[Timing]


Record = Annotated[
    ProofRecord | TrainingRecord | EvaluationRecord | BenchmarkRecord | ComparisonRecord | GridRecord,
    Field(discriminator="kind"),
]
_ANY_RECORD: TypeAdapter[Record] = TypeAdapter(Record)


def write_record(record: Record, path: str | Path) -> Path:
    """Write `record` as JSON to `path`, whole or not at all; returns the path."""
    path = Path(path)
    with replace_file(path) as temporary:
        temporary.write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return path


def read_record(path: str | Path) -> Record:
    """Read a record as the type it was written as.

    Raises:
        InputError: there is no such file, it is too large, or it is not a record (the message names the first field at
            fault).
    """
    path = Path(path)
    try:
        data = read_description(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such record; pass the JSON file that a run wrote") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; pass the JSON file that a run wrote into it") from None
    except PermissionError:
        raise InputError(f"{path} may not be read; change its permissions") from None
    try:
        return _ANY_RECORD.validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        if first["loc"][-1:] == ("schema_version",):
            raise InputError(
                f"{path} has schema version {first['input']}, and this longspan reads 1 to {SCHEMA_VERSION}; "
                "update longspan"
            ) from error
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InputError(f"{path} is not a longspan record: {field}: {first['msg']}") from error


def made_now(
    *,
    seed: int | None = None,
    data: dict[str, str] | None = None,
    command: str | None = None,
    gpu: str | None = None,
) -> Made:
    """The `Made` of a record written now, by this process.

    Args:
        seed: the run's seed.
        data: name -> SHA-256 of each data file read (`hash_file`).
        command: what to type to do this again; the process's own command line where None.
        gpu: name of the device, from whoever knows torch.
    """
    if command is None:
        program = Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "python"
        command = shlex.join([program, *sys.argv[1:]])
    return Made(
        command=command,
        commit=running_commit(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=seed,
        data=data or {},
        machine=_machine(gpu),
    )


def hash_file(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _machine(gpu: str | None) -> Machine:
    page, pages = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_PHYS_PAGES")
    versions = {"python": platform.python_version()}
    for name in ("longspan", "torch", "transformers", "triton"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        memory_gib=round(page * pages / 2**30, 1),
        gpu=gpu,
        system=f"{platform.system()} {platform.machine()}",
        versions=versions,
    )


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@functools.cache
def running_commit() -> str | None:
    """The commit of the checkout longspan runs from, "+changes" added where its files differ; None for a wheel.

    Asked for once, as early as possible: what is checked out by the end of a long run is not what ran.
    """
    here = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        run = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True)
        return run.stdout.strip()

    try:
        if not (Path(git("rev-parse", "--show-toplevel")) / "src" / "longspan").samefile(here):
            return None
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
