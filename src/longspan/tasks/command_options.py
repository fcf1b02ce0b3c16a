"""The option --task, and the options that only the chosen task has."""

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from longspan.errors import InputError

if TYPE_CHECKING:
    from longspan.tasks.task import FineTuningTask

AddArguments = Callable[[argparse.ArgumentParser], None]


def add_task_option(parser: argparse.ArgumentParser) -> None:
    """Add --task to a verb that takes any task."""
    parser.add_argument("--task", metavar="TASK", help="see `longspan ls tasks`; what the model's head says by default")


def add_options_of_task(
    parser: argparse.ArgumentParser, verb: str, words: Sequence[str], add_arguments: AddArguments
) -> None:
    """Add the options of the task that a command line is about; it becomes `arguments.chosen_task`.

    The task is what --task says, else what the model's head says. --help without --task lists no task's options.

    Args:
        parser: of the verb, with the options of every task.
        verb: "evaluate" or "predict".
        words: of the command line after the verb.
        add_arguments: adds the options of every task, to find the model among `words`.

    Raises:
        InputError: there is no such task.
    """
    from longspan.tasks import find_fine_tuning_task

    asked = [word.partition("=") for word in words if word == "--task" or word.startswith("--task=")]
    if asked:
        name = asked[-1][2] or next(iter(words[list(words).index("--task") + 1 :]), "")
        task = find_fine_tuning_task(name)
    elif {"-h", "--help"} & set(words):
        return
    else:
        task = _task_of_model(verb, words, add_arguments)
    _add(parser, verb, task)
    parser.set_defaults(chosen_task=task)


def unknown_option(verb: str, task: "FineTuningTask", word: str) -> InputError:
    """Return the error for an option that the task does not have; it names the tasks that have it."""
    option = word.partition("=")[0]
    others = [other.name for other in _tasks() if option in _only_of(verb, other)._option_string_actions]
    hint = f"; the task {' and '.join(others)} has it" if others else f"; `longspan {verb} --help` lists all"
    return InputError(f"{verb} has no option {option} for the task {task.name}{hint}")


def _task_of_model(verb: str, words: Sequence[str], add_arguments: AddArguments) -> "FineTuningTask":
    """Return the task of the model among `words`: every task's options are known while it is looked for."""
    from longspan.tasks import DEFAULT_TASK, find_fine_tuning_task
    from longspan.tasks.detect_task import task_of

    parser = _RaisingParser(add_help=False, conflict_handler="resolve")
    add_arguments(parser)
    for task in _tasks():
        _add(parser, verb, task)
    try:
        return task_of(parser.parse_known_args(words)[0].model)
    except _RefusedError:
        return find_fine_tuning_task(DEFAULT_TASK)  # the verb's own parser says what is wrong


def _tasks() -> "list[FineTuningTask]":
    from longspan.tasks import all_tasks
    from longspan.tasks.task import FineTuningTask

    return [task for task in all_tasks() if isinstance(task, FineTuningTask)]


def _only_of(verb: str, task: "FineTuningTask") -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    _add(parser, verb, task)
    return parser


def _add(parser: argparse.ArgumentParser, verb: str, task: "FineTuningTask") -> None:
    group = parser.add_argument_group(f"options of {task.title}")
    add = task.add_evaluate_options if verb == "evaluate" else task.add_predict_options
    add(group)  # pyright: ignore[reportArgumentType] - a group takes arguments as a parser does


class _RefusedError(Exception):
    """The words are wrong for the parser."""


class _RaisingParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _RefusedError(message)
