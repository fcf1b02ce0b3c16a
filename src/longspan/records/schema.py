"""The types of records: runs, scores and timings as typed JSON. Reports read nothing else.

Every figure in a table or a plot comes from one of these, and each says how it was made (`Provenance`).
`longspan.records.write_record` writes a record, `read_record` reads it back as its own type.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION: Final = 3
"""Version of the records written now.

1: no version in the file. 2: places, training seeds, comparisons and grids. 3: evaluations of any task (the task's
name, its metrics with their units and directions, items instead of answers). Older records are converted when they are
read (`longspan.records.older`); a later version is refused.
"""

PER_CENT: Final = "%"
"""Unit of metrics that run from 0 to 100."""


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


class _Record(_Row):
    schema_version: Literal[3] = SCHEMA_VERSION


class Metric(_Row):
    """One figure that a task is scored by."""

    name: str = Field(description="key in the `metrics` of scores and items")
    label: str = Field(description="as tables and plots show it")
    unit: str = Field(default=PER_CENT, description="'%' for 0 to 100; any other text is shown as it is, '' for none")
    higher_is_better: bool = True

    @property
    def is_per_cent(self) -> bool:
        """Whether values run from 0 to 100."""
        return self.unit == PER_CENT

    def rank(self, value: float) -> float:
        """Return a key that sorts values from the best to the worst."""
        return -value if self.higher_is_better else value


class Machine(_Row):
    """Where a record was made."""

    processor: str
    cores: int
    memory_gib: float
    gpu: str | None = None
    system: str
    versions: dict[str, str] = Field(description="python and the libraries that decide the figures")


class Provenance(_Row):
    """How a record was made: what is needed to make it again."""

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
    made: Provenance
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
    made: Provenance
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
    """One system on one data set in one language, every item counted."""

    system: str
    dataset: str
    language: str
    n_items: int
    metrics: dict[str, float] = Field(description="metric name -> value")
    seconds_per_item: float | None = None
    peak_memory_gib: float | None = Field(None, description="highest while predicting: of the GPU, else of the process")
    counts: dict[str, int] = Field(default_factory=dict, description="e.g. gold answers outside what was read")


class Item(_Row):
    """One input of a data set and what one system predicted for it."""

    id: str
    unit: str = Field(description="what the bootstrap draws: items of one unit (a question's translations) go together")
    variant: int | None = Field(
        None, description="which variant of the same input (the place of a paragraph); None if there is only one"
    )
    system: str
    dataset: str
    language: str
    input: str = Field(description="the question, or an excerpt of the text")
    gold: list[str]
    prediction: str
    score: float | None = Field(None, description="the model's own score of its prediction")
    metrics: dict[str, float]
    n_tokens: int | None = Field(None, description="tokens of the whole input; None if not counted")
    n_tokens_read: int | None = Field(None, description="tokens of it that the system read; None if not counted")
    truncated: bool | None = Field(None, description="whether part of the input was not read; None if not known")
    extra: dict[str, Any] = Field(default_factory=dict, description="what only this task knows, such as the context")


class Difference(_Row):
    """One system against another on the same items, by paired bootstrap over units."""

    system: str
    baseline: str
    dataset: str = Field(description="name of the data set, or 'all' for every item of the record")
    language: str = Field(description="language, or 'all'")
    metric: str
    n_units: int = Field(description="units that the bootstrap draws")
    mean: float = Field(description="mean over units of system less baseline, in the metric's unit")
    low: float = Field(description="2.5th percentile over resamples")
    high: float = Field(description="97.5th percentile over resamples")
    p_value: float = Field(description="two-sided")
    n_resamples: int


class Place(_Row):
    """Items of one system and data set whose evidence lies at one place of documents of one length.

    Each is a field of a heat map. The places of a system, data set and language hold each of its items once.
    """

    system: str
    dataset: str
    language: str
    length: int = Field(description="of the documents, in `unit`; the upper end if these are grouped; 0 if not counted")
    unit: Literal["paragraphs", "tokens"]
    depth: float | None = Field(
        description="where the evidence is, 0 to 1; the middle if places are grouped; None if the document has none"
    )
    slot: int | None = Field(None, description="which joined paragraph holds the evidence, from 0; None if none are")
    n_items: int
    metrics: dict[str, float]
    mean_tokens: float | None = Field(None, description="of the whole input")


class EvaluationRecord(_Record):
    """Scores of one or more systems on the same items."""

    kind: Literal["evaluation"] = "evaluation"
    made: Provenance
    name: str
    task: str
    item_noun: str = Field("item", description="what one item is called, in the singular: question, document")
    metrics: list[Metric] = Field(
        default_factory=list, description="in the order of tables; the first decides which system is best"
    )
    count_labels: dict[str, str] = Field(default_factory=dict, description="name in `Score.counts` -> heading")
    model: str
    protocol: str
    settings: dict[str, Any] = Field(default_factory=dict)
    attention_backend: dict[str, str] = Field(
        default_factory=dict, description="system -> the attention backend that was chosen and why; not in old records"
    )
    scores: list[Score]
    items: list[Item] = Field(default_factory=list)
    differences: list[Difference] = Field(default_factory=list)
    places: list[Place] = Field(default_factory=list, description="scores by length and place, if the task has places")
    run: str | None = Field(None, description="what was trained, without its seed")
    training_seed: int | None = Field(None, description="of the model that is evaluated")

    @property
    def seed(self) -> int | None:
        """The seed of the training; None if the record does not say it."""
        return self.made.seed if self.training_seed is None else self.training_seed

    @property
    def run_name(self) -> str:
        """What was trained: the record's run, or its model if it names none."""
        return self.run or self.model


class ComparisonRecord(_Record):
    """Models that were evaluated on the same items, two at a time."""

    kind: Literal["comparison"] = "comparison"
    made: Provenance
    name: str
    task: str
    item_noun: str = "item"
    metrics: list[Metric] = Field(default_factory=list, description="those of `differences`")
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
    made: Provenance
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
    made: Provenance
    name: str
    settings: dict[str, Any] = Field(default_factory=dict)
    timings: list[Timing]


Record = Annotated[
    ProofRecord | TrainingRecord | EvaluationRecord | BenchmarkRecord | ComparisonRecord | GridRecord,
    Field(discriminator="kind"),
]
