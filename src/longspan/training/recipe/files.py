"""Reads recipes: flat YAML files, checked field by field, with overrides from the command line."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, overload

import yaml
from pydantic import ValidationError

from longspan.data.decoding import find_surrogate
from longspan.errors import InputError
from longspan.limits import YAML_BYTES, bound_of_description, load_yaml, read_bounded
from longspan.tasks import DEFAULT_TASK, all_tasks, find_task
from longspan.training.recipe.field_types import GONE, OLD_NAMES, argument_types, convert, modern_fields
from longspan.training.recipe.fields import FinetuneRecipe, Recipe, recipe_of_task
from longspan.training.recipe.number_ranges import require_in_range
from longspan.wording import did_you_mean

logger = logging.getLogger(__name__)

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
        kind: the type of the recipe.

    Raises:
        InputError: there is no such recipe, it is not a flat YAML mapping (the message has the line), a field is
            unknown (the nearest is suggested), has the wrong type (names field, value and type), stands twice, or
            a needed one is missing; or it is a recipe of another kind.
    """
    file = _find(path)
    written = read_yaml(file)
    kind = _for_task(kind, written, fields, str(path))
    values: dict[str, Any] = {}
    _merge(values, written.items(), str(path), kind)
    overrides: dict[str, Any] = {}
    _merge(overrides, _parse_words(fields, kind), "command line", kind)
    return _build({"name": file.stem} | values | overrides, str(path), set(overrides), kind)


def parse_recipe(words: Sequence[str], *, kind: type[Kind], defaults: Mapping[str, Any]) -> Kind:
    """Make a recipe from the words of a command line alone, over `defaults`.

    Raises:
        InputError: as `load_recipe`.
    """
    overrides: dict[str, Any] = {}
    kind = _for_task(kind, defaults, words, "command line")
    _merge(overrides, _parse_words(words, kind), "command line", kind)
    found: Any = _build({**defaults, **overrides}, "command line", set(overrides), kind)
    return found


def verb_of(path: str | Path) -> str:
    """The verb that the recipe at `path` is for; "finetune" if it names no task.

    Raises:
        InputError: there is no such recipe, or it is not a flat YAML mapping.
    """
    return find_task(str(read_yaml(_find(path)).get("task", DEFAULT_TASK))).verb


def _for_task(kind: Any, written: Mapping[str, Any], words: Sequence[str], where: str) -> Any:
    """Return `kind` with the fields of the recipe's task.

    Raises:
        InputError: there is no such task, or another verb trains it.
    """
    task = _asked_task(words) or written.get("task")
    if task is None:
        return recipe_of_task(DEFAULT_TASK) if kind is FinetuneRecipe else kind
    verb = find_task(str(task)).verb
    if verb != kind.verb:
        raise InputError(f"{where} is a recipe for `longspan {verb}` (task: {task}), not for {kind.verb}")
    return recipe_of_task(str(task)) if kind is FinetuneRecipe else kind


def _asked_task(words: Sequence[str]) -> str | None:
    """Return what the words of a command line say of `task`."""
    for place, word in enumerate(words):
        name, has_value, value = word.partition("=")
        if name == "--task":
            return value if has_value else next(iter(words[place + 1 : place + 2]), None)
    return None


def shipped_recipes() -> dict[str, Path]:
    """Name -> file of the recipes that come with longspan."""
    here = Path(str(resources.files("longspan"))) / "recipes"
    if not here.is_dir():  # a checkout: the folder stands beside src/
        here = Path(__file__).resolve().parents[4] / "recipes"
    return {file.stem: file for file in sorted(here.glob("*.yaml"))}


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
    """Refuses what YAML accepts silently: a key that is set twice, and half of a surrogate pair."""

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        place = find_surrogate(node.value) if isinstance(node.value, str) else None
        if place is not None:
            problem = f"U+{ord(node.value[place]):04X} is half of a surrogate pair; write the whole character"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return super().construct_scalar(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(file: Path) -> dict[str, Any]:
    """Read the mapping in a YAML file; a key that is set twice is refused.

    Raises:
        InputError: it is not UTF-8, not YAML (the message has the line), too large, or holds no mapping.
    """
    try:
        text = read_bounded(file, bound_of_description(YAML_BYTES)).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 text (byte {error.start}); is it a recipe?") from None
    try:
        values = load_yaml(text, file, _StrictLoader)  # a SafeLoader
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
    """Add `fields` under their present names.

    Raises:
        InputError: a field is unknown, stands twice or an old switch has a wrong value.
    """
    for name, value in fields:
        if name not in _all_names(kind):
            by_any_name = did_you_mean(name, _all_names(kind), "docs/recipes.md lists all fields", cutoff=0.7)
            hint = "; " + did_you_mean(name, _new_names(kind), by_any_name, cutoff=0.7)
            if others := _tasks_with(name, kind):
                hint = f" of this recipe's task; {' and '.join(others)} {'has' if len(others) == 1 else 'have'} it"
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


def _tasks_with(name: str, kind: type[Recipe]) -> list[str]:
    """Return the names of other tasks whose recipes have this field."""
    from longspan.tasks.task import FineTuningTask

    if kind.verb != FinetuneRecipe.verb:
        return []
    tasks = [task for task in all_tasks() if isinstance(task, FineTuningTask)]
    return [task.name for task in tasks if name in task.fields.model_fields]


def _new_names(kind: type[Recipe]) -> list[str]:
    return list(dict.fromkeys([*kind.own_fields(), *argument_types()]))


def _all_names(kind: type[Recipe]) -> list[str]:
    return list(dict.fromkeys([*_new_names(kind), *OLD_NAMES, *GONE]))


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
    try:
        require_in_range(recipe.training)
    except InputError as error:
        name = str(error).partition(" is ")[0]
        raise InputError(f"{'command line' if name in overridden else where}: {error}") from None
    for needed, others in kind.needed_by.items():
        useless = sorted(recipe.model_fields_set & others)
        if useless and needed not in recipe.model_fields_set | recipe.implied_fields():
            raise InputError(f"{where}: {useless[0]} is of no effect without {needed}; set {needed} or remove it")
    return recipe
