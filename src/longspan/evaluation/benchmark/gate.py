"""What must hold before anything is timed: the same output, and gradients, as the reference at a small size."""

import warnings
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from longspan.attention import AttentionPattern, attend
from longspan.attention.selection import BACKENDS, Request
from longspan.evaluation.benchmark.flex import block_mask
from longspan.evaluation.benchmark.memory import in_short

# Relative to 1 + the largest value.
_ALLOWED = {"float32": 1e-5, "bfloat16": 3e-2, "float16": 5e-3}


def disagreement(
    pattern: AttentionPattern, backend: str, dtype: str, device: str, width: int, *, with_grad: bool = True
) -> str | None:
    """Why `backend` must not be timed: how far it is from the reference on small cases; None where it is right."""
    for small, n_tokens in _cases(pattern):
        call = _attend_with(small, backend)
        request = _request(small, n_tokens, dtype, device, width, with_grad)
        if BACKENDS[backend].reason_against(request) is None:
            wrong = _compare(call, small, n_tokens, dtype, device, width, with_grad)
            if wrong:
                return wrong
    return None


def disagreement_of_flex(pattern: AttentionPattern, dtype: str, device: str, width: int) -> str | None:
    """The same of FlexAttention with our list of blocks, without compiling it."""
    from torch.nn.attention.flex_attention import flex_attention

    for small, n_tokens in _cases(pattern):
        mask = block_mask(small, _n_heads(small), n_tokens, device)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="flex_attention called without torch.compile")
            wrong = _compare(
                lambda q, k, v, mask=mask: flex_attention(q, k, v, block_mask=mask),  # pyright: ignore
                small, n_tokens, dtype, device, width, with_grad=False,
            )  # fmt: skip
        if wrong:
            return wrong
    return None


def _attend_with(pattern: AttentionPattern, backend: str) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    return lambda q, k, v: attend(q, k, v, pattern, backend=backend)


def _cases(pattern: AttentionPattern) -> list[tuple[AttentionPattern, int]]:
    """A tiny window over an awkward number of tokens, and one nearer to what is timed."""
    tiny = replace(pattern, left=min(pattern.left, 9), right=min(pattern.right, 9), n_global=min(pattern.n_global, 3))
    larger = replace(pattern, left=min(pattern.left, 130), right=min(pattern.right, 130))
    return [(tiny, 111), (larger, 700)]


def _n_heads(pattern: AttentionPattern) -> int:
    return len(pattern.dilation) if isinstance(pattern.dilation, tuple) else 2


def _request(
    pattern: AttentionPattern, n_tokens: int, dtype: str, device: str, width: int, needs_grad: bool
) -> Request:
    return Request(
        n_rows=2, n_heads=_n_heads(pattern), n_tokens=n_tokens, width=width, device=torch.device(device).type,
        dtype=getattr(torch, dtype), needs_grad=needs_grad, pattern=pattern,
    )  # fmt: skip


def _compare(
    call: Callable[[Tensor, Tensor, Tensor], Tensor],
    pattern: AttentionPattern,
    n_tokens: int,
    dtype: str,
    device: str,
    width: int,
    with_grad: bool,
) -> str | None:
    draw = torch.Generator().manual_seed(0)
    shape = (2, _n_heads(pattern), n_tokens, width)
    vectors = [torch.randn(shape, generator=draw).to(getattr(torch, dtype)).to(device) for _ in range(4)]
    try:
        found = _outputs(call, vectors, with_grad)
    except Exception as error:
        return f"fails at a small size: {in_short(error)}"
    true = _outputs(_attend_with(pattern, "reference"), [x.double() for x in vectors], with_grad)
    error = max(float((a.double() - b).abs().max() / (1 + b.abs().max())) for a, b in zip(found, true, strict=True))
    allowed = _ALLOWED[dtype]
    # Written so that a NaN is refused.
    return None if error <= allowed else f"disagrees with the reference by {error:.1e} (allowed {allowed:.0e})"


def _outputs(call: Callable[[Tensor, Tensor, Tensor], Tensor], vectors: list[Tensor], with_grad: bool) -> list[Tensor]:
    """The output, and the gradients of q, k and v."""
    leaves = [x.clone().requires_grad_(with_grad) for x in vectors[:3]]
    with torch.set_grad_enabled(with_grad):
        out = call(leaves[0], leaves[1], leaves[2])
        return [out.detach(), *(torch.autograd.grad(out, leaves, vectors[3]) if with_grad else ())]
