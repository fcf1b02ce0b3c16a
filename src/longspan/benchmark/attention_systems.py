"""The systems of the attention benchmark: our backends, and the alternatives of a user.

B batch rows  T tokens  H attention heads  D width per head  C = H * D
"""

from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from longspan.attention import AttentionPattern, attend
from longspan.attention.backends import BACKENDS
from longspan.benchmark.flex_peer import BLOCK, block_mask
from longspan.benchmark.measure_points import Point
from longspan.benchmark.settings import AttentionSettings, Dilation, backend_of, device_type, dilation_suffix
from longspan.benchmark.timing import Call

LONGFORMER = "transformers Longformer"
WHOLE_LONGFORMER = "transformers Longformer, projections included"
FULL = "SDPA full attention"
FLEX = "FlexAttention"
FLASH = "flash-attn"
NATTEN = "NATTEN"
FORWARD, BOTH = "attention forward", "attention forward + backward"
# Operations per visible pair and unit of width; a multiply-add counts 2. Forward: scores and output. Backward: scores
# again, and the gradients of v, p, q, k.
_OPERATIONS = {FORWARD: 4, BOTH: 4 + 10}
# Tensors [B, H, T, D] that must be read or written. Forward: q, k, v, out. Backward: these, the gradient of out, and
# the gradients of q, k, v.
_TENSORS = {FORWARD: 4, BOTH: 4 + 8}


def attention_points(settings: AttentionSettings) -> list[Point]:
    """The points to measure, in order of length; nothing is allocated before a point is made."""
    pool = _Pool(settings)
    points = []
    for what in (FORWARD, BOTH) if settings.backward else (FORWARD,):
        for dtype in settings.dtypes:
            for n_tokens in sorted(settings.lengths):
                make = _PointMaker(settings, pool, what, dtype, n_tokens)
                points += [*make.ours(), *make.peers()]
    return points


def ours(backend: str, dilation: Dilation, settings: AttentionSettings) -> str:
    """The name of a backend in records, with the dilation if several are measured."""
    return f"longspan {backend}{dilation_suffix(dilation) if len(settings.dilations) > 1 else ''}"


class _Vectors(NamedTuple):
    """q, k, v in the layout of a linear layer, and the gradient of the output, each [B, H, T, D]."""

    q: Tensor
    k: Tensor
    v: Tensor
    grad: Tensor


class _Pool:
    """Inputs that systems share, made on first use."""

    def __init__(self, settings: AttentionSettings) -> None:
        self._settings = settings
        self._made: dict[tuple[str, str, int], Any] = {}

    def vectors(self, dtype: str, n_tokens: int) -> _Vectors:
        """The inputs of `attend`, SDPA and FlexAttention."""
        s = self._settings
        shape = (s.batch, n_tokens, s.heads, s.width)
        return self._get(
            ("vectors", dtype, n_tokens),
            lambda: _Vectors(*(self._normal(shape, dtype, i).transpose(1, 2).requires_grad_(i < 3) for i in range(4))),
        )

    def rows(self, dtype: str, n_tokens: int) -> tuple[Tensor, Tensor]:
        """Hidden states [B, T, C] with T a multiple of the window, as transformers' layer needs, and a gradient."""
        s = self._settings
        shape = (s.batch, -(-n_tokens // s.window) * s.window, s.heads * s.width)
        return self._get(
            ("rows", dtype, n_tokens),
            lambda: (self._normal(shape, dtype, 4).requires_grad_(), self._normal(shape, dtype, 5)),
        )

    def longformer(self, dtype: str) -> Any:
        """A layer of transformers' Longformer with seeded random weights."""
        return self._get(("layer", dtype, 0), lambda: _longformer(self._settings, dtype))

    def flex(self, dtype: str, n_tokens: int, pattern: AttentionPattern) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """FlexAttention, compiled at the first call."""
        from torch.nn.attention.flex_attention import flex_attention

        s = self._settings

        def make() -> Callable[[Tensor, Tensor, Tensor], Tensor]:
            mask = block_mask(pattern, s.heads, n_tokens, s.device)
            # On the CPU a compilation takes half a minute; the second one holds for any length.
            compiled = torch.compile(flex_attention, dynamic=False if device_type(s.device) == "cuda" else None)
            return lambda q, k, v: compiled(q, k, v, block_mask=mask)

        return self._get(("flex", dtype, n_tokens), make)

    def _get(self, key: tuple[str, str, int], make: Callable[[], Any]) -> Any:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def _normal(self, shape: tuple[int, ...], dtype: str, seed: int) -> Tensor:
        draw = torch.Generator(self._settings.device).manual_seed(seed)
        return torch.randn(shape, generator=draw, device=self._settings.device).to(getattr(torch, dtype))


class _PointMaker(NamedTuple):
    """Makes the points of all systems for one dtype and length."""

    settings: AttentionSettings
    pool: _Pool
    what: str
    dtype: str
    n_tokens: int

    def ours(self) -> Iterator[Point]:
        """The points of every backend that can serve the call, at every dilation."""
        s = self.settings
        for dilation in s.dilations:
            request = s.request(self.n_tokens, self.what == BOTH, self.dtype, dilation)
            chosen, reasons = backend_of(request, s.backend)
            for backend in BACKENDS:
                is_chosen = backend == chosen
                name = ours(backend, dilation, s)
                if reasons[backend].startswith("no: ") or not s.wants(name, is_chosen=is_chosen):
                    continue
                call = partial(attend, pattern=s.pattern(dilation), backend=backend)
                is_dense = backend == "reference"
                yield self._point(
                    name,
                    lambda call=call: self._call(call),
                    is_chosen=is_chosen and dilation == s.dilations[0],
                    power=2 if is_dense else 1,
                    n_bytes=self._dense_bytes() if is_dense else self._linear_bytes(),
                    compiles=device_type(s.device) == "cuda",
                    **self._floor(s.pattern(dilation)),
                )

    def peers(self) -> Iterator[Point]:
        """The points of the alternatives."""
        s, backward = self.settings, self.what == BOTH
        pattern = s.pattern(s.dilations[0])
        is_dilated = any(dilation > 1 for dilation in pattern.dilations(s.heads))
        on_gpu = device_type(s.device) == "cuda"
        if s.wants(LONGFORMER):
            yield self._point(
                LONGFORMER,
                self._longformer_call,
                beside=self._projections_call,
                whole=WHOLE_LONGFORMER,
                multiple_of=s.window,
                against="has no dilation" if is_dilated else None,
                n_bytes=s.batch * s.heads * self.n_tokens * 1.5 * s.window * 4 * (6 if backward else 4),
                **self._floor(pattern),
            )
        if s.wants(FULL):
            yield self._point(
                FULL,
                lambda: self._call(F.scaled_dot_product_attention),
                power=2,
                n_bytes=self._linear_bytes(),
            )
        if s.wants(FLEX):
            yield self._point(
                FLEX,
                lambda: self._flex_call(pattern),
                against="has no backward on the CPU" if backward and not on_gpu else None,
                n_bytes=self._linear_bytes() + 24 * (self.n_tokens / BLOCK) ** 2,
                compiles=True,
                **self._floor(pattern),
            )
        for name, module, make in (
            (FLASH, "flash_attn", self._flash_call),
            (NATTEN, "natten", self._natten_call),
        ):
            if s.wants(name) and find_spec(module) is not None:
                against = _library_reason(name, pattern, is_dilated, self.dtype, on_gpu)
                yield self._point(
                    name, partial(make, pattern), against=against, n_bytes=self._linear_bytes(), compiles=True
                )

    def _point(self, system: str, make: Callable[[], Call], **more: Any) -> Point:
        return Point(what=self.what, system=system, n_tokens=self.n_tokens, dtype=self.dtype, make=make, **more)

    def _call(self, function: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Call:
        """The call `function(q, k, v)`, with its backward if that is measured."""
        q, k, v, grad = self.pool.vectors(self.dtype, self.n_tokens)
        if self.what == FORWARD:
            # FlexAttention on the CPU refuses tensors that require a gradient.
            q, k, v = q.detach(), k.detach(), v.detach()
        return self._with_backward(lambda: function(q, k, v), (q, k, v), grad)

    def _with_backward(self, make: Callable[[], Tensor], leaves: tuple[Tensor, ...], grad: Tensor) -> Call:
        backward = self.what == BOTH

        def run() -> None:
            with torch.set_grad_enabled(backward):
                out = make()
                if backward:
                    torch.autograd.grad(out, leaves, grad)

        return run

    def _longformer_call(self) -> Call:
        layer = self.pool.longformer(self.dtype)
        hidden_BTC, grad_BTC = self.pool.rows(self.dtype, self.n_tokens)
        # transformers pads to the window, and pays for the padding: here all of it are tokens.
        nowhere_BT = torch.zeros(hidden_BTC.shape[:2], dtype=torch.bool, device=hidden_BTC.device)
        is_global_BT = nowhere_BT.clone()
        is_global_BT[:, : self.settings.n_global] = True
        mask_BT = is_global_BT.to(hidden_BTC.dtype) * 10000

        def forward() -> Tensor:
            return layer(
                hidden_BTC,
                attention_mask=mask_BT,
                is_index_masked=nowhere_BT,
                is_index_global_attn=is_global_BT,
                is_global_attn=self.settings.n_global > 0,
            )[0]

        leaves = (hidden_BTC, *(p for projection in self._projections() for p in projection.parameters()))
        return self._with_backward(forward, leaves, grad_BTC)

    def _projections_call(self) -> Call:
        hidden_BTC, grad_BTC = self.pool.rows(self.dtype, self.n_tokens)
        projections = self._projections()
        leaves = (hidden_BTC, *(p for projection in projections for p in projection.parameters()))
        backward = self.what == BOTH

        def run() -> None:
            with torch.set_grad_enabled(backward):
                out = [projection(hidden_BTC) for projection in projections]
                if backward:
                    torch.autograd.grad(out, leaves, [grad_BTC] * len(out))

        return run

    def _projections(self) -> list[Any]:
        layer = self.pool.longformer(self.dtype)
        found = [layer.query, layer.key, layer.value]
        return [*found, layer.key_global, layer.value_global] if self.settings.n_global else found

    def _flex_call(self, pattern: AttentionPattern) -> Call:
        compiled = self.pool.flex(self.dtype, self.n_tokens, pattern)
        return self._call(compiled)

    def _flash_call(self, pattern: AttentionPattern) -> Call:
        from flash_attn import flash_attn_func  # pyright: ignore[reportMissingImports]

        window = (pattern.left, pattern.right)
        return self._rows_first(lambda q, k, v: flash_attn_func(q, k, v, window_size=window, causal=pattern.causal))

    def _natten_call(self, pattern: AttentionPattern) -> Call:
        from natten.functional import na1d  # pyright: ignore[reportMissingImports]

        # Its windows keep their size at the ends of a row, where ours are cut: equal work, another function.
        size = pattern.left + pattern.right + 1
        dilation = pattern.dilation
        return self._rows_first(lambda q, k, v: na1d(q, k, v, kernel_size=size, dilation=dilation))

    def _rows_first(self, function: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Call:
        """The call of a library with layout [B, T, H, D], the layout of a linear layer."""
        return self._call(lambda q, k, v: function(*(x.transpose(1, 2) for x in (q, k, v))).transpose(1, 2))

    def _floor(self, pattern: AttentionPattern) -> dict[str, int]:
        """The necessary operations on visible pairs, and the necessary bytes."""
        s = self.settings
        n_visible = pattern.n_visible(self.n_tokens, s.heads)
        return {"operations": _OPERATIONS[self.what] * s.width * s.batch * n_visible, "moved": self._moved()}

    def _moved(self) -> int:
        s = self.settings
        n_bytes = s.batch * s.heads * self.n_tokens * s.width * getattr(torch, self.dtype).itemsize
        return _TENSORS[self.what] * n_bytes

    def _linear_bytes(self) -> float:
        return 3.0 * self._moved()

    def _dense_bytes(self) -> float:
        s = self.settings
        return s.batch * s.heads * self.n_tokens**2 * 4.0 * (5 if self.what == BOTH else 3)


def _library_reason(name: str, pattern: AttentionPattern, is_dilated: bool, dtype: str, on_gpu: bool) -> str | None:
    if not on_gpu:
        return "is for GPUs"
    if pattern.n_global:
        return "has no global tokens"
    if name == FLASH and is_dilated:
        return "has no dilation"
    if name == FLASH and dtype == "float32":
        return "takes bfloat16 and float16 only"
    if name == NATTEN and not isinstance(pattern.dilation, int):
        return "has one dilation for all heads"
    return None


def _longformer(settings: AttentionSettings, dtype: str) -> Any:
    from transformers import LongformerConfig
    from transformers.models.longformer.modeling_longformer import LongformerSelfAttention

    config = LongformerConfig(
        hidden_size=settings.heads * settings.width,
        num_attention_heads=settings.heads,
        attention_window=[settings.window],
        attention_probs_dropout_prob=0.0,
    )
    torch.manual_seed(0)
    return LongformerSelfAttention(config, 0).to(device=settings.device, dtype=getattr(torch, dtype))
