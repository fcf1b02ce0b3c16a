"""The backward kernels: for the gradients of queries, of keys, and of global columns.

`query_kernel` takes a block of queries and visits the keys that they see. `key_kernel` takes a block of keys and visits
the queries that see them. `slot_kernel` takes global columns, which all queries see, and a part of the queries.

Probabilities are recomputed from the log-sum-exp. With probabilities P, output O and dropout factors R (1 without
dropout): dV = (P R)^T dO, dP = R (dO V^T), delta = rowsum(dO O), dS = P (dP - delta), dQ = scale dS K,
dK = scale dS^T Q (Dao et al. 2022, appendix B). Every sum has a fixed order, without atomic additions, so that the
gradients have the same bits in every run.

Q queries of a tile  K keys of a tile  D width per head, padded to a power of two
"""

from typing import no_type_check

import triton
import triton.language as tl

from longspan.attention.triton.device_functions import find_block, find_range, is_kept, load_rows, store_rows


@triton.jit
@no_type_check
def add_to_query(acc, q, grad, lse, delta, k, v, seen, kept, scale_log2, factor, MASKED: tl.constexpr,
                 DROPOUT: tl.constexpr, PRECISION: tl.constexpr):  # fmt: skip
    """Add a tile of keys to the gradient of the queries, without the scale."""
    score = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale_log2
    if MASKED:
        score = tl.where(seen, score, -float("inf"))
    prob = tl.math.exp2(score - lse[:, None])
    grad_prob = tl.dot(grad, tl.trans(v), input_precision=PRECISION)
    if DROPOUT:
        grad_prob = tl.where(kept, grad_prob * factor, 0.0)
    grad_score = prob * (grad_prob - delta[:, None])
    return tl.dot(grad_score.to(k.dtype), k, acc, input_precision=PRECISION)


@triton.jit
@no_type_check
def add_window_to_query(
    acc, q, grad, lse, delta, k_ptr, v_ptr, kind_ptr, k_step, v_step, dilation, length, start, all_from, all_to, stop,
    first, last, scale_log2, seed, row_and_head, query, n_dropped, factor,
    WIDTH: tl.constexpr, PADDED: tl.constexpr, Q: tl.constexpr, K: tl.constexpr,
    EDGE: tl.constexpr, KEYED: tl.constexpr, DROPOUT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Add the tiles of keys that all queries see, or with EDGE the tiles at both edges of the window."""
    n_before = (all_from - start) // K
    n_tiles = (all_to - all_from) // K
    if EDGE:
        n_tiles = n_before + (stop - all_to) // K
    for i in range(0, n_tiles):
        n = all_from + i * K
        if EDGE:
            n = tl.where(i < n_before, start + i * K, all_to + (i - n_before) * K)
        number = n + tl.arange(0, K)
        is_key = number < length
        if KEYED:
            is_key = tl.load(kind_ptr + number * dilation, mask=is_key, other=0) == -1
        offset = number.to(tl.int64)
        k = load_rows(k_ptr, offset * k_step, is_key, WIDTH, PADDED, EDGE or KEYED)
        v = load_rows(v_ptr, offset * v_step, is_key, WIDTH, PADDED, EDGE or KEYED)
        seen = is_key[None, :]
        if EDGE:
            seen = seen & (number[None, :] >= first[:, None]) & (number[None, :] < last[:, None])
        kept = None
        if DROPOUT:
            kept = is_kept(seed, row_and_head, query, n, n_dropped, 0, Q, K, False)
        acc = add_to_query(
            acc, q, grad, lse, delta, k, v, seen, kept, scale_log2, factor, EDGE or KEYED, DROPOUT, PRECISION
        )
    return acc


@triton.jit(do_not_specialize=["n_blocks", "n_tokens", "n_slots", "left", "right", "n_dropped"])
@no_type_check
def query_kernel(
    q_ptr, k_ptr, v_ptr, grad_ptr, out_ptr, lse_ptr, delta_ptr, grad_q_ptr,
    kind_ptr, first_ptr, last_ptr, slot_ptr, first_slot_ptr, last_slot_ptr, dilation_ptr, seed_ptr,
    q_row, q_head, q_token, k_row, k_head, k_token, v_row, v_head, v_token, grad_row, grad_head, grad_token,
    n_blocks, n_heads, n_tokens, n_slots, left, right, scale, n_dropped, factor,
    WIDTH: tl.constexpr, PADDED: tl.constexpr, Q: tl.constexpr, K: tl.constexpr, G: tl.constexpr,
    DILATED: tl.constexpr, KEYED: tl.constexpr, BOUNDED: tl.constexpr, SLOTTED: tl.constexpr, RANGED: tl.constexpr,
    DROPOUT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write the gradient of a block of queries, in the order of `forward_kernel`, and delta for the other kernels."""
    row, head, dilation, residue, length, number = find_block(dilation_ptr, n_blocks, n_heads, n_tokens, Q, DILATED)
    is_query, first, last, start, all_from, all_to, stop = find_range(
        number, first_ptr, last_ptr, row, dilation, residue, length, n_tokens, left, right, K, Q, BOUNDED
    )
    row64, head64 = row.to(tl.int64), head.to(tl.int64)
    row_and_head = row * n_heads + head
    query = residue + number * dilation
    is_row = number < length
    at = row64 * n_tokens + query
    at_number = row_and_head.to(tl.int64) * n_tokens + query
    q_ptr += row64 * q_row + head64 * q_head
    k_ptr += row64 * k_row + head64 * k_head
    v_ptr += row64 * v_row + head64 * v_head
    grad_ptr += row64 * grad_row + head64 * grad_head
    # Padding is not read: its values may be anything.
    q = load_rows(q_ptr, query.to(tl.int64) * q_token, is_query, WIDTH, PADDED, True)
    grad = load_rows(grad_ptr, query.to(tl.int64) * grad_token, is_query, WIDTH, PADDED, True)
    out = load_rows(out_ptr + head64 * WIDTH, at * n_heads * WIDTH, is_query, WIDTH, PADDED, True)
    delta = tl.sum(grad.to(tl.float32) * out.to(tl.float32), 1)
    tl.store(delta_ptr + at_number, delta, mask=is_row)
    lse = tl.load(lse_ptr + at_number, mask=is_query, other=float("inf"))
    scale_log2 = scale * 1.4426950408889634
    seed = 0
    if DROPOUT:
        seed = tl.load(seed_ptr)
    acc = tl.zeros([Q, PADDED], tl.float32)

    if SLOTTED:
        slot_start, slot_stop = 0, n_slots
        slot_ptr += row64 * n_slots
        if RANGED:
            first_slot = tl.load(first_slot_ptr + at, mask=is_query, other=n_slots)
            last_slot = tl.load(last_slot_ptr + at, mask=is_query, other=0)
            slot_start = tl.min(first_slot) // G * G
            slot_stop = tl.max(last_slot)
        for g in range(slot_start, slot_stop, G):
            slot = g + tl.arange(0, G)
            position = tl.load(slot_ptr + slot, mask=slot < n_slots, other=n_tokens)
            is_slot = position < n_tokens
            k = load_rows(k_ptr, position.to(tl.int64) * k_token, is_slot, WIDTH, PADDED, True)
            v = load_rows(v_ptr, position.to(tl.int64) * v_token, is_slot, WIDTH, PADDED, True)
            seen = is_slot[None, :]
            if RANGED:
                seen = (slot[None, :] >= first_slot[:, None]) & (slot[None, :] < last_slot[:, None])
            kept = None
            if DROPOUT:
                kept = is_kept(seed, row_and_head, query, g, n_dropped, 1, Q, G, False)
            acc = add_to_query(acc, q, grad, lse, delta, k, v, seen, kept, scale_log2, factor, True, DROPOUT, PRECISION)

    if KEYED:
        kind_ptr += row64 * n_tokens + residue
    residue64 = tl.zeros([], tl.int64) + residue
    k_ptr += residue64 * k_token
    v_ptr += residue64 * v_token
    k_step = (tl.zeros([], tl.int64) + dilation) * k_token
    v_step = (tl.zeros([], tl.int64) + dilation) * v_token
    acc = add_window_to_query(
        acc, q, grad, lse, delta, k_ptr, v_ptr, kind_ptr, k_step, v_step, dilation, length, start, all_from, all_to,
        stop, first, last, scale_log2, seed, row_and_head, query, n_dropped, factor,
        WIDTH, PADDED, Q, K, True, KEYED, DROPOUT, PRECISION,
    )  # fmt: skip
    acc = add_window_to_query(
        acc, q, grad, lse, delta, k_ptr, v_ptr, kind_ptr, k_step, v_step, dilation, length, start, all_from, all_to,
        stop, first, last, scale_log2, seed, row_and_head, query, n_dropped, factor,
        WIDTH, PADDED, Q, K, False, KEYED, DROPOUT, PRECISION,
    )  # fmt: skip
    store_rows(grad_q_ptr + head64 * WIDTH, at * n_heads * WIDTH, acc * scale, is_row, WIDTH, PADDED)


@triton.jit
@no_type_check
def add_to_keys(acc_k, acc_v, k, v, q, grad, lse, delta, seen, kept, scale_log2, factor, MASKED: tl.constexpr,
                DROPOUT: tl.constexpr, PRECISION: tl.constexpr):  # fmt: skip
    """Add a tile of queries to the gradients of keys (without the scale) and values."""
    score = tl.dot(k, tl.trans(q), input_precision=PRECISION) * scale_log2
    if MASKED:
        score = tl.where(seen, score, -float("inf"))
    prob = tl.math.exp2(score - lse[None, :])
    grad_prob = tl.dot(v, tl.trans(grad), input_precision=PRECISION)
    prob_kept = prob
    if DROPOUT:
        prob_kept = tl.where(kept, prob * factor, 0.0)
        grad_prob = tl.where(kept, grad_prob * factor, 0.0)
    acc_v = tl.dot(prob_kept.to(grad.dtype), grad, acc_v, input_precision=PRECISION)
    grad_score = prob * (grad_prob - delta[None, :])
    acc_k = tl.dot(grad_score.to(q.dtype), q, acc_k, input_precision=PRECISION)
    return acc_k, acc_v


@triton.jit
@no_type_check
def add_window_to_keys(
    acc_k, acc_v, k, v, q_ptr, grad_ptr, lse_ptr, delta_ptr, q_step, grad_step, dilation, residue, length, start,
    all_from, all_to, stop, first, last, scale_log2, seed, row_and_head, n_dropped, factor, first_key,
    WIDTH: tl.constexpr, PADDED: tl.constexpr, Q: tl.constexpr, K: tl.constexpr,
    EDGE: tl.constexpr, DROPOUT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Add the tiles of queries that see all keys, or with EDGE the tiles at both edges of the window."""
    n_before = (all_from - start) // Q
    n_tiles = (all_to - all_from) // Q
    if EDGE:
        n_tiles = n_before + (stop - all_to) // Q
    for i in range(0, n_tiles):
        n = all_from + i * Q
        if EDGE:
            n = tl.where(i < n_before, start + i * Q, all_to + (i - n_before) * Q)
        number = n + tl.arange(0, Q)
        is_row = number < length
        offset = number.to(tl.int64)
        q = load_rows(q_ptr, offset * q_step, is_row, WIDTH, PADDED, EDGE)
        grad = load_rows(grad_ptr, offset * grad_step, is_row, WIDTH, PADDED, EDGE)
        # Padding has an infinite log-sum-exp, so that its probabilities are zero. The result for a key that belongs to
        # no window may be infinite, but stays in its own row, which is discarded.
        lse = tl.load(lse_ptr + offset * dilation, mask=is_row, other=float("inf"))
        delta = tl.load(delta_ptr + offset * dilation, mask=is_row, other=0.0)
        seen = is_row[None, :]
        if EDGE:
            seen = seen & (number[None, :] >= first[:, None]) & (number[None, :] < last[:, None])
        kept = None
        if DROPOUT:
            kept = is_kept(seed, row_and_head, residue + number * dilation, first_key, n_dropped, 0, Q, K, True)
        acc_k, acc_v = add_to_keys(
            acc_k, acc_v, k, v, q, grad, lse, delta, seen, kept, scale_log2, factor, EDGE, DROPOUT, PRECISION
        )
    return acc_k, acc_v


@triton.jit(do_not_specialize=["n_blocks", "n_tokens", "n_slots", "left", "right", "n_dropped"])
@no_type_check
def key_kernel(
    q_ptr, k_ptr, v_ptr, grad_ptr, lse_ptr, delta_ptr, grad_k_ptr, grad_v_ptr, grad_k_slot_ptr, grad_v_slot_ptr,
    kind_ptr, first_ptr, last_ptr, dilation_ptr, seed_ptr,
    q_row, q_head, q_token, k_row, k_head, k_token, v_row, v_head, v_token, grad_row, grad_head, grad_token,
    n_blocks, n_heads, n_tokens, n_slots, left, right, scale, n_dropped, factor,
    WIDTH: tl.constexpr, PADDED: tl.constexpr, Q: tl.constexpr, K: tl.constexpr,
    DILATED: tl.constexpr, KEYED: tl.constexpr, BOUNDED: tl.constexpr, SLOTTED: tl.constexpr,
    DROPOUT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write the gradients of a block of keys and values; those of global keys come from `slot_kernel`."""
    row, head, dilation, residue, length, number = find_block(dilation_ptr, n_blocks, n_heads, n_tokens, K, DILATED)
    # The queries that see a key are those that it would see with left and right exchanged.
    is_key, first, last, start, all_from, all_to, stop = find_range(
        number, first_ptr, last_ptr, row, dilation, residue, length, n_tokens, right, left, Q, K, BOUNDED
    )
    row64, head64 = row.to(tl.int64), head.to(tl.int64)
    row_and_head = row * n_heads + head
    key = residue + number * dilation
    is_row = number < length
    at = row64 * n_tokens + key
    k_ptr += row64 * k_row + head64 * k_head
    v_ptr += row64 * v_row + head64 * v_head
    kind = tl.full([K], -1, tl.int32)
    if KEYED:
        kind = tl.load(kind_ptr + at, mask=is_row, other=-2)
    is_key = is_key & (kind == -1)
    k = load_rows(k_ptr, key.to(tl.int64) * k_token, is_key, WIDTH, PADDED, True)
    v = load_rows(v_ptr, key.to(tl.int64) * v_token, is_key, WIDTH, PADDED, True)
    residue64 = tl.zeros([], tl.int64) + residue
    q_ptr += row64 * q_row + head64 * q_head + residue64 * q_token
    grad_ptr += row64 * grad_row + head64 * grad_head + residue64 * grad_token
    lse_ptr += row_and_head.to(tl.int64) * n_tokens + residue
    delta_ptr += row_and_head.to(tl.int64) * n_tokens + residue
    q_step = (tl.zeros([], tl.int64) + dilation) * q_token
    grad_step = (tl.zeros([], tl.int64) + dilation) * grad_token
    first_key = tl.min(number)
    scale_log2 = scale * 1.4426950408889634
    seed = 0
    if DROPOUT:
        seed = tl.load(seed_ptr)
    acc_k = tl.zeros([K, PADDED], tl.float32)
    acc_v = tl.zeros([K, PADDED], tl.float32)
    acc_k, acc_v = add_window_to_keys(
        acc_k, acc_v, k, v, q_ptr, grad_ptr, lse_ptr, delta_ptr, q_step, grad_step, dilation, residue, length, start,
        all_from, all_to, stop, first, last, scale_log2, seed, row_and_head, n_dropped, factor, first_key,
        WIDTH, PADDED, Q, K, True, DROPOUT, PRECISION,
    )  # fmt: skip
    acc_k, acc_v = add_window_to_keys(
        acc_k, acc_v, k, v, q_ptr, grad_ptr, lse_ptr, delta_ptr, q_step, grad_step, dilation, residue, length, start,
        all_from, all_to, stop, first, last, scale_log2, seed, row_and_head, n_dropped, factor, first_key,
        WIDTH, PADDED, Q, K, False, DROPOUT, PRECISION,
    )  # fmt: skip
    acc_k = tl.where(is_key[:, None], acc_k, 0.0)
    acc_v = tl.where(is_key[:, None], acc_v, 0.0)
    if SLOTTED:
        is_slot = kind >= 0
        at_slot = (row_and_head.to(tl.int64) * n_slots + kind) * WIDTH
        acc_k += load_rows(grad_k_slot_ptr, at_slot, is_slot, WIDTH, PADDED, True)
        acc_v += load_rows(grad_v_slot_ptr, at_slot, is_slot, WIDTH, PADDED, True)
    store_rows(grad_k_ptr + head64 * WIDTH, at * n_heads * WIDTH, acc_k * scale, is_row, WIDTH, PADDED)
    store_rows(grad_v_ptr + head64 * WIDTH, at * n_heads * WIDTH, acc_v, is_row, WIDTH, PADDED)


@triton.jit(do_not_specialize=["n_tokens", "n_slots", "n_parts", "n_queries", "n_dropped"])
@no_type_check
def slot_kernel(
    q_ptr, k_ptr, v_ptr, grad_ptr, lse_ptr, delta_ptr, part_ptr,
    first_ptr, last_ptr, slot_ptr, first_slot_ptr, last_slot_ptr, seed_ptr,
    q_row, q_head, q_token, k_row, k_head, k_token, v_row, v_head, v_token, grad_row, grad_head, grad_token,
    n_rows, n_heads, n_tokens, n_slots, n_parts, n_queries, scale, n_dropped, factor,
    WIDTH: tl.constexpr, PADDED: tl.constexpr, Q: tl.constexpr, G: tl.constexpr,
    BOUNDED: tl.constexpr, RANGED: tl.constexpr, DROPOUT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write what `n_queries` consecutive queries (one part) add to the gradients of one block of global columns.

    The result is [part, k or v, row, head, slot, width] in float32, to be summed over the parts. The gradient of the
    keys lacks the scale, as the sums in `key_kernel` do.
    """
    program = tl.program_id(0)
    part = program % n_parts
    n_slot_blocks = tl.cdiv(n_slots, G)
    slot_block = (program // n_parts) % n_slot_blocks
    row_and_head = program // n_parts // n_slot_blocks
    row64, head64 = (row_and_head // n_heads).to(tl.int64), (row_and_head % n_heads).to(tl.int64)
    slot = slot_block * G + tl.arange(0, G)
    position = tl.load(slot_ptr + row64 * n_slots + slot, mask=slot < n_slots, other=n_tokens)
    is_slot = position < n_tokens
    k_ptr += row64 * k_row + head64 * k_head
    v_ptr += row64 * v_row + head64 * v_head
    k = load_rows(k_ptr, position.to(tl.int64) * k_token, is_slot, WIDTH, PADDED, True)
    v = load_rows(v_ptr, position.to(tl.int64) * v_token, is_slot, WIDTH, PADDED, True)
    start = part * n_queries
    stop = tl.minimum(start + n_queries, n_tokens)
    if BOUNDED:
        # Only documents with one of the slots.
        bound = row64 * n_tokens + position
        from_position = tl.min(tl.load(first_ptr + bound, mask=is_slot, other=n_tokens))
        start = tl.maximum(start, from_position // Q * Q)
        stop = tl.minimum(stop, tl.max(tl.load(last_ptr + bound, mask=is_slot, other=0)))
    q_ptr += row64 * q_row + head64 * q_head
    grad_ptr += row64 * grad_row + head64 * grad_head
    lse_ptr += row_and_head.to(tl.int64) * n_tokens
    delta_ptr += row_and_head.to(tl.int64) * n_tokens
    scale_log2 = scale * 1.4426950408889634
    seed = 0
    if DROPOUT:
        seed = tl.load(seed_ptr)
    acc_k = tl.zeros([G, PADDED], tl.float32)
    acc_v = tl.zeros([G, PADDED], tl.float32)
    for n in range(start, stop, Q):
        query = n + tl.arange(0, Q)
        is_row = query < stop
        offset = query.to(tl.int64)
        q = load_rows(q_ptr, offset * q_token, is_row, WIDTH, PADDED, True)
        grad = load_rows(grad_ptr, offset * grad_token, is_row, WIDTH, PADDED, True)
        lse = tl.load(lse_ptr + query, mask=is_row, other=float("inf"))
        delta = tl.load(delta_ptr + query, mask=is_row, other=0.0)
        seen = is_row[None, :]
        if RANGED:
            at = row64 * n_tokens + query
            first_slot = tl.load(first_slot_ptr + at, mask=is_row, other=n_slots)
            last_slot = tl.load(last_slot_ptr + at, mask=is_row, other=0)
            seen = (slot[:, None] >= first_slot[None, :]) & (slot[:, None] < last_slot[None, :])
        kept = None
        if DROPOUT:
            kept = is_kept(seed, row_and_head, query, slot_block * G, n_dropped, 1, Q, G, True)
        acc_k, acc_v = add_to_keys(
            acc_k, acc_v, k, v, q, grad, lse, delta, seen, kept, scale_log2, factor, RANGED, DROPOUT, PRECISION
        )
    size = (tl.zeros([], tl.int64) + n_rows) * n_heads * n_slots * WIDTH
    at_slot = (row_and_head.to(tl.int64) * n_slots + slot) * WIDTH
    part_ptr += part.to(tl.int64) * 2 * size
    store_rows(part_ptr, at_slot, acc_k, slot < n_slots, WIDTH, PADDED)
    store_rows(part_ptr + size, at_slot, acc_v, slot < n_slots, WIDTH, PADDED)
