"""Fields of a grid as the words of a command line, which is how verbs take and check them."""

import argparse
import json
from collections.abc import Mapping
from typing import Any, NoReturn

from longspan.errors import InputError
from longspan.evaluation.options import add_arguments
from longspan.tasks.command_options import add_options_of_task
from longspan.wording import did_you_mean


def recipe_words(fields: Mapping[str, Any]) -> list[str]:
    """`{"freeze": ["a", "b"], "use_cpu": True}` -> `--freeze a b --use_cpu true`."""
    return [word for name, value in fields.items() for word in (f"--{name}", *_recipe_value(value))]


def _recipe_value(value: Any) -> list[str]:
    if isinstance(value, bool) or value is None or isinstance(value, dict):
        return [json.dumps(value)]
    if isinstance(value, list):
        is_plain = value and not any(item is None or isinstance(item, (dict, list)) for item in value)
        return [str(item) for item in value] if is_plain else [json.dumps(value)]
    return [str(value)]


def evaluate_words(fields: Mapping[str, Any]) -> list[str]:
    """`{"data": ["a", "b"], "limit": 3, "bf16": True}` -> `--data a b --limit 3 --bf16`."""
    words: list[str] = []
    for name, value in fields.items():
        if value is None or value is False:
            continue
        words.append(f"--{name}")
        if value is not True:
            words += [str(item) for item in value] if isinstance(value, list) else [str(value)]
    return words


def parse_evaluate(words: list[str]) -> argparse.Namespace:
    """What `longspan evaluate` understands by `words`.

    Raises:
        InputError: an option is unknown (the nearest is suggested), lacks its value, has a wrong one, or is of no
            effect with the others.
    """
    parser = _Parser(prog="longspan evaluate", add_help=False, allow_abbrev=False)
    add_arguments(parser)
    add_options_of_task(parser, "evaluate", words, add_arguments)
    known = [action.dest for action in parser._actions]
    for word in words:
        if word.startswith("--") and word[2:] not in known:
            hint = did_you_mean(word[2:], known, "`longspan evaluate --help` lists all")
            raise InputError(f"evaluate has no option {word[2:]}; {hint}")
    understood = parser.parse_args(words)
    understood.chosen_task.check_evaluate_options(understood)
    return understood


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(message.replace("argument --", ""))
