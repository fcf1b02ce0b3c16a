"""`attend`: the one function through which every model of this package computes attention, and its checks.

B batch rows  T tokens  H attention heads  D width per head  G global slots
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from longspan.attention.backends import BACKENDS, select
from longspan.attention.documents import Documents
from longspan.attention.inputs import AttentionInputs, BackendRequest
from longspan.attention.pattern import AttentionPattern
from longspan.attention.slots import FoldedGlobalRows, GlobalRows, GlobalSlots
from longspan.errors import InputError

_REPEATED = "global_rows.slots hold position {} more than once in a row; each global token has one slot"


def attend(
    q_BHTD: Float[Tensor, "B H T D"],
    k_BHTD: Float[Tensor, "B H T D"],
    v_BHTD: Float[Tensor, "B H T D"],
    pattern: AttentionPattern,
    *,
    is_token_BT: Bool[Tensor, "B T"] | None = None,
    is_global_BT: Bool[Tensor, "B T"] | None = None,
    document_BT: Int[Tensor, "B T"] | None = None,
    documents: Documents | None = None,
    global_rows: GlobalRows | FoldedGlobalRows | None = None,
    scale: float | None = None,
    dropout_p: float = 0.0,
    backend: str = "auto",
) -> Float[Tensor, "B H T D"]:
    """Attention in which each token sees its window and the global tokens, and global tokens see everything.

    This is the attention of Beltagy et al. 2020, "Longformer", section 3. `longspan.attention.reference` defines the
    special cases: causal patterns, padding, documents, and their combinations.

    Args:
        q_BHTD: queries [B, H, T, D], of any floating-point dtype.
        k_BHTD: keys, like the queries.
        v_BHTD: values, like the queries.
        pattern: which query sees which key.
        is_token_BT: bool [B, T], False at padding; None if there is no padding.
        is_global_BT: bool [B, T], the global tokens beside the pattern's first positions.
        document_BT: int64 or int32 [B, T] that does not decrease along a row; tokens with different numbers do not see
            each other.
        documents: the documents as made by `Documents.find` or `Documents.of_lengths`, in place of `document_BT`, so
            that not every layer reads the ids.
        global_rows: separate projections of the global tokens; its slots are then the whole global set.
        scale: factor on every score; None for D**-0.5.
        dropout_p: probability of dropping an attention probability; pass 0 outside training.
        backend: a name from `longspan.attention.backends.BACKENDS`, or "auto".

    Returns:
        [B, H, T, D] of q's dtype; zero at padding.

    Raises:
        InputError: an argument does not fit the others, or the named backend cannot serve the call.
    """
    inputs = check_inputs(
        q_BHTD,
        k_BHTD,
        v_BHTD,
        pattern,
        is_token_BT=is_token_BT,
        is_global_BT=is_global_BT,
        document_BT=document_BT,
        documents=documents,
        global_rows=global_rows,
        scale=scale,
        dropout_p=dropout_p,
    )
    chosen = BACKENDS[select(request_of(inputs), backend).backend]
    if torch.is_autocast_enabled(q_BHTD.device.type):
        # The caller has chosen the dtype of the vectors; autocast must not change it.
        with torch.autocast(q_BHTD.device.type, enabled=False):
            return chosen.attend(inputs)
    return chosen.attend(inputs)


def request_of(inputs: AttentionInputs) -> BackendRequest:
    """The call without its tensors, as `select` takes it."""
    B, H, T, D = inputs.q_BHTD.shape
    vectors = [inputs.q_BHTD, inputs.k_BHTD, inputs.v_BHTD, *(inputs.global_rows or ())[1:]]
    return BackendRequest(
        n_rows=B,
        n_heads=H,
        n_tokens=T,
        width=D,
        device=inputs.q_BHTD.device.type,
        dtype=inputs.q_BHTD.dtype,
        needs_grad=torch.is_grad_enabled() and any(x.requires_grad for x in vectors),
        pattern=inputs.pattern,
        has_padding=inputs.is_token_BT is not None,
        has_dynamic_global=inputs.is_global_BT is not None or inputs.global_rows is not None,
        has_documents=inputs.document_BT is not None,
        dropout_p=inputs.dropout_p,
        is_exporting=torch.compiler.is_exporting(),
        is_compiling=torch.compiler.is_compiling(),
    )


def check_inputs(
    q_BHTD: Tensor,
    k_BHTD: Tensor,
    v_BHTD: Tensor,
    pattern: AttentionPattern,
    *,
    is_token_BT: Tensor | None,
    is_global_BT: Tensor | None,
    document_BT: Tensor | None,
    global_rows: GlobalRows | FoldedGlobalRows | None,
    scale: float | None,
    dropout_p: float,
    documents: Documents | None = None,
) -> AttentionInputs:
    """The checked arguments of one call; parameters as in `attend`.

    The values of arguments from the caller (`document_BT`; `is_global_BT` beside `global_rows`) are read, which waits
    for an accelerator. The values of `GlobalSlots` and `Documents`, which this package makes, are read on the CPU only,
    where that costs little. No value is read while a compiler traces.

    Raises:
        InputError: an argument is wrong; the message names it and says what was expected.
    """
    if not isinstance(pattern, AttentionPattern):
        raise InputError(f"pattern must be an AttentionPattern, not {type(pattern).__name__}")
    _check_vectors(q_BHTD, k_BHTD, v_BHTD)
    pattern.dilations(q_BHTD.shape[1])
    if isinstance(dropout_p, bool) or not isinstance(dropout_p, int | float) or not 0 <= dropout_p < 1:
        raise InputError(f"dropout_p is a probability from 0 to below 1, not {dropout_p!r}")
    if scale is not None and not math.isfinite(scale):
        raise InputError(f"scale must be a finite number, not {scale}")
    for name, mask_BT in (("is_token_BT", is_token_BT), ("is_global_BT", is_global_BT)):
        if mask_BT is not None:
            _check_mask(name, mask_BT, q_BHTD)
    if documents is not None:
        if document_BT is not None:
            raise InputError("document_BT and documents say the same thing; give one of them")
        document_BT = _check_documents(documents, q_BHTD)
    elif document_BT is not None:
        _check_document_ids("document_BT", document_BT, q_BHTD)
        if not torch.compiler.is_compiling():
            documents = Documents.find(document_BT, is_token_BT)
    if global_rows is not None:
        _check_global_rows(global_rows, pattern, is_token_BT, q_BHTD)
        _check_same_set(global_rows.slots, is_global_BT, is_token_BT)
        is_global_BT = None
    if is_token_BT is not None and _can_read_values(is_token_BT) and bool(is_token_BT.all()):
        is_token_BT = None
    return AttentionInputs(
        q_BHTD,
        k_BHTD,
        v_BHTD,
        pattern,
        is_token_BT,
        is_global_BT,
        document_BT,
        documents,
        global_rows,
        scale=q_BHTD.shape[3] ** -0.5 if scale is None else scale,
        dropout_p=dropout_p,
    )


def _can_read_values(x: Tensor) -> bool:
    """Whether reading a value costs little: on the CPU, and not while a compiler traces."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def _check_vectors(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor) -> None:
    for name, x in (("q_BHTD", q_BHTD), ("k_BHTD", k_BHTD), ("v_BHTD", v_BHTD)):
        if not isinstance(x, Tensor):
            raise InputError(f"{name} must be a torch tensor, not {type(x).__name__}")
        if x.dim() != 4:
            raise InputError(
                f"{name} must have 4 dimensions (rows, heads, tokens, width per head), not shape {tuple(x.shape)}"
            )
        if not x.dtype.is_floating_point:
            raise InputError(f"{name} must hold floating-point numbers, not {x.dtype}")
    for name, x in (("k_BHTD", k_BHTD), ("v_BHTD", v_BHTD)):
        for axis, what in enumerate(("batch rows", "heads", "tokens", "width per head")):
            if x.shape[axis] != q_BHTD.shape[axis]:
                raise InputError(
                    f"{name} differs from q_BHTD in {what}: {x.shape[axis]}, not {q_BHTD.shape[axis]}"
                    f" (shapes {tuple(x.shape)} and {tuple(q_BHTD.shape)})"
                )
        _check_alike(name, x, q_BHTD)
    if 0 in q_BHTD.shape:
        raise InputError(
            f"q_BHTD is empty (shape {tuple(q_BHTD.shape)}); attention needs at least one row, head, token and width"
        )


def _check_alike(name: str, x: Tensor, q_BHTD: Tensor) -> None:
    if x.dtype != q_BHTD.dtype:
        raise InputError(f"{name} is {x.dtype} but q_BHTD is {q_BHTD.dtype}; cast one of them")
    if x.device != q_BHTD.device:
        raise InputError(f"{name} is on {x.device} but q_BHTD is on {q_BHTD.device}; move one of them")


def _check_mask(name: str, mask_BT: Tensor, q_BHTD: Tensor) -> None:
    if not isinstance(mask_BT, Tensor):
        raise InputError(f"{name} must be a torch tensor, not {type(mask_BT).__name__}")
    expected = (q_BHTD.shape[0], q_BHTD.shape[2])
    if tuple(mask_BT.shape) != expected:
        raise InputError(f"{name} must have shape {expected} (rows, tokens), not {tuple(mask_BT.shape)}")
    if mask_BT.dtype != torch.bool:
        raise InputError(f"{name} must be bool (True = yes), not {mask_BT.dtype}; try {name}.bool()")
    if mask_BT.device != q_BHTD.device:
        raise InputError(f"{name} is on {mask_BT.device} but q_BHTD is on {q_BHTD.device}; move one of them")


def _check_document_ids(name: str, id_BT: Tensor, q_BHTD: Tensor) -> None:
    if not isinstance(id_BT, Tensor):
        raise InputError(f"{name} must be a torch tensor, not {type(id_BT).__name__}")
    expected = (q_BHTD.shape[0], q_BHTD.shape[2])
    if tuple(id_BT.shape) != expected:
        raise InputError(f"{name} must have shape {expected} (rows, tokens), not {tuple(id_BT.shape)}")
    if id_BT.dtype not in (torch.int64, torch.int32):
        raise InputError(f"{name} must hold whole numbers (int64 or int32), not {id_BT.dtype}")
    if id_BT.device != q_BHTD.device:
        raise InputError(f"{name} is on {id_BT.device} but q_BHTD is on {q_BHTD.device}; move one of them")


def _check_documents(documents: Documents, q_BHTD: Tensor) -> Tensor:
    if not isinstance(documents, Documents):
        raise InputError(f"documents must be Documents (Documents.find makes them), not {type(documents).__name__}")
    _check_document_ids("documents.id_BT", documents.id_BT, q_BHTD)
    if not torch.compiler.is_compiling():
        n_rows, n_tokens = documents.id_BT.shape
        end = (0, 0)
        for row, start, stop in documents.bounds:
            if (row, start) < end or row >= n_rows or not 0 <= start < stop <= n_tokens:
                raise InputError(
                    f"documents.bounds must be (row, start, stop) in order and apart, within {n_rows} rows of"
                    f" {n_tokens} tokens; ({row}, {start}, {stop}) is not"
                )
            end = (row, stop)
    return documents.id_BT


def _check_global_rows(
    global_rows: GlobalRows | FoldedGlobalRows, pattern: AttentionPattern, is_token_BT: Tensor | None, q_BHTD: Tensor
) -> None:
    B, H, T, D = q_BHTD.shape
    slots = global_rows.slots
    index_BG, is_used_BG = slots.index_BG, slots.is_used_BG
    if index_BG.dim() != 2 or index_BG.shape[0] != B or is_used_BG.shape != index_BG.shape:
        raise InputError(
            f"global_rows.slots must hold two tensors [{B}, G],"
            f" not {tuple(index_BG.shape)} and {tuple(is_used_BG.shape)}"
        )
    if index_BG.dtype != torch.int64 or is_used_BG.dtype != torch.bool:
        raise InputError(f"global_rows.slots must be int64 and bool, not {index_BG.dtype} and {is_used_BG.dtype}")
    G = index_BG.shape[1]
    expected_shapes: dict[str, tuple[int, ...]] = {"k_BHTD": (B, H, T, D), "v_BHTD": (B, H, T, D)}
    if isinstance(global_rows, FoldedGlobalRows):
        C = global_rows.hidden_BTC.shape[-1]
        weight = (H * D, C)
        expected_shapes = {"hidden_BTC": (B, T, C), "key_weight_EC": weight, "value_weight_EC": weight}
        expected_shapes["value_bias_E"] = weight[:1]
    for name, expected in {"q_BHGD": (B, H, G, D), **expected_shapes}.items():
        x = getattr(global_rows, name)
        if tuple(x.shape) != expected:
            raise InputError(f"global_rows.{name} must have shape {expected}, not {tuple(x.shape)}")
        _check_alike(f"global_rows.{name}", x, q_BHTD)
    if not _can_read_values(index_BG):
        return
    if bool(((index_BG < 0) | (index_BG >= T)).any()):
        raise InputError(f"global_rows.slots has a position outside 0 to {T - 1}")
    count_BT = slots.count_at(T)
    if bool((count_BT > 1).any()):
        raise InputError(_REPEATED.format(int((count_BT > 1).any(dim=0).to(torch.uint8).argmax())))
    n_first = min(pattern.n_global, T)
    missing_BG = count_BT[:, :n_first] == 0
    if is_token_BT is not None:
        missing_BG = missing_BG & is_token_BT[:, :n_first]
    if bool(missing_BG.any()):
        raise InputError(
            f"the pattern's first {n_first} positions are global, but not all of them are slots of global_rows;"
            " make the slots with GlobalSlots.first, or with GlobalSlots.find and those positions set"
        )


def _check_same_set(slots: GlobalSlots, is_global_BT: Tensor | None, is_token_BT: Tensor | None) -> None:
    """Raise unless a mask beside `global_rows` names the same global tokens as its slots."""
    if is_global_BT is None or torch.compiler.is_compiling():
        return
    count_BT = slots.count_at(is_global_BT.shape[1])
    differs_BT = (count_BT > 0) != is_global_BT
    if is_token_BT is not None:
        differs_BT = differs_BT & is_token_BT
    differs, is_repeated = torch.stack([differs_BT.any(), (count_BT > 1).any()]).tolist()
    if is_repeated:
        raise InputError(_REPEATED.format(int((count_BT > 1).any(dim=0).to(torch.uint8).argmax())))
    if differs:
        raise InputError("is_global_BT and global_rows.slots name different tokens; give the slots alone")
