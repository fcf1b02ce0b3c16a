"""The forward kernel: one program computes one block of queries of one residue class, with one online softmax.

It visits the global columns first, gathered by position, and then the tiles of the window, where it skips global keys
(each key counts once). Beside the output it saves the base-2 log-sum-exp of each row. That is infinite for a row that
sees nothing, so that all its probabilities are zero in the backward.

Q queries of a tile  K keys of a tile  D width per head, padded to a power of two
"""

from typing import no_type_check

import triton
import triton.language as tl

from longspan.attention.triton.device_functions import find_block, find_range, is_kept, load_rows, store_rows


@triton.jit
@no_type_check
def add_keys(acc, top, total, q, k, v, seen, kept, scale_log2, factor, MASKED: tl.constexpr, DROPOUT: tl.constexpr,
             PRECISION: tl.constexpr):  # fmt: skip
    """Add a tile of keys to the online softmax (Milakov & Gimelshein 2018): weighted sum of values, maximum, sum."""
    score = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale_log2
    if MASKED:
        score = tl.where(seen, score, -float("inf"))
    new_top = tl.maximum(top, tl.max(score, 1))
    # For a row that has seen nothing yet, -inf - -inf would be NaN.
    base = tl.where(new_top == -float("inf"), 0.0, new_top)
    prob = tl.math.exp2(score - base[:, None])
    shrink = tl.math.exp2(top - base)
    total = total * shrink + tl.sum(prob, 1)
    if DROPOUT:
        prob = tl.where(kept, prob * factor, 0.0)
    acc = tl.dot(prob.to(v.dtype), v, acc * shrink[:, None], input_precision=PRECISION)
    return acc, new_top, total


@triton.jit
@no_type_check
def add_window(
    acc, top, total, q, k_ptr, v_ptr, kind_ptr, k_step, v_step, dilation, length, start, all_from, all_to, stop,
    first, last, scale_log2, seed, row_and_head, query, n_dropped, factor,
    WIDTH: tl.constexpr, PADDED: tl.constexpr, Q: tl.constexpr, K: tl.constexpr,
    EDGE: tl.constexpr, KEYED: tl.constexpr, DROPOUT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Add the tiles whose keys all queries see, or with EDGE the tiles at both edges of the window."""
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
            # Global keys are columns and padding is no key: neither is read.
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
        acc, top, total = add_keys(
            acc, top, total, q, k, v, seen, kept, scale_log2, factor, EDGE or KEYED, DROPOUT, PRECISION
        )
    return acc, top, total


@triton.jit(do_not_specialize=["n_blocks", "n_tokens", "n_slots", "left", "right", "n_dropped"])
@no_type_check
def forward_kernel(
    q_ptr, k_ptr, v_ptr, out_ptr, lse_ptr,
    kind_ptr, first_ptr, last_ptr, slot_ptr, first_slot_ptr, last_slot_ptr, dilation_ptr, seed_ptr,
    q_row, q_head, q_token, k_row, k_head, k_token, v_row, v_head, v_token,
    n_blocks, n_heads, n_tokens, n_slots, left, right, scale, n_dropped, factor,
    WIDTH: tl.constexpr, PADDED: tl.constexpr, Q: tl.constexpr, K: tl.constexpr, G: tl.constexpr,
    DILATED: tl.constexpr, KEYED: tl.constexpr, BOUNDED: tl.constexpr, SLOTTED: tl.constexpr, RANGED: tl.constexpr,
    DROPOUT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write output and log-sum-exp of one block; `launch.forward` makes the arguments; strides are in elements."""
    row, head, dilation, residue, length, number = find_block(dilation_ptr, n_blocks, n_heads, n_tokens, Q, DILATED)
    is_query, first, last, start, all_from, all_to, stop = find_range(
        number, first_ptr, last_ptr, row, dilation, residue, length, n_tokens, left, right, K, Q, BOUNDED
    )
    row64, head64 = row.to(tl.int64), head.to(tl.int64)
    row_and_head = row * n_heads + head
    query = residue + number * dilation
    is_row = number < length
    q_ptr += row64 * q_row + head64 * q_head
    k_ptr += row64 * k_row + head64 * k_head
    v_ptr += row64 * v_row + head64 * v_head
    q = load_rows(q_ptr, query.to(tl.int64) * q_token, is_row, WIDTH, PADDED, True)
    scale_log2 = scale * 1.4426950408889634
    seed = 0
    if DROPOUT:
        seed = tl.load(seed_ptr)
    acc = tl.zeros([Q, PADDED], tl.float32)
    top = tl.full([Q], -float("inf"), tl.float32)
    total = tl.zeros([Q], tl.float32)

    if SLOTTED:
        slot_start, slot_stop = 0, n_slots
        slot_ptr += row64 * n_slots
        if RANGED:
            at = row64 * n_tokens + query
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
            acc, top, total = add_keys(
                acc, top, total, q, k, v, seen, kept, scale_log2, factor, True, DROPOUT, PRECISION
            )

    if KEYED:
        kind_ptr += row64 * n_tokens + residue
    residue64 = tl.zeros([], tl.int64) + residue
    k_ptr += residue64 * k_token
    v_ptr += residue64 * v_token
    k_step = (tl.zeros([], tl.int64) + dilation) * k_token
    v_step = (tl.zeros([], tl.int64) + dilation) * v_token
    acc, top, total = add_window(
        acc, top, total, q, k_ptr, v_ptr, kind_ptr, k_step, v_step, dilation, length, start, all_from, all_to, stop,
        first, last, scale_log2, seed, row_and_head, query, n_dropped, factor,
        WIDTH, PADDED, Q, K, True, KEYED, DROPOUT, PRECISION,
    )  # fmt: skip
    acc, top, total = add_window(
        acc, top, total, q, k_ptr, v_ptr, kind_ptr, k_step, v_step, dilation, length, start, all_from, all_to, stop,
        first, last, scale_log2, seed, row_and_head, query, n_dropped, factor,
        WIDTH, PADDED, Q, K, False, KEYED, DROPOUT, PRECISION,
    )  # fmt: skip

    sees = is_query & (total != 0)
    # Written so that NaN is kept.
    out = tl.where(sees[:, None], acc / tl.where(sees, total, 1.0)[:, None], 0.0)
    lse = tl.where(sees, top + tl.math.log2(tl.where(sees, total, 1.0)), float("inf"))
    at = row64 * n_tokens + query
    store_rows(out_ptr + head64 * WIDTH, at * n_heads * WIDTH, out, is_row, WIDTH, PADDED)
    tl.store(lse_ptr + row_and_head.to(tl.int64) * n_tokens + query, lse, mask=is_row)
