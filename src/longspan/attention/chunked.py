"""Attention by a fixed number of plain tensor operations, for torch.export and ONNX.

Tokens are padded to whole chunks of K. A chunk of queries may see the keys of its own chunk and of its neighbours on
both sides, which are slices of one padded tensor. No loop depends on the length, and no shape depends on the data;
autograd computes the backward. It takes more memory than `blocked`, because keys, values and probabilities of whole
neighbouring chunks are kept.

B batch rows  T tokens  H attention heads  D width per head  G global slots
K tokens of a chunk  N chunks  R keys of its range  r residue classes of a dilation
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from longspan.attention.block_softmax import UNSEEN
from longspan.attention.global_rows import gather_slots, place_global_rows
from longspan.attention.inputs import AttentionInputs
from longspan.attention.pattern import AttentionPattern
from longspan.attention.slots import GlobalSlots


def attend_chunked(inputs: AttentionInputs) -> Tensor:
    """Attention over all chunks of queries at once; output [B, H, T, D] of q's dtype, zero at padding."""
    slots, given, inputs = inputs.global_slots(), inputs, inputs.zero_padding()
    dilations = inputs.pattern.dilations(inputs.q_BHTD.shape[1])
    heads_of = {d: [head for head, of_head in enumerate(dilations) if of_head == d] for d in sorted(set(dilations))}
    if len(heads_of) == 1:
        out_BHTD = _attend_heads(inputs, slots, dilations[0], None)
    else:
        parts = [_attend_heads(inputs, slots, d, heads) for d, heads in heads_of.items()]
        order = [head for heads in heads_of.values() for head in heads]
        out_BHTD = torch.cat(parts, dim=1)[:, sorted(range(len(order)), key=order.__getitem__)]
    if inputs.is_token_BT is not None:
        out_BHTD = out_BHTD.masked_fill(~inputs.is_token_BT[:, None, :, None], 0)
    return out_BHTD if slots is None else place_global_rows(out_BHTD, given, slots)


def chunk_length(pattern: AttentionPattern) -> int:
    """The number of tokens in a chunk: about half the longer side of the window, so that little work is wasted."""
    reach = max(pattern.left, pattern.right)
    return next((length for length in (16, 32, 64, 128) if 2 * length >= reach), 256)


def _attend_heads(inputs: AttentionInputs, slots: GlobalSlots | None, dilation: int, heads: list[int] | None) -> Tensor:
    """The local rows of `heads` (None: all), which share one dilation."""
    pattern = inputs.pattern
    q_BHTD, k_BHTD, v_BHTD = inputs.q_BHTD, inputs.k_BHTD, inputs.v_BHTD
    if heads is not None:
        q_BHTD, k_BHTD, v_BHTD = q_BHTD[:, heads], k_BHTD[:, heads], v_BHTD[:, heads]
    chunks = _Chunks(pattern, dilation, q_BHTD.shape[2])

    # Scores stay in float32 until the softmax, also in half precision.
    dtype = torch.promote_types(q_BHTD.dtype, torch.float32)
    q_BHNKD = chunks.of_queries(q_BHTD.to(dtype) * inputs.scale)
    k_BHNRD, v_BHNRD = chunks.of_keys(k_BHTD.to(dtype)), chunks.of_keys(v_BHTD)
    score_BHNKR = q_BHNKD @ k_BHNRD.mT
    visible_BHNKR = _visible_in_window(inputs, slots, chunks)
    score_BHNKR = score_BHNKR.masked_fill(~visible_BHNKR, UNSEEN)
    if slots is None:
        prob_BHNKR = F.dropout(score_BHNKR.softmax(dim=-1), inputs.dropout_p).to(v_BHNRD.dtype)
        return chunks.back(prob_BHNKR @ v_BHNRD)

    # Global columns come first; one softmax runs over them and the window.
    G = slots.index_BG.shape[1]
    k_BHGD, v_BHGD = gather_slots(k_BHTD, slots).to(dtype), gather_slots(v_BHTD, slots)
    k_BH1GD, v_BH1GD = (x.repeat_interleave(dilation, dim=0)[:, :, None] for x in (k_BHGD, v_BHGD))
    score_BHNKG = (q_BHNKD @ k_BH1GD.mT).masked_fill(~_visible_columns(inputs, slots, chunks), UNSEEN)
    prob_BHNKS = torch.cat([score_BHNKG, score_BHNKR], dim=-1).softmax(dim=-1)
    prob_BHNKS = F.dropout(prob_BHNKS, inputs.dropout_p).to(v_BHNRD.dtype)
    return chunks.back(prob_BHNKS[..., :G] @ v_BH1GD + prob_BHNKS[..., G:] @ v_BHNRD)


def _visible_in_window(inputs: AttentionInputs, slots: GlobalSlots | None, chunks: "_Chunks") -> Tensor:
    """Which keys of its range each query sees in its window, without global keys; bool [B r, 1, N, K, R]."""
    q_BHTD = inputs.q_BHTD
    B, T, device = q_BHTD.shape[0], q_BHTD.shape[2], q_BHTD.device
    # With B rows, not 1: the residue classes become rows too, and their numbers must match.
    is_key_BT = torch.ones(B, T, dtype=torch.bool, device=device)
    if inputs.is_token_BT is not None:
        is_key_BT = inputs.is_token_BT
    if slots is not None:
        is_key_BT = is_key_BT & ~slots.mask(T)
    query_K1 = torch.arange(chunks.length, device=device)[:, None] + chunks.n_before * chunks.length
    key_R = torch.arange((chunks.n_before + 1 + chunks.n_after) * chunks.length, device=device)
    band_KR = inputs.pattern.in_window(query_K1, key_R)
    # Padding to whole chunks is False here: it is no key.
    visible_BHNKR = band_KR & chunks.of_keys(is_key_BT[:, None, :, None])[..., None, :, 0]
    if inputs.document_BT is not None:
        document_B1T1 = inputs.document_BT[:, None, :, None]
        of_key_BHN1R = chunks.of_keys(document_B1T1)[..., None, :, 0]
        visible_BHNKR = visible_BHNKR & (chunks.of_queries(document_B1T1) == of_key_BHN1R)
    return visible_BHNKR


def _visible_columns(inputs: AttentionInputs, slots: GlobalSlots, chunks: "_Chunks") -> Tensor:
    """Which global columns each query sees, bool, broadcasting to [B r, 1, N, K, G]."""
    visible_B1TG = slots.is_used_BG[:, None, None, :]
    if inputs.pattern.causal:
        position_T1 = torch.arange(inputs.q_BHTD.shape[2], device=inputs.q_BHTD.device)[:, None]
        visible_B1TG = visible_B1TG & inputs.pattern.visible(
            position_T1, slots.index_BG[:, None, None, :], key_is_global=True
        )
    if inputs.document_BT is not None:
        of_slot_BG = inputs.document_BT.gather(1, slots.index_BG)
        visible_B1TG = visible_B1TG & (inputs.document_BT[:, None, :, None] == of_slot_BG[:, None, None, :])
    if not inputs.pattern.causal and inputs.document_BT is None:
        return visible_B1TG.repeat_interleave(chunks.dilation, dim=0)[:, :, None]
    return chunks.of_queries(visible_B1TG)


class _Chunks:
    """Splits [B, H, T, D] into chunks and key ranges, with residue classes of a dilation as rows, and back.

    While a compiler traces, only the number of chunks is symbolic; the pattern determines everything else.
    """

    def __init__(self, pattern: AttentionPattern, dilation: int, n_tokens: int) -> None:
        self.dilation, self.n_tokens = dilation, n_tokens
        self.length = chunk_length(pattern)
        self.n_before = -(-pattern.left // self.length)
        self.n_after = -(-pattern.right // self.length)
        span = self.length * dilation
        if torch.compiler.is_exporting():
            # At least two chunks: torch.export would make a condition on the length of a number that may be 1.
            torch._check(n_tokens > 2)
            self.n_chunks = (n_tokens + 2 * span - 2) // span
        else:
            self.n_chunks = (n_tokens + span - 1) // span
        self.n_padded = self.n_chunks * span

    def of_queries(self, x_BHTD: Tensor) -> Tensor:
        """[B, H, T, D] to chunks [B r, H, N, K, D]; zeros after the last token."""
        x_BHTD = F.pad(x_BHTD, (0, 0, 0, self.n_padded - self.n_tokens))
        if self.dilation == 1:
            return x_BHTD.unflatten(2, (self.n_chunks, self.length))
        x_BHNKrD = x_BHTD.unflatten(2, (self.n_chunks, self.length, self.dilation))
        return x_BHNKrD.permute(0, 4, 1, 2, 3, 5).flatten(0, 1)

    def of_keys(self, x_BHTD: Tensor) -> Tensor:
        """[B, H, T, D] to key ranges [B r, H, N, R, D]: for each chunk the keys that its queries may see."""
        x_BHNKD = F.pad(self.of_queries(x_BHTD), (0, 0, 0, 0, self.n_before, self.n_after))
        neighbours = range(self.n_before + 1 + self.n_after)
        return torch.cat([x_BHNKD[:, :, i : i + self.n_chunks] for i in neighbours], dim=3)

    def back(self, x_BHNKD: Tensor) -> Tensor:
        """Chunks [B r, H, N, K, D] to [B, H, T, D]."""
        if self.dilation > 1:
            x_BHNKD = x_BHNKD.unflatten(0, (-1, self.dilation)).permute(0, 2, 3, 4, 1, 5)
        B, H, D = x_BHNKD.shape[0], x_BHNKD.shape[1], x_BHNKD.shape[-1]
        # Via one axis: merging N and K alone would make a traced graph ask whether one divides their product.
        x_BHTD = x_BHNKD.flatten().view(B, H, self.n_padded, D)
        if torch.compiler.is_exporting():
            # The strides of a slice equal those of a whole tensor at some lengths only: another condition.
            return x_BHTD.index_select(2, torch.arange(self.n_tokens, device=x_BHTD.device))
        return x_BHTD[:, :, : self.n_tokens]
