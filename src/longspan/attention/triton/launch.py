"""Launches of the kernels for tensors: grids, strides, and the variant of each kernel.

B batch rows  T tokens  H attention heads  D width per head  G global slots
"""

import contextlib
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from longspan.attention.triton import backward as backward_file
from longspan.attention.triton import forward as forward_file
from longspan.attention.triton.tile_table import Tiles, TileSet, tiles_for
from longspan.attention.triton.visibility import Visibility

# The number of programs of `slot_kernel` that keeps a large GPU busy: a few for each multiprocessor.
N_SLOT_PROGRAMS = 512


def run(kernel: Any, n_programs: int, tiles: Tiles, arguments: dict[str, Any]) -> None:
    """Launch a kernel on the current device."""
    kernel[(n_programs,)](**arguments, num_warps=tiles.n_warps, num_stages=tiles.n_stages)


class TritonCall(NamedTuple):
    """What all launches of one call share; `run` launches a kernel (or compiles it, benchmarks/compile_triton.py)."""

    q_BHTD: Tensor
    k_BHTD: Tensor
    v_BHTD: Tensor
    visibility: Visibility
    seed: Tensor | None
    dilations: tuple[int, ...]
    left: int
    right: int
    scale: float
    dropout_p: float
    tile_set: TileSet
    run: Callable[[Any, int, Tiles, dict[str, Any]], None] = run

    @staticmethod
    def of(
        q_BHTD: Tensor,
        k_BHTD: Tensor,
        v_BHTD: Tensor,
        visibility: tuple[Tensor | None, ...],
        seed: Tensor | None,
        dilations: list[int],
        left: int,
        right: int,
        scale: float,
        dropout_p: float,
    ) -> "TritonCall":
        """The call for the arguments of the operator, with vectors made contiguous along the last axis."""
        T, D = q_BHTD.shape[2:]
        return TritonCall(
            _rows(q_BHTD), _rows(k_BHTD), _rows(v_BHTD),
            Visibility(*visibility), seed, tuple(dilations), min(left, T), min(right, T), scale, dropout_p,
            tiles_for(_capability(q_BHTD.device), q_BHTD.dtype, padded(D)),
        )  # fmt: skip

    def masks(self) -> dict[str, Any]:
        """Pointers to window bounds and the dropout seed, and flags for those that exist."""
        visibility = self.visibility
        return {
            "first_ptr": visibility.first_BT,
            "last_ptr": visibility.last_BT,
            "seed_ptr": self.seed,
            "BOUNDED": visibility.first_BT is not None,
            "DROPOUT": self.seed is not None,
        }

    def numbers(self) -> dict[str, Any]:
        """Pointers to q, k and v, sizes, strides and factors."""
        _, H, T, D = self.q_BHTD.shape
        slot_BG = self.visibility.slot_BG
        n_dropped = min(round(self.dropout_p * 2**31), 2**31 - 1)
        return {
            **_strides(q=self.q_BHTD, k=self.k_BHTD, v=self.v_BHTD),
            "q_ptr": self.q_BHTD,
            "k_ptr": self.k_BHTD,
            "v_ptr": self.v_BHTD,
            "n_heads": H,
            "n_tokens": T,
            "n_slots": 0 if slot_BG is None else slot_BG.shape[1],
            "scale": self.scale,
            "n_dropped": n_dropped,
            "factor": 2**31 / (2**31 - n_dropped),
            "WIDTH": D,
            "PADDED": padded(D),
            "PRECISION": _precision(self.q_BHTD),
        }

    def window(self) -> dict[str, Any]:
        """The arguments of kernels that visit windows."""
        visibility = self.visibility
        is_dilated = any(d > 1 for d in self.dilations)
        return {
            **self.masks(),
            **self.numbers(),
            "kind_ptr": visibility.kind_BT,
            "dilation_ptr": _on_device(self.dilations, self.q_BHTD.device) if is_dilated else None,
            "left": self.left,
            "right": self.right,
            "DILATED": is_dilated,
            "KEYED": visibility.kind_BT is not None,
            "SLOTTED": visibility.slot_BG is not None,
        }

    def slots(self) -> dict[str, Any]:
        """The arguments of kernels that read global columns."""
        visibility = self.visibility
        return {
            "slot_ptr": visibility.slot_BG,
            "first_slot_ptr": visibility.first_slot_BT,
            "last_slot_ptr": visibility.last_slot_BT,
            "RANGED": visibility.first_slot_BT is not None,
        }

    def slots_per_tile(self) -> int:
        """The number of slots in a tile, small if the call has few slots, since a tile is computed whole."""
        slot_BG = self.visibility.slot_BG
        return 16 if slot_BG is None else min(64, max(16, _power_of_two(slot_BG.shape[1])))

    def n_blocks(self, block: int) -> int:
        """The number of blocks of one row and head, over all residue classes, for the head that needs most."""
        T = self.q_BHTD.shape[2]
        return max(d * _ceil_div(_ceil_div(T, d), block) for d in set(self.dilations))


def forward(call: TritonCall, out_BHTD: Tensor, lse_BHT: Tensor) -> None:
    """Write the output and the log-sum-exp."""
    B, H = call.q_BHTD.shape[:2]
    tiles = call.tile_set.forward
    n_blocks = call.n_blocks(tiles.queries)
    arguments = {
        **call.window(),
        **call.slots(),
        "out_ptr": out_BHTD,
        "lse_ptr": lse_BHT,
        "n_blocks": n_blocks,
        "Q": tiles.queries,
        "K": tiles.keys,
        "G": call.slots_per_tile(),
    }
    with _on(call.q_BHTD.device):
        call.run(forward_file.forward_kernel, n_blocks * B * H, tiles, arguments)


def backward(
    call: TritonCall,
    grad_BHTD: Tensor,
    out_BHTD: Tensor,
    lse_BHT: Tensor,
    grad_q_BHTD: Tensor,
    grad_k_BHTD: Tensor,
    grad_v_BHTD: Tensor,
) -> None:
    """Write the gradients of q, k and v."""
    grad_BHTD = _rows(grad_BHTD)
    # The kernels need the memory layout that `operators` gives the output.
    out_BHTD = out_BHTD.transpose(1, 2).contiguous().transpose(1, 2)
    lse_BHT = lse_BHT.contiguous()
    delta_BHT = torch.empty_like(lse_BHT)
    of_grad = {**_strides(grad=grad_BHTD), "grad_ptr": grad_BHTD, "lse_ptr": lse_BHT, "delta_ptr": delta_BHT}
    with _on(call.q_BHTD.device):
        _query_gradients(call, {**of_grad, "out_ptr": out_BHTD, "grad_q_ptr": grad_q_BHTD})
        of_slots_2BHGD = None if call.visibility.slot_BG is None else _slot_gradients(call, of_grad)
        of_keys = {
            "grad_k_ptr": grad_k_BHTD,
            "grad_v_ptr": grad_v_BHTD,
            "grad_k_slot_ptr": None if of_slots_2BHGD is None else of_slots_2BHGD[0],
            "grad_v_slot_ptr": None if of_slots_2BHGD is None else of_slots_2BHGD[1],
        }
        _key_gradients(call, {**of_grad, **of_keys})


def _query_gradients(call: TritonCall, pointers: dict[str, Any]) -> None:
    B, H = call.q_BHTD.shape[:2]
    tiles = call.tile_set.query
    n_blocks = call.n_blocks(tiles.queries)
    of_tiles = {"n_blocks": n_blocks, "Q": tiles.queries, "K": tiles.keys, "G": call.slots_per_tile()}
    arguments = {**call.window(), **call.slots(), **pointers, **of_tiles}
    call.run(backward_file.query_kernel, n_blocks * B * H, tiles, arguments)


def _key_gradients(call: TritonCall, pointers: dict[str, Any]) -> None:
    B, H = call.q_BHTD.shape[:2]
    tiles = call.tile_set.key
    n_blocks = call.n_blocks(tiles.keys)
    of_tiles = {"n_blocks": n_blocks, "Q": tiles.queries, "K": tiles.keys}
    call.run(backward_file.key_kernel, n_blocks * B * H, tiles, {**call.window(), **pointers, **of_tiles})


def _slot_gradients(call: TritonCall, pointers: dict[str, Any]) -> Tensor:
    """The gradients of k (without the scale) and v of the global columns, float32 [2, B, H, G, D].

    Every query contributes. Each program sums a part of the queries, and torch sums the parts in a fixed order. Atomic
    additions would move as many bytes and give different bits in every run.
    """
    B, H, T, D = call.q_BHTD.shape
    assert call.visibility.slot_BG is not None
    G = call.visibility.slot_BG.shape[1]
    tiles = call.tile_set.slot
    n_slot_blocks = _ceil_div(G, tiles.keys)
    n_tiles = _ceil_div(T, tiles.queries)
    n_parts = min(n_tiles, max(1, N_SLOT_PROGRAMS // (B * H * n_slot_blocks)))
    n_queries = _ceil_div(n_tiles, n_parts) * tiles.queries
    n_parts = _ceil_div(T, n_queries)
    part_P2BHGD = torch.empty(n_parts, 2, B, H, G, D, dtype=torch.float32, device=call.q_BHTD.device)
    arguments = {
        **call.masks(),
        **call.numbers(),
        **call.slots(),
        **pointers,
        "part_ptr": part_P2BHGD,
        "n_rows": B,
        "n_parts": n_parts,
        "n_queries": n_queries,
        "Q": tiles.queries,
        "G": tiles.keys,
    }
    call.run(backward_file.slot_kernel, n_parts * n_slot_blocks * B * H, tiles, arguments)
    return part_P2BHGD[0] if n_parts == 1 else part_P2BHGD.sum(dim=0)


def padded(width: int) -> int:
    """The next power of two, at least what a product of tiles needs."""
    return max(16, _power_of_two(width))


def _power_of_two(n: int) -> int:
    return 1 << (n - 1).bit_length()


def _ceil_div(n: int, size: int) -> int:
    """How many tiles hold `n`."""
    return -(-n // size)


def _rows(x_BHTD: Tensor) -> Tensor:
    """`x_BHTD` with its last axis contiguous; other axes as they are."""
    return x_BHTD if x_BHTD.stride(-1) == 1 else x_BHTD.contiguous()


def _strides(**tensors: Tensor) -> dict[str, int]:
    return {
        f"{name}_{axis}": x.stride(i)
        for name, x in tensors.items()
        for i, axis in enumerate(("row", "head", "token"))
    }  # fmt: skip


def _precision(x: Tensor) -> str:
    """The precision of float32 products: TF32 only if the user allows it for torch's products."""
    return "tf32" if x.dtype == torch.float32 and torch.get_float32_matmul_precision() != "highest" else "ieee"


def _on(device: torch.device) -> Any:
    """A context in which `device` is the current one, on which Triton launches."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


@functools.lru_cache(maxsize=64)
def _on_device(numbers: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(numbers, dtype=torch.int32, device=device)


@functools.cache
def _capability(device: torch.device) -> tuple[int, int]:
    # The interpreter has no device and takes the smallest tiles.
    return torch.cuda.get_device_capability(device) if device.type == "cuda" else (0, 0)
