"""`attend`: the one function through which every model of this package computes attention.

B batch rows  T tokens  H attention heads  D width per head
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from longspan.attention.checks import check_inputs
from longspan.attention.documents import Documents
from longspan.attention.inputs import AttentionInputs
from longspan.attention.pattern import AttentionPattern
from longspan.attention.selection import BACKENDS, Request, select
from longspan.attention.slots import FoldedGlobalRows, GlobalRows


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

    The corners (causal, padding, documents, and their combinations) are decided in `longspan.attention.reference`.

    Args:
        q_BHTD: queries, any floating-point dtype.
        k_BHTD: keys, like the queries.
        v_BHTD: values, like the queries.
        pattern: who sees whom.
        is_token_BT: bool, False at padding; all are tokens where None.
        is_global_BT: bool, the global tokens beside the pattern's first ones.
        document_BT: whole numbers that do not decrease along a row; tokens of different numbers don't see each other.
        documents: the same, found before (`Documents.find`, `Documents.of_lengths`) so that no layer looks at the ids
            again; in place of `document_BT`.
        global_rows: the global tokens' own projections; its slots are then the whole global set.
        scale: factor on every score; D**-0.5 where None.
        dropout_p: probability to drop an attention probability; pass 0 outside training.
        backend: a name from `longspan.attention.selection.BACKENDS`, or "auto".

    Returns:
        [B, H, T, D] of q's dtype; zero at padding.

    Raises:
        InputError: an argument does not fit the others, or the named backend cannot do this.
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
        # The vectors come in the dtype they are meant to have; nothing inside is to be cast again.
        with torch.autocast(q_BHTD.device.type, enabled=False):
            return chosen.attend(inputs)
    return chosen.attend(inputs)


def request_of(inputs: AttentionInputs) -> Request:
    """What a call asks of a backend."""
    B, H, T, D = inputs.q_BHTD.shape
    vectors = [inputs.q_BHTD, inputs.k_BHTD, inputs.v_BHTD, *(inputs.global_rows or ())[1:]]
    return Request(
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
