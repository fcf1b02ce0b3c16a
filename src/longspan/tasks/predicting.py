"""What every predictor needs: the longest input, the overlap of windows, the device and the precision."""

import contextlib
import inspect

import torch
from torch import nn
from transformers import PreTrainedModel

from longspan.errors import InputError
from longspan.models.agreement import max_tokens_of

_CPU_TOKENS = 4096


def check_max_length(model: PreTrainedModel, max_length: int | None) -> int:
    """Return `max_length`, or the longest input of the model if it is None.

    Raises:
        InputError: it is longer than the model, or None for a model without a limit.
    """
    limit = max_tokens_of(model)
    if max_length is None:
        if limit is None:
            raise InputError(f"{type(model).__name__} has no limit on its input; set max_length")
        return limit
    if max_length < 1:
        raise InputError(f"max_length is {max_length}; it must be at least 1")
    if limit is not None and max_length > limit:
        raise InputError(
            f"max_length is {max_length} but the model takes {limit} tokens; lower it (longer documents are read in "
            f"overlapping windows), or extend the model first with `longspan extend`"
        )
    return max_length


def default_overlap(max_length: int) -> int:
    """Return the tokens that neighbouring windows of `max_length` share by default."""
    return min(128, max_length // 4)


def default_batch_size(max_length: int, device: str | torch.device) -> int:
    """Return the windows per batch of `longspan predict`: 4, and on a CPU at most 4,096 tokens.

    Longer batches take more memory on a CPU, and no less time.
    """
    is_cpu = torch.device(device).type == "cpu"
    return max(1, min(4, _CPU_TOKENS // max_length)) if is_cpu else 4


def require_device(device: str | torch.device) -> torch.device:
    """Return `device`.

    Raises:
        InputError: this torch does not see it.
    """
    try:
        found = torch.device(device)
    except RuntimeError:
        raise InputError(f"there is no device {str(device)!r}; choose cpu, or cuda if there is a GPU") from None
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    seen = [] if accelerator is None else [f"{accelerator.type}:{i}" for i in range(torch.accelerator.device_count())]
    if found.type in {"cuda", "mps", "xpu"} and f"{found.type}:{found.index or 0}" not in seen:
        raise InputError(f"device {str(device)!r} is not there; this torch sees {', '.join(['cpu', *seen])}")
    return found


def autocast(model: PreTrainedModel, dtype: torch.dtype | None) -> contextlib.AbstractContextManager[object]:
    """Return the autocast of a 16-bit `dtype`; nothing if the model already has it or `dtype` is None."""
    is_low = dtype in (torch.bfloat16, torch.float16) and model.dtype != dtype
    return torch.autocast(model.device.type, dtype=dtype) if is_low else contextlib.nullcontext()


def takes_argument(model: nn.Module, argument: str) -> bool:
    """Return whether the model's forward has an argument of this name (PEFT's wrappers pass on what they are given)."""
    inner = getattr(model, "get_base_model", lambda: model)()
    return argument in inspect.signature(inner.forward).parameters
