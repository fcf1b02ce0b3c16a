"""Attention beside its peers: ours, transformers' LongformerSelfAttention less its projections, SDPA full attention.

B batch rows  T tokens  H attention heads  D width per head  C = H * D
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from longspan.attention import AttentionPattern, attend, select
from longspan.attention.selection import Request
from longspan.errors import InputError
from longspan.evaluation.benchmark.measure import matmul_rate, peak_memory, spread, time_in_turns
from longspan.records import BenchmarkRecord, Timing, made_now

OURS = "longspan"
LONGFORMER = "transformers Longformer"
FULL = "SDPA full attention"
FLOOR = "useful operations at the matmul rate"
FORWARD, BOTH = "attention forward", "attention forward + backward"
# 2 operations a multiply-add; forward: scores, output; backward: scores again, and the gradients of v, p, q, k.
_PRODUCTS = {FORWARD: 2, BOTH: 7}


@dataclass(frozen=True)
class AttentionSetting:
    """What is measured: `window` as transformers counts it, both sides together."""

    lengths: tuple[int, ...] = (512, 1024, 4096, 8192)
    window: int = 512
    heads: int = 12
    width: int = 64
    rows: int = 1
    n_global: int = 0
    dilation: int = 1
    dtype: str = "float32"
    device: str = "cpu"
    backend: str = "auto"
    backward: bool = True
    repeats: int = 5
    limit_seconds: float = 60.0

    def pattern(self) -> AttentionPattern:
        """The pattern that `attend` is given."""
        return AttentionPattern.from_attention_window(self.window, n_global=self.n_global, dilation=self.dilation)

    def request(self, n_tokens: int, needs_grad: bool) -> Request:
        """What `select` is asked."""
        return Request(
            n_rows=self.rows,
            n_heads=self.heads,
            n_tokens=n_tokens,
            width=self.width,
            device=torch.device(self.device).type,
            dtype=_dtype(self.dtype),
            needs_grad=needs_grad,
            pattern=self.pattern(),
        )


def benchmark_attention(
    setting: AttentionSetting, on_step: Callable[[str], object] = lambda step: None
) -> BenchmarkRecord:
    """Measure `setting`, all systems in turns in this process.

    A backend that does not agree with the oracle on a small case is not timed, and its rows say so.

    Raises:
        InputError: a setting makes no sense here.
    """
    check_setting(setting)
    on_step("matmul rate")
    rate = matmul_rate(_dtype(setting.dtype), setting.device)
    reasons: dict[str, str] = {}
    timings: list[Timing] = []
    for what in (FORWARD, BOTH) if setting.backward else (FORWARD,):
        previous: dict[str, tuple[int, float]] = {}
        for n_tokens in setting.lengths:
            on_step(f"{what}, {n_tokens} tokens")
            choice = select(setting.request(n_tokens, what == BOTH), setting.backend)
            reasons |= choice.reasons
            timings += _measure(setting, what, n_tokens, choice.backend, rate, previous)
    gpu = None if setting.device == "cpu" else torch.cuda.get_device_name()
    settings: dict[str, Any] = {
        **asdict(setting),
        "lengths": list(setting.lengths),
        "threads": torch.get_num_threads(),
        "matmul_gflops": round(rate / 1e9, 1),
        "select": reasons,
    }
    return BenchmarkRecord(made=made_now(seed=0, gpu=gpu), name="attention", settings=settings, timings=timings)


def disagreement(setting: AttentionSetting, backend: str) -> str | None:
    """Why `backend` must not be timed: how far it is from the oracle on a small case; None where it is right."""
    pattern = AttentionPattern(9, 9, dilation=setting.dilation, n_global=min(setting.n_global, 3))
    draw = torch.Generator().manual_seed(0)
    vectors = [
        torch.randn(2, 2, 111, setting.width, generator=draw).to(device=setting.device, dtype=_dtype(setting.dtype))
        for _ in range(3)
    ]
    weight = torch.randn(2, 2, 111, setting.width, generator=draw).to(
        device=setting.device, dtype=_dtype(setting.dtype)
    )
    found = []
    for name, dtype in ((backend, _dtype(setting.dtype)), ("reference", torch.float64)):
        leaves = [x.to(dtype).requires_grad_() for x in vectors]
        out = attend(leaves[0], leaves[1], leaves[2], pattern, backend=name)
        found.append([out.detach(), *torch.autograd.grad((out * weight.to(dtype)).sum(), leaves)])
    mine, true = found
    error = max(float((a.double() - b).abs().max() / (1 + b.abs().max())) for a, b in zip(mine, true, strict=True))
    allowed = 1e-5 if setting.dtype == "float32" else 3e-2
    return None if error <= allowed else f"disagrees with the reference by {error:.1e} (allowed {allowed:.0e})"


def _measure(
    setting: AttentionSetting,
    what: str,
    n_tokens: int,
    backend: str,
    rate: float,
    previous: dict[str, tuple[int, float]],
) -> Iterator[Timing]:
    """One row of the table: every system at one length. `previous` holds the last length and median of each."""
    systems = _systems(setting, what, n_tokens, backend)
    left_out: dict[str, str] = {}
    wrong = disagreement(setting, backend)
    if wrong:
        left_out[OURS] = wrong
    if setting.dilation > 1:
        left_out[LONGFORMER] = "has no dilation"
    for name, (length, seconds) in previous.items():
        power = 2 if name == FULL else 1
        expected = seconds * (n_tokens / length) ** power
        if expected > setting.limit_seconds:
            left_out[name] = f"would take about {expected:.0f} s a call (limit {setting.limit_seconds:.0f} s)"
    timed = {name: call for name, (call, _) in systems.items() if name not in left_out}
    beside = {f"{name}/beside": less for name, (_, less) in systems.items() if less and name not in left_out}
    raw = time_in_turns(timed | beside, setting.repeats)
    seconds_of = {}
    for name in timed:
        less = raw.get(f"{name}/beside", [0.0] * setting.repeats)
        seconds_of[name] = spread([a - b for a, b in zip(raw[name], less, strict=True)])
        previous[name] = (n_tokens, seconds_of[name].median)
    operations = (
        2 * _PRODUCTS[what] * setting.width * setting.rows * setting.pattern().n_visible(n_tokens, setting.heads)
    )
    for name, (call, _) in systems.items():
        row: dict[str, Any] = {"what": what, "system": name, "n_tokens": n_tokens, "dtype": setting.dtype}
        if name in left_out:
            yield Timing(**row, median_seconds=0, q20_seconds=0, q80_seconds=0, repeats=0, left_out=left_out[name])
            continue
        median, q20, q80 = seconds_of[name]
        ratio_to = {other: median / its.median for other, its in seconds_of.items() if other != name}
        if name != FULL:
            ratio_to[FLOOR] = median / (operations / rate)
        yield Timing(
            **row,
            median_seconds=median,
            q20_seconds=q20,
            q80_seconds=q80,
            repeats=setting.repeats,
            peak_memory_bytes=peak_memory(call, setting.device),
            ratio_to=ratio_to,
        )


def _systems(
    setting: AttentionSetting, what: str, n_tokens: int, backend: str
) -> dict[str, tuple[Callable[[], object], Callable[[], object] | None]]:
    """Each system: the call, and what to subtract from it (transformers' projections), if anything."""
    backward = what == BOTH
    draw = torch.Generator().manual_seed(0)
    like = {"device": setting.device, "dtype": _dtype(setting.dtype)}

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw).to(**like)

    # Laid out as a linear layer leaves them.
    shape = (setting.rows, n_tokens, setting.heads, setting.width)
    q, k, v = (normal(*shape).transpose(1, 2).requires_grad_(backward) for _ in range(3))
    pattern = setting.pattern()

    def run(make: Callable[[], Tensor], *leaves: Tensor) -> None:
        with torch.set_grad_enabled(backward):
            out = make()
            if backward:
                torch.autograd.grad(out.sum(), leaves)

    # transformers' takes lengths that are multiples of the window.
    layer, padded = _longformer(setting), -(-n_tokens // setting.window) * setting.window
    hidden_BTC = normal(setting.rows, padded, setting.heads * setting.width).requires_grad_(backward)
    nowhere_BT = torch.zeros(setting.rows, padded, dtype=torch.bool, device=setting.device)
    is_global_BT = nowhere_BT.clone()
    is_global_BT[:, : setting.n_global] = True

    def theirs() -> Tensor:
        return layer(
            hidden_BTC,
            attention_mask=is_global_BT * 10000.0,
            is_index_masked=nowhere_BT,
            is_index_global_attn=is_global_BT,
            is_global_attn=setting.n_global > 0,
        )[0]

    projections = [layer.query, layer.key, layer.value]
    if setting.n_global:
        projections += [layer.key_global, layer.value_global]
    leaves = [hidden_BTC, *(p for projection in projections for p in projection.parameters())]
    return {
        OURS: (lambda: run(lambda: attend(q, k, v, pattern, backend=backend), q, k, v), None),
        LONGFORMER: (
            lambda: run(theirs, *leaves),
            lambda: run(lambda: torch.stack([p(hidden_BTC).sum() for p in projections]), *leaves),
        ),
        FULL: (lambda: run(lambda: F.scaled_dot_product_attention(q, k, v), q, k, v), None),
    }


def _longformer(setting: AttentionSetting) -> Any:
    from transformers import LongformerConfig
    from transformers.models.longformer.modeling_longformer import LongformerSelfAttention

    config = LongformerConfig(
        hidden_size=setting.heads * setting.width,
        num_attention_heads=setting.heads,
        attention_window=[setting.window],
        attention_probs_dropout_prob=0.0,
    )
    return LongformerSelfAttention(config, 0).to(device=setting.device, dtype=_dtype(setting.dtype))


def _dtype(name: str) -> torch.dtype:
    return getattr(torch, name)


def check_setting(setting: AttentionSetting) -> None:
    """Raise an InputError where a setting makes no sense here."""
    setting.pattern()
    if not setting.lengths:
        raise InputError("there is no length to measure; give at least one")
    for name in ("heads", "width", "rows", "repeats", *(["lengths"] if min(setting.lengths) < 1 else [])):
        value = getattr(setting, name)
        if name == "lengths" or value < 1:
            raise InputError(f"{name} must be at least 1, not {value}")
    if setting.dtype not in ("float32", "bfloat16", "float16"):
        raise InputError(f"dtype must be float32, bfloat16 or float16, not {setting.dtype!r}")
    if setting.device != "cpu" and not torch.cuda.is_available():
        raise InputError(f"device {setting.device!r} is not there; this torch sees the CPU only")
    select(setting.request(max(setting.lengths), setting.backward), setting.backend)
