"""A pre-training run as a flat YAML file; read and overridden as every recipe (longspan.training.recipe.files)."""

from typing import Any, Literal

from pydantic import Field

from longspan.training.recipe.fields import Recipe


class PretrainRecipe(Recipe):
    """One run of masked language modelling."""

    verb = "pretrain"

    task: Literal["masked_lm"] = Field("masked_lm", description="the task")

    train_data: list[Any] = Field(
        min_length=1, description="sources of text: files, folders, globs, names, or mappings (docs/corpora.md)"
    )
    eval_data: list[Any] = Field(
        default_factory=list, description="the same for evaluation; each is scored by itself, and all together"
    )
    held_out: float = Field(
        0.0, ge=0, lt=1, description="share of each training source's documents to evaluate on; 0: eval_data only"
    )
    cache_dir: str | None = Field(
        None, description="where tokenised text is kept; null: longspan's folder in the user's cache"
    )
    n_processes: int | None = Field(None, gt=0, description="that tokenise; null: one a core")

    max_length: int | None = Field(None, gt=0, description="longest block in tokens; null: all the model takes")
    layout: Literal["continuous", "documents"] = Field(
        "continuous",
        description="continuous: one stream cut into blocks; documents: packed, without attention from one to another",
    )
    mask_probability: float = Field(0.15, gt=0, lt=1, description="that a token, or word, is asked for")
    whole_words: bool = Field(False, description="ask for all pieces of a word or none")
    rows_per_step: int | None = Field(
        None,
        gt=0,
        description="blocks in one step on all devices; sets gradient_accumulation_steps; null: what the fields say",
    )

    trained: Literal["all", "positions"] = Field(
        "all", description="positions: the position rows that the extension added, and nothing else"
    )
    eval_lengths: list[int] = Field(
        default_factory=list,
        description="tokens of context to evaluate at; empty: powers of two from 512 to max_length",
    )
    max_eval_blocks: int = Field(64, gt=0, description="evaluate on that many of the longest blocks of each source")
    on_non_finite: Literal["stop", "skip"] = Field(
        "stop",
        description="at a loss or gradient that is not finite: end the run, or skip the step and count it",
    )
    force_resume: bool = Field(False, description="resume although the recipe, data or tokenizer has changed")
