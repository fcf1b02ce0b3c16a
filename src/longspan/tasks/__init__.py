"""The table of tasks, those of other packages included, and everything a task needs around a model."""

import importlib
import logging
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from longspan.errors import InputError
from longspan.wording import did_you_mean

if TYPE_CHECKING:
    from longspan.tasks.task import FineTuningTask, Task

logger = logging.getLogger(__name__)

TASKS = {
    "question_answering": "longspan.tasks.question_answering.task:QuestionAnswering",
    "sequence_classification": "longspan.tasks.sequence_classification.task:SequenceClassification",
    "masked_lm": "longspan.tasks.masked_lm.task:MaskedLm",
}
"""Name -> where the task is. The first is the default of recipes that name no task."""

DEFAULT_TASK = next(iter(TASKS))
PACKAGED = "packaged"
"""The name of the adapter that comes with longspan."""

_GROUP = "longspan.tasks"


def find_task(name: str) -> "Task":
    """Return the task of that name, of longspan or of an installed package.

    Raises:
        InputError: there is none (the message lists all, and a near name), or its package fails when it is imported.
    """
    if name in TASKS:
        return _load(TASKS[name])
    for point in entry_points(group=_GROUP):
        if point.name == name:
            try:
                return _made(point.load())
            except Exception as error:
                raise InputError(
                    f"the task {name} of {_package(point)} cannot be imported ({type(error).__name__}: {error}); "
                    "mend or remove that package"
                ) from error
    names = task_names()
    near = did_you_mean(name, names)
    hint = f" ({near})" if near else ""
    raise InputError(f"there is no task {name!r}{hint}; there are {', '.join(names)}")


def find_fine_tuning_task(name: str) -> "FineTuningTask":
    """Return a task that `longspan finetune` and `longspan evaluate` take.

    Raises:
        InputError: as `find_task`; or another verb trains it.
    """
    from longspan.tasks.task import FineTuningTask

    task = find_task(name)
    if not isinstance(task, FineTuningTask):
        raise InputError(f"the task {name} is trained and scored by `longspan {task.verb}`; choose another task here")
    return task


def all_tasks() -> "list[Task]":
    """Return every task; one whose package fails at import is named in a warning and left out."""
    found = []
    for name in task_names():
        try:
            found.append(find_task(name))
        except InputError as error:
            if name in TASKS:
                raise
            logger.warning("%s", error)
    return found


def task_names() -> list[str]:
    """Return the names of all tasks, longspan's own first, without importing them."""
    others = sorted(point.name for point in entry_points(group=_GROUP) if point.name not in TASKS)
    return [*TASKS, *dict.fromkeys(others)]


def _load(place: str) -> "Task":
    module, _, name = place.partition(":")
    return _made(getattr(importlib.import_module(module), name))


def _made(found: object) -> "Task":
    """Return the task that an entry names: a task, or its class."""
    from longspan.tasks.task import Task

    task = found() if isinstance(found, type) else found
    if not isinstance(task, Task):
        raise TypeError(f"{found!r} is no longspan.tasks.task.Task")
    return task


def _package(point: object) -> str:
    distribution = getattr(point, "dist", None)
    return distribution.name if distribution is not None else "another package"
