"""What the benchmarks are told: lengths, precision, device, what is measured, and what may be spent."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from longspan.attention import AttentionPattern
from longspan.attention.backends import select
from longspan.attention.inputs import BackendRequest
from longspan.benchmark.architectures import SYSTEMS, read_size
from longspan.benchmark.measure_points import Limits
from longspan.errors import InputError

DTYPES = ("float32", "bfloat16", "float16")
Dilation = int | tuple[int, ...]
ENCODER, ENCODER_BOTH, STEP = "encoder forward", "encoder forward + backward", "masked LM step"
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer] | None] = {
    "none": None,
    "sgd": torch.optim.SGD,
    "adamw": torch.optim.AdamW,
}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What the benchmarks have in common.

    Attributes:
        lengths: tokens a row.
        batch: rows.
        window: attention window as transformers counts it, both sides together.
        n_global: the first so many tokens are global.
        dtypes: torch's names, measured in the same run.
        device: "cpu" or "cuda".
        backend: of longspan's attention; "auto" for what `select` takes.
        systems: beginnings of the names of what is measured; "chosen" for what `select` takes; everything where empty.
        repeats: measured calls of each system at each length, at most.
        seconds: the same in seconds; one call is measured in any case, unless it takes longer by itself.
        with_memory: measure memory, too.
        memory_gib: leave out what would need more; what is free where None.
    """

    lengths: tuple[int, ...] = (512, 1024, 4096, 8192)
    batch: int = 1
    window: int = 512
    n_global: int = 0
    dtypes: tuple[str, ...] = ("float32",)
    device: str = "cpu"
    backend: str = "auto"
    systems: tuple[str, ...] = ()
    repeats: int = 5
    seconds: float = 30.0
    with_memory: bool = True
    memory_gib: float | None = None

    def limits(self) -> Limits:
        """What may be spent."""
        n_bytes = None if self.memory_gib is None else int(self.memory_gib * 2**30)
        return Limits(self.device, self.repeats, self.seconds, n_bytes)

    def pattern(self, dilation: Dilation = 1) -> AttentionPattern:
        """Who sees whom."""
        return AttentionPattern.from_attention_window(self.window, dilation=dilation, n_global=self.n_global)

    def wants(self, system: str, *, is_chosen: bool = False) -> bool:
        """Whether a system is to be measured."""
        if not self.systems or (is_chosen and "chosen" in self.systems):
            return True
        return any(system.startswith(name) for name in self.systems)

    def check(self) -> None:
        """Refuse what makes no sense anywhere.

        Raises:
            InputError: names the option.
        """
        if not self.lengths or min(self.lengths) < 1:
            raise InputError(f"lengths must be one or more whole numbers from 1, not {list(self.lengths)}")
        for name in ("batch", "repeats", "seconds"):
            if getattr(self, name) <= 0:
                raise InputError(f"{name} must be above 0, not {getattr(self, name)}")
        for dtype in self.dtypes:
            if dtype not in DTYPES:
                raise InputError(f"dtype must be one of {', '.join(DTYPES)}, not {dtype!r}")
        self.pattern()

    def check_device(self) -> None:
        """Refuse a device that is not there.

        Raises:
            InputError: names it.
        """
        kind = device_type(self.device)
        if kind not in ("cpu", "cuda"):
            raise InputError(f"device {self.device!r} cannot be timed; use cpu or cuda")
        if kind == "cuda" and not torch.cuda.is_available():
            raise InputError(f"device {self.device!r} is not there; this torch sees the CPU only")

    def as_settings(self) -> dict[str, Any]:
        """For the record."""
        found = {key: _plain(value) for key, value in dataclasses.asdict(self).items()}
        return found | {"threads": torch.get_num_threads()}


@dataclass(frozen=True, kw_only=True)
class AttentionSetting(Setting):
    """What is measured.

    Attributes:
        heads: attention heads.
        width: per head.
        dilations: positions per step of the window, each one for all heads or one for each; the peers are measured at
            the first, ours at all of them.
        backward: measure forward and backward together as well.
    """

    heads: int = 12
    width: int = 64
    dilations: tuple[Dilation, ...] = (1,)
    backward: bool = True

    def request(self, n_tokens: int, needs_grad: bool, dtype: str, dilation: Dilation = 1) -> BackendRequest:
        """What `select` is asked."""
        return BackendRequest(
            n_rows=self.batch,
            n_heads=self.heads,
            n_tokens=n_tokens,
            width=self.width,
            device=device_type(self.device),
            dtype=getattr(torch, dtype),
            needs_grad=needs_grad,
            pattern=self.pattern(dilation),
        )

    def requests(self) -> Iterator[tuple[str, BackendRequest]]:
        """Every request of this setting, and what it is in words."""
        for n_tokens in self.lengths:
            for dtype in self.dtypes:
                for dilation in self.dilations:
                    words = (
                        f"{self.batch} x {self.heads} x {n_tokens} x {self.width}, window {self.window}"
                        f"{told_dilation(dilation)}, {dtype} on {self.device}, "
                        f"{'with' if self.backward else 'without'} gradients"
                    )
                    yield words, self.request(n_tokens, self.backward, dtype, dilation)

    def check(self) -> None:
        """Refuse what makes no sense.

        Raises:
            InputError: names the option.
        """
        super().check()
        for name in ("heads", "width"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not self.dilations:
            raise InputError("there is no dilation to measure; give at least one")
        for dilation in self.dilations:
            self.pattern(dilation).dilations(self.heads)
        for _, request in self.requests():
            backend_of(request, self.backend)


@dataclass(frozen=True, kw_only=True)
class ModelSetting(Setting):
    """What is measured.

    Attributes:
        task: "encoder" or "training-step".
        size: a name of `SIZES`, or a config.json.
        padded: rows of these lengths in one batch, padded, beside the same tokens as full rows; in place of `lengths`.
        backward: of an encoder, forward and backward together as well.
        dropout: of hidden states and attention, in training.
        gradient_checkpointing: compute activations again in the backward.
        optimizer: a name of `OPTIMIZERS`, for training.
    """

    task: Literal["encoder", "training-step"] = "encoder"
    size: str = "base"
    padded: tuple[int, ...] = ()
    backward: bool = False
    dropout: float = 0.1
    gradient_checkpointing: bool = False
    optimizer: str = "none"

    def whats(self) -> tuple[str, ...]:
        """What is measured, as in the record."""
        if self.task == "training-step":
            return (STEP,)
        return (ENCODER, ENCODER_BOTH) if self.backward else (ENCODER,)

    def batches(self) -> list[tuple[int, ...]]:
        """Lengths of the rows of each batch."""
        return [self.padded] if self.padded else [(n_tokens,) * self.batch for n_tokens in sorted(self.lengths)]

    def requests(self) -> Iterator[tuple[str, BackendRequest]]:
        """What each attention layer asks of `select`, and what it is in words."""
        size = read_size(self.size)
        needs_grad = self.task == "training-step" or self.backward
        for rows in self.batches():
            for dtype in self.dtypes:
                # As the layers ask it: of rows of several lengths padding is taken out (`models.unpadding`).
                is_packed = len(set(rows)) > 1 and self.backend != "reference"
                request = BackendRequest(
                    n_rows=1 if is_packed else len(rows),
                    n_heads=size.num_attention_heads,
                    n_tokens=sum(rows) + 1 if is_packed else max(rows),
                    width=size.hidden_size // size.num_attention_heads,
                    device=device_type(self.device),
                    dtype=getattr(torch, dtype),
                    needs_grad=needs_grad,
                    pattern=replace(self.pattern(), n_global=0),
                    has_padding=len(set(rows)) > 1 and not is_packed,
                    has_dynamic_global=self.n_global > 0,
                    has_documents=is_packed,
                    dropout_p=self.dropout if self.task == "training-step" else 0.0,
                )
                words = (
                    f"{self.task} of size {self.size}, {len(rows)} rows of up to {max(rows)} tokens, window "
                    f"{self.window}, {dtype} on {self.device}, {'with' if needs_grad else 'without'} gradients"
                )
                yield words, request

    def check(self) -> None:
        """Refuse what makes no sense.

        Raises:
            InputError: names the option.
        """
        super().check()
        read_size(self.size)
        if self.padded and min(self.padded) < 1:
            raise InputError(f"padded must hold lengths from 1, not {list(self.padded)}")
        if self.optimizer not in OPTIMIZERS:
            raise InputError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, not {self.optimizer!r}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout is a probability from 0 to below 1, not {self.dropout}")
        for name in self.systems:
            if name != "chosen" and not any(system.startswith(name) for system in SYSTEMS):
                raise InputError(f"no system's name begins with {name!r}; there are {', '.join(SYSTEMS)}")
        for _, request in self.requests():
            backend_of(request, self.backend)


def device_type(device: str) -> str:
    """The kind of a device: "cuda" of "cuda:1".

    Raises:
        InputError: there is no such device in torch.
    """
    try:
        return torch.device(device).type
    except RuntimeError:
        raise InputError(f"device {device!r} is none of torch's; use cpu or cuda") from None


def backend_of(request: BackendRequest, backend: str) -> tuple[str, dict[str, str]]:
    """What serves a request and the reasons.

    Raises:
        InputError: the named backend cannot.
    """
    choice = select(request, backend)
    return choice.backend, choice.reasons


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def gpu_name(device: str) -> str | None:
    """The GPU's name; None for the CPU."""
    return None if device_type(device) == "cpu" else torch.cuda.get_device_name(device)


def told_dilation(dilation: Dilation) -> str:
    """A dilation as the end of a name; nothing for none."""
    if dilation == 1:
        return ""
    if isinstance(dilation, int):
        return f", dilation {dilation}"
    # Told as far as it repeats itself.
    n = next(n for n in range(1, len(dilation) + 1) if dilation == dilation[:n] * (len(dilation) // n))
    return f", dilation {' '.join(map(str, dilation[:n]))} by head"


def parse_padded(text: str) -> tuple[int, ...]:
    """Lengths of rows from "4096,512x7".

    Raises:
        InputError: it cannot be read.
    """
    rows: list[int] = []
    for part in text.split(","):
        length, _, times = part.strip().partition("x")
        if not length.isdigit() or (times and not times.isdigit()) or not math.prod(map(int, (length, times or "1"))):
            raise InputError(f"--padded takes lengths such as 4096,512x7, not {text!r}")
        rows += [int(length)] * int(times or 1)
    return tuple(rows)
