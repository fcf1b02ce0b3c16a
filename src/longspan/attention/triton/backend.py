"""The backend `triton`: which requests it can serve, and a call of it.

B batch rows  T tokens  H attention heads  D width per head
"""

import importlib.util
import os

import torch
from torch import Tensor

from longspan.attention.global_rows import place_global_rows
from longspan.attention.inputs import AttentionInputs, BackendRequest
from longspan.attention.slots import zero_at_padding
from longspan.attention.triton.operators import window_attention
from longspan.attention.triton.visibility import cached_visibility

MAX_WIDTH = 256


def reason_against_triton(request: BackendRequest) -> str | None:
    """Why the kernels cannot serve a request, or None if they can; triton is not imported."""
    if not _is_installed():
        return "triton is not installed (pip install 'longspan[gpu]')"
    if request.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        return f"computes float32, float16 and bfloat16, not {str(request.dtype).removeprefix('torch.')}"
    if request.width > MAX_WIDTH:
        return f"heads are at most {MAX_WIDTH} wide, not {request.width}"
    if _interprets():
        if request.dtype == torch.bfloat16:
            return "Triton's interpreter (TRITON_INTERPRET=1) knows no bfloat16"
        return None if request.device == "cpu" else "TRITON_INTERPRET=1 computes on the CPU"
    if request.device != "cuda":
        return f"runs on a GPU, not on {request.device} (TRITON_INTERPRET=1 for Triton's interpreter)"
    # Without a GPU, the answer is about one that meets the requirements.
    capability = torch.cuda.get_device_capability() if torch.cuda.is_available() else (8, 0)
    if capability < (8, 0):
        return f"needs a GPU of capability 8.0, not {capability[0]}.{capability[1]}"
    return None


def reason_to_name_triton(request: BackendRequest) -> str | None:
    """Why the kernels must be named explicitly for a request, or None: the interpreter is a thousand times slower."""
    if request.device == "cpu" and _interprets():
        return "Triton's interpreter (TRITON_INTERPRET=1) is for tests, a thousand times slower; name triton to use it"
    return None


# A constant, not a cached function: torch.compile traces the choice of a backend and warns about such functions.
_HAS_TRITON = importlib.util.find_spec("triton") is not None


def _is_installed() -> bool:
    return _HAS_TRITON


def _interprets() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"


def attend_triton(inputs: AttentionInputs) -> Tensor:
    """Attention by our kernels; output [B, H, T, D] of q's dtype, zero at padding."""
    slots = inputs.global_slots()
    seed = None
    if inputs.dropout_p:
        # Drawn on the device, which does not wait; torch.manual_seed determines it.
        seed = torch.randint(2**62, (1,), device=inputs.q_BHTD.device)
    is_token_BT = inputs.is_token_BT
    out_BHTD, _ = window_attention(
        # Keys and values at padding are not read. Queries at padding, and their gradients, are multiplied by 0 in the
        # kernel for the gradients of the keys, so that they may not be NaN.
        inputs.q_BHTD if is_token_BT is None else zero_at_padding(inputs.q_BHTD, is_token_BT),
        inputs.k_BHTD,
        inputs.v_BHTD,
        *cached_visibility(inputs, slots),
        seed,
        list(inputs.pattern.dilations(inputs.q_BHTD.shape[1])),
        inputs.pattern.left,
        inputs.pattern.right,
        inputs.scale,
        inputs.dropout_p,
    )
    if is_token_BT is not None:
        out_BHTD = zero_at_padding(out_BHTD, is_token_BT)
    return out_BHTD if slots is None else place_global_rows(out_BHTD, inputs, slots)
