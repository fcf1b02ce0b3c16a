"""The oracle: dense attention read off `AttentionPattern.visible`; every other backend is tested against it.

What it decides, for all backends:

- A key counts once, be it in the window, a global column, or both.
- Global tokens are the pattern's first `n_global` positions and the dynamic set (`is_global_BT`) together. A global
  row sees every key and every row sees a global key, except as follows.
- A padding token is nothing else: it is no key, no global token, its row comes out zero, and what stands there (NaN
  too) reaches no other row and no gradient.
- Causal: nobody sees a later key; a global row sees the earlier ones, a global key is seen by later rows.
- Documents: nobody sees another document's keys, global tokens included. "First" still means first in the row.
- `global_rows`: its used slots are the whole global set, the pattern's first positions included; their rows take the
  query, and all keys and values, from there.
- Softmax in float32 (float64 for float64 tensors). Dropout falls on the probabilities, which are not renormalised.
- A row that sees nothing comes out zero. NaN is never hidden: it surfaces in every row that sees it.

B batch rows  T tokens  H attention heads  D width per head  G global slots
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from longspan.attention.inputs import AttentionInputs
from longspan.attention.slots import zero_at_padding


def attend_reference(inputs: AttentionInputs) -> Tensor:
    """Attention over a dense [T x T] score matrix: short and slow; output [B, H, T, D] of q's dtype."""
    inputs = inputs.without_padding()
    if inputs.global_rows is not None:
        inputs = inputs._replace(global_rows=inputs.global_rows.without_padding(inputs.is_token_BT))
    prob_BHTT = reference_probabilities(inputs)
    prob_BHTT = F.dropout(prob_BHTT, inputs.dropout_p)
    out_BHTD = prob_BHTT @ inputs.v_BHTD.to(prob_BHTT.dtype)
    if inputs.global_rows is not None:
        is_row_BT = inputs.global_rows.slots.mask(inputs.q_BHTD.shape[2])
        from_rows_BHTD = prob_BHTT @ inputs.global_rows.unfold().v_BHTD.to(prob_BHTT.dtype)
        out_BHTD = torch.where(is_row_BT[:, None, :, None], from_rows_BHTD, out_BHTD)
    if inputs.is_token_BT is not None:
        out_BHTD = zero_at_padding(out_BHTD, inputs.is_token_BT)  # and the gradient that comes back there
    return out_BHTD.to(inputs.q_BHTD.dtype)


def reference_probabilities(inputs: AttentionInputs) -> Tensor:
    """The probabilities [B, H, T, T] before dropout, zero where a key is invisible, in float32 (or float64)."""
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
    # Softmax over nothing is NaN: such rows get any finite scores, and zeros afterwards.
    score_BHTT = score_BHTT.masked_fill(~visible_BHTT.any(dim=-1, keepdim=True), 0)
    return score_BHTT.softmax(dim=-1).masked_fill(~visible_BHTT, 0)


def visible_pairs(inputs: AttentionInputs) -> Tensor:
    """Who sees whom, all in all: the pattern, padding and documents, as a bool tensor [B, H, T, T]."""
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
