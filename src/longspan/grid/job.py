"""A job of a grid (`Line`): a command, the folder that it writes to, and its state on the disk.

OUTPUT_DIR/RUN/SEED/
  recipe.yaml               the recipe of the training
  model/                    the finished model, its checkpoints and record
  evaluation/               evaluation.json
  finetune.log evaluate.log output of the processes
"""

import functools
import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from longspan.errors import InputError
from longspan.files import replace_file
from longspan.grid.command_line import parse_evaluate
from longspan.records import EvaluationRecord, TrainingRecord, read_record
from longspan.training.recipe.fields import Recipe
from longspan.training.recipe.files import read_yaml
from longspan.training.run.resume_check import FREE_ON_RESUME

Verb = Literal["pretrain", "finetune", "evaluate"]

# Options of `longspan evaluate` that change no score.
_FREE_OPTIONS = {"batch_size", "chosen_task", "device", "name", "output", "overwrite", "run", "training_seed"}


@dataclass(frozen=True, kw_only=True)
class Line:
    """One job of a grid.

    Attributes:
        run: name of the run in the grid.
        seed: seed of the training, also if another job did it.
        verb: the verb.
        folder: folder of the run and seed.
        needs: jobs whose models this job reads.
        recipe: recipe of a training, with the grid's fields.
        options: command-line words of an evaluation after the verb.
        missing: missing inputs, one sentence each.
    """

    run: str
    seed: int
    verb: Verb
    folder: Path
    needs: tuple["Line", ...] = ()
    recipe: Recipe | None = None
    options: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """`run/seed/verb`, which `--only` is matched with."""
        return f"{self.run}/{self.seed}/{self.verb}"

    @property
    def output(self) -> Path:
        """The output folder of the verb."""
        return self.folder / ("evaluation" if self.verb == "evaluate" else "model")

    @property
    def record(self) -> Path:
        """Path of the job's record; the job is done if it exists."""
        return self.output / ("evaluation.json" if self.verb == "evaluate" else "training.json")

    @property
    def log(self) -> Path:
        """Path of the log of its process."""
        return self.folder / f"{self.verb}.log"

    @property
    def recipe_file(self) -> Path:
        """Path of the recipe of a training."""
        return self.folder / "recipe.yaml"

    @property
    def words(self) -> list[str]:
        """The command line after `longspan`."""
        return [self.verb, *(self.options if self.recipe is None else [str(self.recipe_file)])]

    @property
    def command(self) -> str:
        """The command that does this job alone."""
        return shlex.join(["longspan", *self.words])

    def write_recipe(self) -> None:
        """Write `recipe_file` atomically; do nothing for an evaluation."""
        if self.recipe is None:
            return
        text = yaml.safe_dump(_flat(self.recipe), sort_keys=False, allow_unicode=True, width=120)
        with replace_file(self.recipe_file) as temporary:
            temporary.write_text(
                f"# {self.run}, seed {self.seed}: written by `longspan run`.\n{text}", encoding="utf-8"
            )

    def read(self) -> TrainingRecord | EvaluationRecord | None:
        """Read the job's record, without items; None if the job is not done.

        Raises:
            InputError: the file is not a record of the right kind.
        """
        if not self.record.exists():
            return None
        found = self.record.stat()
        return _read(self.record, self.verb == "evaluate", found.st_mtime_ns, found.st_size)

    def has_begun(self) -> bool:
        """Whether there are partial results that the verb resumes from."""
        found = ".cells/*" if self.verb == "evaluate" else "checkpoints/checkpoint-*"
        return any(self.output.glob(found))

    def changes(self) -> list[str]:
        """Fields that changed since the job was done or begun: `learning_rate was 3e-05, is 0.0001`."""
        if self.recipe is not None:
            if not self.recipe_file.is_file() or not (self.record.exists() or self.has_begun()):
                return []
            before, now = read_yaml(self.recipe_file), _flat(self.recipe)
            free = FREE_ON_RESUME
        else:
            found = self.read()
            if found is None:
                return []
            try:
                before = vars(parse_evaluate(shlex.split(found.made.command)[2:]))
            except InputError:  # written by another longspan, with other options
                return []
            now, free = vars(parse_evaluate(list(self.options))), _FREE_OPTIONS
        names = sorted((before.keys() | now.keys()) - free)
        return [
            f"{name} was {_short(before.get(name))}, is {_short(now.get(name))}"
            for name in names
            if _plain(before.get(name)) != _plain(now.get(name))
        ]


@functools.cache
def _read(path: Path, is_evaluation: bool, _changed: int, _size: int) -> TrainingRecord | EvaluationRecord:
    """Read the record at `path`; it is cached until the file changes, because it can be large."""
    found = read_record(path)
    if is_evaluation and isinstance(found, EvaluationRecord):
        return found.model_copy(update={"items": []})
    if not is_evaluation and isinstance(found, TrainingRecord):
        return found
    raise InputError(f"{path} is a record of another kind ({found.kind}); move it away")


def _flat(recipe: Recipe) -> dict[str, Any]:
    """The recipe's fields as values that YAML can represent."""
    task: Any = recipe
    return json.loads(json.dumps({"task": task.task} | recipe.fields(), default=str))


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def _short(value: Any) -> str:
    text = "not set" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
