"""A run in several processes: the first speaks for all, and what one of them finds all know.

Every function here is called by all processes of the run, in the same order; for a run in one process it costs nothing.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import TrainingArguments

from longspan.errors import InputError

Found = TypeVar("Found")


def in_first_process(arguments: TrainingArguments, do: Callable[[], Found]) -> Found:
    """What `do` gives in the first process, in all of them; its InputError too.

    Anything but paths, lists, mappings, text and numbers stays in the first process, and is None in the others.
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
    """Whether it is so in any process."""
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
