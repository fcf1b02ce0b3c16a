"""Helpers for runs in several processes: the first one decides, and all get the result.

All processes of a run call each function here, in the same order. With one process they cost nothing.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import TrainingArguments

from longspan.errors import InputError

Found = TypeVar("Found")


def in_first_process(arguments: TrainingArguments, do: Callable[[], Found]) -> Found:
    """Call `do` in the first process; return its result, or raise its InputError, in all processes.

    Only paths, lists, mappings, text and numbers are sent; other results are None in the other processes.
    """
    if arguments.world_size <= 1:
        return do()
    told: list[Any] = [None, None]
    if arguments.process_index == 0:
        try:
            found = do()
            told = [found if isinstance(found, (Path, list, dict, str, int, float)) else None, None]
        except InputError as error:
            told = [None, str(error)]
    torch.distributed.broadcast_object_list(told)
    if told[1] is not None:
        raise InputError(told[1])
    return told[0]


def anywhere(arguments: TrainingArguments, here: bool) -> bool:
    """Whether `here` is true in any process."""
    return bool(largest(arguments, float(here)))


def largest(arguments: TrainingArguments, here: float) -> float:
    """The largest of all processes' values."""
    return _reduced(arguments, here, "MAX")


def summed(arguments: TrainingArguments, here: float) -> float:
    """The sum of all processes' values, exact for integers below 2^53."""
    return _reduced(arguments, here, "SUM")


def _reduced(arguments: TrainingArguments, here: float, how: str) -> float:
    if arguments.world_size <= 1:
        return here
    value = torch.tensor(here, dtype=torch.float64, device=arguments.device)
    torch.distributed.all_reduce(value, getattr(torch.distributed.ReduceOp, how))
    return value.item()
