"""Device functions that the kernels share: the rows of a program, their visible range, loads, stores and dropout.

A program computes one block of one residue class. With dilation d, class r holds positions r, r + d, r + 2d, ..., and
number n of the class is position r + d n. Within a class a dilated window has no gaps, so that all window bounds are
numbers of the class. A class is a stride, so that no data is copied.

`no_type_check` below each `triton.jit` keeps jaxtyping's import hook (in tests) from wrapping source that triton reads.

Q queries of a tile  K keys of a tile  D width per head, padded to a power of two
"""

from typing import no_type_check

import triton
import triton.language as tl

# Philox with 7 rounds passes the randomness tests of its authors (Salmon et al. 2011, table 2).
PHILOX_ROUNDS = tl.constexpr(7)


@triton.jit
@no_type_check
def find_block(dilation_ptr, n_blocks, n_heads, n_tokens, BLOCK: tl.constexpr, DILATED: tl.constexpr):
    """Row, head, dilation, residue class, length of the class, and the numbers of this program's block in it."""
    program = tl.program_id(0)
    row_and_head = program // n_blocks
    block = program % n_blocks
    row = row_and_head // n_heads
    head = row_and_head % n_heads
    if DILATED:
        dilation = tl.load(dilation_ptr + head)
        n_blocks_of_class = tl.cdiv(tl.cdiv(n_tokens, dilation), BLOCK)
        residue = block // n_blocks_of_class
        block = block % n_blocks_of_class
        # Heads with a small dilation have fewer blocks than the grid; their other programs get a class without tokens.
        length = tl.where(residue < dilation, (n_tokens - residue + dilation - 1) // dilation, 0)
    else:
        dilation = 1
        residue = 0
        length = n_tokens
    return row, head, dilation, residue, length, block * BLOCK + tl.arange(0, BLOCK)


@triton.jit
@no_type_check
def find_range(
    number, first_ptr, last_ptr, row, dilation, residue, length, n_tokens, before, after, REACH: tl.constexpr,
    BLOCK: tl.constexpr, BOUNDED: tl.constexpr,
):  # fmt: skip
    """The visible range of each number of a block, and the tiles of size REACH that cover these ranges.

    Number n sees the numbers n - `before` to n + `after` of its class, within its document (BOUNDED).

    Returns:
        Whether each number is a token; the first number that it sees and the one after the last; and four bounds of
        tiles. Between the second and the third bound, all numbers see all. Between the first and second, and between
        the third and fourth (the edges), some pairs are hidden.
    """
    is_token = number < length
    first = tl.maximum(number - before, 0)
    last = tl.minimum(number + after + 1, length)
    if BOUNDED:
        position = residue + number * dilation
        at = row.to(tl.int64) * n_tokens + position
        # At padding `first` is n_tokens and `last` is 0.
        first_position = tl.load(first_ptr + at, mask=is_token, other=n_tokens)
        last_position = tl.load(last_ptr + at, mask=is_token, other=0)
        is_token = first_position < last_position
        first = tl.maximum(first, (tl.maximum(first_position - residue, 0) + dilation - 1) // dilation)
        last = tl.minimum(last, (tl.maximum(last_position - residue, 0) + dilation - 1) // dilation)
    start = tl.min(tl.where(is_token, first, length)) // REACH * REACH
    stop = tl.cdiv(tl.max(tl.where(is_token, last, 0)), REACH) * REACH
    all_from = tl.cdiv(tl.max(tl.where(is_token, first, 0)), REACH) * REACH
    all_to = tl.min(tl.where(is_token, last, length)) // REACH * REACH
    all_from = tl.minimum(tl.maximum(all_from, start), stop)
    all_to = tl.maximum(tl.minimum(all_to, stop), all_from)
    return is_token, first, last, start, all_from, all_to, stop


@triton.jit
@no_type_check
def load_rows(pointer, offset, is_row, WIDTH: tl.constexpr, PADDED: tl.constexpr, CHECKED: tl.constexpr):
    """Load the vectors at `pointer` + `offset`; zeros where `is_row` is False (with CHECKED) and beyond WIDTH."""
    column = tl.arange(0, PADDED)
    at = pointer + offset[:, None] + column[None, :]
    if CHECKED:
        if WIDTH == PADDED:
            x = tl.load(at, mask=is_row[:, None], other=0.0)
        else:
            x = tl.load(at, mask=is_row[:, None] & (column < WIDTH)[None, :], other=0.0)
    elif WIDTH == PADDED:
        x = tl.load(at)
    else:
        x = tl.load(at, mask=(column < WIDTH)[None, :], other=0.0)
    return x


@triton.jit
@no_type_check
def store_rows(pointer, offset, x, is_row, WIDTH: tl.constexpr, PADDED: tl.constexpr):
    """Store the rows where `is_row`."""
    column = tl.arange(0, PADDED)
    at = pointer + offset[:, None] + column[None, :]
    tl.store(at, x.to(pointer.dtype.element_ty), mask=is_row[:, None] & (column < WIDTH)[None, :])


@triton.jit
@no_type_check
def is_kept(
    seed, row_and_head, query, first_key, n_dropped, STREAM: tl.constexpr, Q: tl.constexpr, K: tl.constexpr,
    KEYS_FIRST: tl.constexpr,
):  # fmt: skip
    """Which probabilities of a tile dropout keeps: [Q, K], or [K, Q] with KEYS_FIRST.

    One Philox draw, keyed by seed, batch row and head, query and a group of four keys, decides four probabilities. The
    result does not depend on the kernel or on the tile size.
    """
    group = first_key // 4 + tl.arange(0, K // 4)
    if KEYS_FIRST:
        nil = tl.zeros([K // 4, Q], tl.int32)
        c0, c1 = nil + query[None, :], nil + group[:, None]
    else:
        nil = tl.zeros([Q, K // 4], tl.int32)
        c0, c1 = nil + query[:, None], nil + group[None, :]
    r0, r1, r2, r3 = tl.philox(seed, c0, c1, nil + row_and_head, nil + STREAM, PHILOX_ROUNDS)
    # 31 of the 32 bits, so that they compare as int32.
    s0 = ((r0 >> 1).to(tl.int32) >= n_dropped).to(tl.int8)
    s1 = ((r1 >> 1).to(tl.int32) >= n_dropped).to(tl.int8)
    s2 = ((r2 >> 1).to(tl.int32) >= n_dropped).to(tl.int8)
    s3 = ((r3 >> 1).to(tl.int32) >= n_dropped).to(tl.int8)
    four = tl.join(tl.join(s0, s2), tl.join(s1, s3))
    kept = tl.reshape(tl.permute(four, (0, 2, 3, 1)), (K, Q)) if KEYS_FIRST else tl.reshape(four, (Q, K))
    return kept != 0
