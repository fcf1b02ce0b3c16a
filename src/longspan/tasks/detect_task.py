"""Which task a checkpoint or an adapter is of."""

import json
from pathlib import Path

from longspan.limits import load_json
from longspan.models.heads import HEADS
from longspan.tasks import DEFAULT_TASK, all_tasks, find_fine_tuning_task
from longspan.tasks.adapter_files import describe_adapter, is_adapter
from longspan.tasks.task import FineTuningTask


def task_of(name_or_path: str | Path) -> FineTuningTask:
    """Return the task whose head a checkpoint or adapter has; the default task if nothing says which.

    Raises:
        InputError: no task has this head; the message names it and the tasks.
    """
    if is_adapter(name_or_path):
        return find_fine_tuning_task(describe_adapter(name_or_path).task)
    architecture = _architecture(Path(name_or_path).expanduser() / "config.json")
    tasks = [task for task in all_tasks() if isinstance(task, FineTuningTask)]
    for task in tasks:
        if architecture is not None and HEADS[task.head].class_ending in architecture:
            return task
    return find_fine_tuning_task(DEFAULT_TASK)


def _architecture(config: Path) -> str | None:
    try:
        fields = load_json(config)
    except (OSError, json.JSONDecodeError, UnicodeDecodeError):
        return None  # a name on the hub, or what `load_checkpoint` explains
    named = fields.get("architectures") if isinstance(fields, dict) else None
    return str(named[0]) if isinstance(named, list) and named else None
