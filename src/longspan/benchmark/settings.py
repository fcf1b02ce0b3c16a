"""The settings of benchmarks: lengths, precision, device, what is measured, and limits."""

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
class BenchmarkSettings:
    """The settings that all benchmarks share.

    Attributes:
        lengths: tokens per row.
        batch: number of rows.
        window: attention window as transformers counts it, both sides together.
        n_global: number of first tokens that are global.
        dtypes: torch's names of the dtypes, all measured in one run.
        device: "cpu" or "cuda".
        backend: backend of longspan's attention; "auto" for the choice of `select`.
        systems: how the names of the measured systems start; "chosen" for the choice of `select`; empty for all.
        repeats: largest number of measured calls of each system at each length.
        seconds: largest total time of these calls. One call is always measured, unless it alone takes longer.
        with_memory: whether to measure memory.
        memory_gib: systems that need more are left out; None for the free memory.
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
        """The limits of a run."""
        n_bytes = None if self.memory_gib is None else int(self.memory_gib * 2**30)
        return Limits(self.device, self.repeats, self.seconds, n_bytes)

    def pattern(self, dilation: Dilation = 1) -> AttentionPattern:
        """The attention pattern with a dilation."""
        return AttentionPattern.from_attention_window(self.window, dilation=dilation, n_global=self.n_global)

    def wants(self, system: str, *, is_chosen: bool = False) -> bool:
        """Whether to measure a system."""
        if not self.systems or (is_chosen and "chosen" in self.systems):
            return True
        return any(system.startswith(name) for name in self.systems)

    def check(self) -> None:
        """Raise if a setting makes no sense on any machine.

        Raises:
            InputError: the message names the option.
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
        """Raise if the device is not available.

        Raises:
            InputError: the message names the device.
        """
        kind = device_type(self.device)
        if kind not in ("cpu", "cuda"):
            raise InputError(f"device {self.device!r} cannot be timed; use cpu or cuda")
        if kind == "cuda" and not torch.cuda.is_available():
            raise InputError(f"device {self.device!r} is not there; this torch sees the CPU only")

    def as_dict(self) -> dict[str, Any]:
        """The settings as they stand in a record."""
        found = {key: _plain(value) for key, value in dataclasses.asdict(self).items()}
        return found | {"threads": torch.get_num_threads()}


@dataclass(frozen=True, kw_only=True)
class AttentionSettings(BenchmarkSettings):
    """The settings of the attention benchmark.

    Attributes:
        heads: number of attention heads.
        width: width per head.
        dilations: dilations of the window, each one number for all heads or one per head. Peers are measured with the
            first one, longspan with all of them.
        backward: whether to measure forward and backward together too.
    """

    heads: int = 12
    width: int = 64
    dilations: tuple[Dilation, ...] = (1,)
    backward: bool = True

    def request(self, n_tokens: int, needs_grad: bool, dtype: str, dilation: Dilation = 1) -> BackendRequest:
        """The request for `select` at one length."""
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
        """Every request of these settings, each with a description."""
        for n_tokens in self.lengths:
            for dtype in self.dtypes:
                for dilation in self.dilations:
                    words = (
                        f"{self.batch} x {self.heads} x {n_tokens} x {self.width}, window {self.window}"
                        f"{dilation_suffix(dilation)}, {dtype} on {self.device}, "
                        f"{'with' if self.backward else 'without'} gradients"
                    )
                    yield words, self.request(n_tokens, self.backward, dtype, dilation)

    def check(self) -> None:
        """Raise if a setting makes no sense.

        Raises:
            InputError: the message names the option.
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
class ModelSettings(BenchmarkSettings):
    """The settings of the benchmarks of whole models.

    Attributes:
        task: "encoder" or "training-step".
        size: a name in `SIZES`, or a config.json.
        padded: lengths of the rows of one padded batch, measured beside the same tokens as full rows; replaces
            `lengths`.
        backward: whether to measure forward and backward of an encoder together too.
        dropout: dropout of hidden states and attention, in training.
        gradient_checkpointing: whether the backward recomputes activations.
        optimizer: a name in `OPTIMIZERS`, for training.
    """

    task: Literal["encoder", "training-step"] = "encoder"
    size: str = "base"
    padded: tuple[int, ...] = ()
    backward: bool = False
    dropout: float = 0.1
    gradient_checkpointing: bool = False
    optimizer: str = "none"

    def whats(self) -> tuple[str, ...]:
        """The names of what is measured, as in the record."""
        if self.task == "training-step":
            return (STEP,)
        return (ENCODER, ENCODER_BOTH) if self.backward else (ENCODER,)

    def batches(self) -> list[tuple[int, ...]]:
        """The lengths of the rows of each batch."""
        return [self.padded] if self.padded else [(n_tokens,) * self.batch for n_tokens in sorted(self.lengths)]

    def requests(self) -> Iterator[tuple[str, BackendRequest]]:
        """The requests of the attention layers for `select`, each with a description."""
        size = read_size(self.size)
        needs_grad = self.task == "training-step" or self.backward
        for rows in self.batches():
            for dtype in self.dtypes:
                # As the layers ask: padding is taken out of rows of several lengths (`models.unpadding`).
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
        """Raise if a setting makes no sense.

        Raises:
            InputError: the message names the option.
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
    """The type of a device: "cuda" for "cuda:1".

    Raises:
        InputError: torch does not know the device.
    """
    try:
        return torch.device(device).type
    except RuntimeError:
        raise InputError(f"torch knows no device {device!r}; use cpu or cuda") from None


def backend_of(request: BackendRequest, backend: str) -> tuple[str, dict[str, str]]:
    """The backend for a request, and the reason for or against each backend.

    Raises:
        InputError: the named backend cannot serve the request.
    """
    choice = select(request, backend)
    return choice.backend, choice.reasons


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def gpu_name(device: str) -> str | None:
    """The name of the GPU; None for the CPU."""
    return None if device_type(device) == "cpu" else torch.cuda.get_device_name(device)


def dilation_suffix(dilation: Dilation) -> str:
    """A dilation as the end of a system's name; empty for dilation 1."""
    if dilation == 1:
        return ""
    if isinstance(dilation, int):
        return f", dilation {dilation}"
    # A repeating tuple is shortened to its first period.
    n = next(n for n in range(1, len(dilation) + 1) if dilation == dilation[:n] * (len(dilation) // n))
    return f", dilation {' '.join(map(str, dilation[:n]))} by head"


def parse_padded(text: str) -> tuple[int, ...]:
    """The lengths of rows in a text such as "4096,512x7".

    Raises:
        InputError: the text has another form.
    """
    rows: list[int] = []
    for part in text.split(","):
        length, _, times = part.strip().partition("x")
        if not length.isdigit() or (times and not times.isdigit()) or not math.prod(map(int, (length, times or "1"))):
            raise InputError(f"--padded takes lengths such as 4096,512x7, not {text!r}")
        rows += [int(length)] * int(times or 1)
    return tuple(rows)
