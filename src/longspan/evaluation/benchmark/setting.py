"""What every benchmark is told: lengths, precision, device, and what may be spent."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch

from longspan.attention import AttentionPattern
from longspan.attention.selection import Request, select
from longspan.errors import InputError
from longspan.evaluation.benchmark.rounds import Limits

DTYPES = ("float32", "bfloat16", "float16")
Dilation = int | tuple[int, ...]


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


def device_type(device: str) -> str:
    """The kind of a device: "cuda" of "cuda:1".

    Raises:
        InputError: there is no such device in torch.
    """
    try:
        return torch.device(device).type
    except RuntimeError:
        raise InputError(f"device {device!r} is none of torch's; use cpu or cuda") from None


def backend_of(request: Request, backend: str) -> tuple[str, dict[str, str]]:
    """What serves a request and the reasons.

    Raises:
        InputError: the named backend cannot.
    """
    choice = select(request, backend)
    return choice.backend, choice.reasons


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value
