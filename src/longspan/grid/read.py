"""A grid's YAML -> its lines, every recipe, option and name checked before anything starts (docs/grid.md)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from longspan.errors import InputError
from longspan.grid.command_line import evaluate_words, parse_evaluate, recipe_words
from longspan.grid.job import Line, Verb
from longspan.grid.missing_inputs import missing_model, missing_text
from longspan.tasks import DEFAULT_TASK, find_fine_tuning_task
from longspan.training.pretrain.recipe import PretrainRecipe
from longspan.training.recipe.fields import FinetuneRecipe, Recipe
from longspan.training.recipe.files import load_recipe, parse_recipe, read_yaml
from longspan.wording import did_you_mean

_KINDS: dict[Verb, type[Recipe]] = {"pretrain": PretrainRecipe, "finetune": FinetuneRecipe}
_STEPS: tuple[Verb, ...] = (*_KINDS, "evaluate")
_GRID_FIELDS = ("name", "output_dir", "seeds", "defaults", "runs")
_RUN_FIELDS = ("name", "seeds", *_STEPS)
# What the grid itself says to each verb.
_SAID = {
    "training": ("name", "seed", "output_dir", "overwrite_output_dir"),
    "evaluate": ("output", "overwrite", "run", "training_seed"),
}
_DEFAULT_SEED = 42  # transformers' own
_REFERENCE = "run:"


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A grid that was read: its lines stand in an order in which each can be done. `asked` is how it was named."""

    name: str
    asked: str
    path: Path
    output_dir: Path
    lines: list[Line]


def read_grid(path: str | Path) -> Grid:
    """Read the grid at `path`, or the one of that name that comes with longspan, and check all of it.

    Raises:
        InputError: there is no such grid, it is not YAML of the form that docs/grid.md describes, or a recipe, field,
            option or run that it names does not exist or fit (the message names the run). Files, folders and data
            sets that are not there are in each line's `missing`.
    """
    file = _find(path)
    fields = read_yaml(file)
    _require_known(fields, _GRID_FIELDS, str(path))
    for needed in ("output_dir", "runs"):
        if not fields.get(needed):
            raise InputError(f"{path} does not say {needed}; add `{needed}: ...`")
    if not isinstance(fields["runs"], list):
        raise InputError(f"{path}: runs must be a list, one `- name: ...` for each")
    reader = _Reader(str(path), Path(str(fields["output_dir"])).expanduser(), fields)
    for number, run in enumerate(fields["runs"], 1):
        reader.add(run, number)
    return Grid(
        name=str(fields.get("name") or file.stem),
        asked=str(path),
        path=file,
        output_dir=reader.output_dir,
        lines=reader.in_order(),
    )


def shipped_grids() -> dict[str, Path]:
    """Name -> file of the grids that come with longspan."""
    here = Path(str(resources.files("longspan"))) / "recipes"
    if not here.is_dir():  # a checkout: the folder stands beside src/
        here = Path(__file__).resolve().parents[3] / "recipes"
    return {file.stem: file for file in sorted((here / "thesis").glob("*.yaml"))}


def _find(path: str | Path) -> Path:
    file = Path(path)
    if file.is_file():
        return file
    shipped = shipped_grids()
    if str(path) in shipped:
        return shipped[str(path)]
    what = "is a folder" if file.is_dir() else "no such grid"
    raise InputError(f"{path}: {what}; pass a YAML file or one of {', '.join(shipped)}")


class _Reader:
    """Collects the lines of one grid."""

    def __init__(self, path: str, output_dir: Path, fields: Mapping[str, Any]) -> None:
        self.path = path
        self.output_dir = output_dir
        self._seeds = self._seeds_in(fields.get("seeds", [_DEFAULT_SEED]), path)
        self._defaults = fields.get("defaults") or {}
        _require_known(_mapping(self._defaults, f"{path}: defaults"), _STEPS, f"{path}: defaults")
        for step, values in self._defaults.items():
            self._fields(step, values, f"{path}: defaults: {step}")
        # run -> seed -> step -> line
        self._runs: dict[str, dict[int, dict[Verb, Line]]] = {}

    def add(self, run: Any, number: int) -> None:
        """Add the lines of one entry of `runs`."""
        where = f"{self.path}: run {number}"
        _require_known(_mapping(run, where), _RUN_FIELDS, where)
        name = str(run.get("name", ""))
        if not re.fullmatch(r"\w[\w.+-]*", name):
            raise InputError(f"{where}: its name is {name!r}; give it one of letters, digits, . + - and _")
        if name in self._runs:
            raise InputError(f"{where}: there is a run {name} already; give it another name")
        where = f"{self.path}: {name}"
        steps: list[Verb] = [step for step in _STEPS if step in run]
        if not steps:
            raise InputError(f"{where}: nothing to do; add pretrain, finetune or evaluate")
        if len(steps) > 1 and "evaluate" not in steps:
            raise InputError(f"{where}: pretrain and finetune are two runs; `model: {_REFERENCE}NAME` joins them")
        seeds = self._seeds_in(run["seeds"], where) if "seeds" in run else self._seeds
        self._runs[name] = {}
        for seed in seeds:
            lines = self._runs[name][seed] = {}
            for step in steps:
                own = self._fields(step, run[step], f"{where}: {step}")
                try:
                    if step == "evaluate":
                        lines[step] = self._evaluation(name, seed, own, lines)
                    else:
                        lines[step] = self._training(name, seed, step, own)
                except InputError as error:
                    raise InputError(f"{where}: {step}: {str(error).removeprefix('command line: ')}") from error

    def in_order(self) -> list[Line]:
        """All lines: seed by seed, so that a whole table stands early; what a line needs comes before it."""
        order: dict[str, Line] = {}

        def put(line: Line) -> None:
            for need in line.needs:
                put(need)
            order.setdefault(line.key, line)

        for seed in dict.fromkeys(seed for seeds in self._runs.values() for seed in seeds):
            for seeds in self._runs.values():
                for line in seeds.get(seed, {}).values():
                    put(line)
        return list(order.values())

    def _training(self, name: str, seed: int, step: Verb, own: dict[str, Any]) -> Line:
        fields = {**(self._defaults.get(step) or {}), **own}
        recipe = fields.pop("recipe", None)
        fields, needs = self._resolve(fields, seed)
        folder = self.output_dir / name / str(seed)
        fields = {"resume_from_checkpoint": True} | fields
        fields |= {
            "name": f"{name}/{seed}",
            "seed": seed,
            "output_dir": str(folder / "model"),
            "overwrite_output_dir": False,
        }
        kind = _KINDS[step]
        words = recipe_words(fields)
        built = parse_recipe(words, kind=kind, defaults={}) if recipe is None else load_recipe(recipe, words, kind=kind)
        missing = _missing_models([built.model], needs)
        if isinstance(built, FinetuneRecipe):
            missing += find_fine_tuning_task(built.task).missing_data([*built.train_data, *built.eval_data])
        elif isinstance(built, PretrainRecipe):
            missing += missing_text([*built.train_data, *built.eval_data])
        return Line(run=name, seed=seed, verb=step, folder=folder, needs=needs, recipe=built, missing=tuple(missing))

    def _evaluation(self, name: str, seed: int, own: dict[str, Any], lines: Mapping[Verb, Line]) -> Line:
        fields, needs = self._resolve({**(self._defaults.get("evaluate") or {}), **own}, seed)
        folder = self.output_dir / name / str(seed)
        training = next(iter(lines.values()), None)
        if training is not None:
            if "model" in fields:
                raise InputError("its model is the one that the run trains; remove model")
            if training.verb == "pretrain":
                raise InputError("a pre-trained model has no head to evaluate; evaluate runs that fine-tune it")
            model, needs = str(training.output), (training, *needs)
        elif "model" in fields:
            model = str(fields.pop("model"))
        else:
            raise InputError(f"say which model: a folder, a name on the hub, or {_REFERENCE}NAME")
        options = [model, *evaluate_words(fields), "--output", str(folder / "evaluation")]
        options += ["--run", name, "--training_seed", str(seed)]
        task = getattr(training.recipe, "task", DEFAULT_TASK) if training is not None else DEFAULT_TASK
        if task != DEFAULT_TASK and "task" not in fields:
            options += ["--task", task]  # the model may not be there yet to say it
        understood = parse_evaluate(options)
        missing = _missing_models([model, understood.short_model], needs)
        missing += understood.chosen_task.missing_evaluation_data(understood)
        return Line(
            run=name,
            seed=seed,
            verb="evaluate",
            folder=folder,
            needs=needs,
            options=tuple(options),
            missing=tuple(missing),
        )

    def _resolve(self, fields: Mapping[str, Any], seed: int) -> tuple[dict[str, Any], tuple[Line, ...]]:
        """`fields` with the folder of each `run:NAME` in its place, and the lines that fill those."""
        needs: dict[str, Line] = {}
        resolved = {}
        for name, value in fields.items():
            resolved[name] = value
            if isinstance(value, str) and value.startswith(_REFERENCE):
                line = self._made_by(value.removeprefix(_REFERENCE).strip(), seed)
                needs[line.key] = line
                resolved[name] = str(line.output)
        return resolved, tuple(needs.values())

    def _made_by(self, run: str, seed: int) -> Line:
        """The training of `run` with the same seed, or with the only one it has."""
        if run not in self._runs:
            hint = did_you_mean(run, self._runs, "runs that others refer to stand above them")
            raise InputError(f"there is no run {run} above; {hint}")
        seeds = self._runs[run]
        lines = seeds.get(seed) or (next(iter(seeds.values())) if len(seeds) == 1 else None)
        if lines is None:
            raise InputError(f"run {run} has no seed {seed}; it has {', '.join(map(str, seeds))}")
        training = next((line for line in lines.values() if line.verb != "evaluate"), None)
        if training is None:
            raise InputError(f"run {run} trains no model")
        return training

    def _fields(self, step: str, values: Any, where: str) -> dict[str, Any]:
        """The fields of one step: a mapping, the name of a recipe, or nothing but the defaults."""
        if values is None:
            return {}
        if isinstance(values, str) and step in _KINDS:
            return {"recipe": values}
        said = _SAID["evaluate" if step == "evaluate" else "training"]
        for name in _mapping(values, where):
            if name in said:
                raise InputError(f"{where}: {name} is said by the grid itself; remove it")
        return dict(_mapping(values, where))

    def _seeds_in(self, seeds: Any, where: str) -> list[int]:
        values = seeds if isinstance(seeds, list) else [seeds]
        if not values or not all(type(seed) is int and seed >= 0 for seed in values):
            raise InputError(f"{where}: seeds is {seeds!r}; it must be a list of whole numbers")
        if len(set(values)) < len(values):
            raise InputError(f"{where}: a seed stands twice in {seeds}")
        return values


def _missing_models(names: list[str | None], needs: tuple[Line, ...]) -> list[str]:
    made_here = {str(need.output) for need in needs}
    return [text for name in names if name and name not in made_here for text in missing_model(name)]


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{where} is {value!r}; it must be fields, one `field: value` a line")
    return value


def _require_known(fields: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for name in fields:
        if name not in known:
            hint = did_you_mean(str(name), known, f"it takes {', '.join(known)}")
            raise InputError(f"{where}: unknown field {name}; {hint}")
