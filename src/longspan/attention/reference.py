"""The oracle: dense attention derived from `AttentionPattern.visible`; every other backend is tested against it.

It defines these cases for all backends:

- A key counts once, also if it is both in the window and a global column.
- Global tokens are the pattern's first `n_global` positions together with the dynamic set (`is_global_BT`). A global
  row sees every key and every row sees a global key, with the exceptions below.
- A padding token is neither a key nor a global token. Its row is zero, and its vectors (also NaN) affect no other row
  and no gradient.
- Causal: no query sees a later key. A global row sees the earlier keys, and later rows see a global key.
- Documents: no query sees keys of another document, also if they are global. "First" still means first in the row.
- `global_rows`: its used slots are the whole global set, including the pattern's first positions. The rows of these
  tokens take the query, and all keys and values, from `global_rows`.
- The softmax is in float32 (float64 for float64 tensors). Dropout applies to the probabilities, which are not
  renormalised.
- A row that sees nothing is zero. NaN is never hidden: it appears in every row that sees it.

B batch rows  T tokens  H attention heads  D width per head  G global slots
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from longspan.attention.inputs import AttentionInputs
from longspan.attention.slots import zero_at_padding


def attend_reference(inputs: AttentionInputs) -> Tensor:
    """Attention over a dense [T x T] score matrix, simple and slow; output [B, H, T, D] of q's dtype."""
    inputs = inputs.zero_padding()
    if inputs.global_rows is not None:
        inputs = inputs._replace(global_rows=inputs.global_rows.zero_padding(inputs.is_token_BT))
    prob_BHTT = reference_probabilities(inputs)
    prob_BHTT = F.dropout(prob_BHTT, inputs.dropout_p)
    out_BHTD = prob_BHTT @ inputs.v_BHTD.to(prob_BHTT.dtype)
    if inputs.global_rows is not None:
        is_row_BT = inputs.global_rows.slots.mask(inputs.q_BHTD.shape[2])
        from_rows_BHTD = prob_BHTT @ inputs.global_rows.unfold().v_BHTD.to(prob_BHTT.dtype)
        out_BHTD = torch.where(is_row_BT[:, None, :, None], from_rows_BHTD, out_BHTD)
    if inputs.is_token_BT is not None:
        out_BHTD = zero_at_padding(out_BHTD, inputs.is_token_BT)  # also zeroes the gradient there
    return out_BHTD.to(inputs.q_BHTD.dtype)


def reference_probabilities(inputs: AttentionInputs) -> Tensor:
    """Attention probabilities [B, H, T, T] before dropout, zero at hidden keys, in float32 or float64."""
    dtype = torch.promote_types(inputs.q_BHTD.dtype, torch.float32)
    score_BHTT = inputs.q_BHTD.to(dtype) @ inputs.k_BHTD.to(dtype).mT * inputs.scale
    if inputs.global_rows is not None:
        slots, q_BHGD, k_BHTD, _ = inputs.global_rows.unfold()
        row_BHGT = q_BHGD.to(dtype) @ k_BHTD.to(dtype).mT * inputs.scale
        for slot in range(q_BHGD.shape[2]):
            is_row_BT = torch.arange(score_BHTT.shape[2], device=score_BHTT.device) == slots.index_BG[:, slot, None]
            is_row_BT = is_row_BT & slots.is_used_BG[:, slot, None]
            score_BHTT = torch.where(is_row_BT[:, None, :, None], row_BHGT[:, :, slot, None, :], score_BHTT)
    visible_BHTT = visible_pairs(inputs)
    score_BHTT = score_BHTT.masked_fill(~visible_BHTT, -torch.inf)
    # Softmax over nothing is NaN: such rows get finite scores first, and zeros afterwards.
    score_BHTT = score_BHTT.masked_fill(~visible_BHTT.any(dim=-1, keepdim=True), 0)
    return score_BHTT.softmax(dim=-1).masked_fill(~visible_BHTT, 0)


def visible_pairs(inputs: AttentionInputs) -> Tensor:
    """Which query sees which key, by pattern, padding and documents together, bool [B, H, T, T]."""
    B, H, T, _ = inputs.q_BHTD.shape
    device = inputs.q_BHTD.device
    nowhere_BT = torch.zeros(B, T, dtype=torch.bool, device=device)
    is_token_BT = ~nowhere_BT if inputs.is_token_BT is None else inputs.is_token_BT
    is_global_BT = nowhere_BT if inputs.is_global_BT is None else inputs.is_global_BT
    if inputs.global_rows is not None:
        is_global_BT = is_global_BT | inputs.global_rows.slots.mask(T)
    document_BT = nowhere_BT if inputs.document_BT is None else inputs.document_BT
    position_T = torch.arange(T, device=device)
    seen_BHTT = inputs.pattern.visible(
        position_T[:, None],
        position_T,
        dilation=torch.tensor(inputs.pattern.dilations(H), device=device)[:, None, None],
        query_is_global=is_global_BT[:, None, :, None],
        key_is_global=is_global_BT[:, None, None, :],
    )
    same_document_B1TT = document_BT[:, None, :, None] == document_BT[:, None, None, :]
    both_tokens_B1TT = is_token_BT[:, None, :, None] & is_token_BT[:, None, None, :]
    return (seen_BHTT & same_document_B1TT & both_tokens_B1TT).expand(B, H, T, T)
