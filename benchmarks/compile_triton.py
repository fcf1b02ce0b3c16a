"""Compile the Triton kernels of a call for a GPU that need not be present, and report the resources of each kernel.

Triton's interpreter, which runs the kernels on a CPU in tests, accepts code that the compiler refuses, and does not
model registers or shared memory. This compiles to machine code with Triton's own ptxas. tune_triton.py and the tests
use it.
"""

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from longspan.attention.triton import launch
from longspan.attention.triton.tile_table import Tiles, TileSet, tiles_for
from longspan.attention.triton.visibility import Visibility

_POINTERS = {
    torch.float32: "*fp32",
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.int32: "*i32",
    torch.int64: "*i64",
}


class CompiledKernel(NamedTuple):
    """The resources of one kernel on one GPU.

    Attributes:
        kernel: name of the kernel.
        tiles: how it is launched.
        n_registers: registers per thread, at most 255.
        n_spilled: bytes per thread that were spilled from registers to memory.
        n_shared: bytes of shared memory per program.
        n_warpgroup_products: matrix products of Hopper's warp groups (wgmma) in the code.
        n_copies: asynchronous copies to shared memory (cp.async) in the code.
    """

    kernel: str
    tiles: Tiles
    n_registers: int
    n_spilled: int
    n_shared: int
    n_warpgroup_products: int
    n_copies: int


def compile_call(
    capability: tuple[int, int],
    dtype: torch.dtype,
    width: int,
    *,
    everything: bool = False,
    dropout: bool = False,
    tile_set: TileSet | None = None,
) -> list[CompiledKernel]:
    """The kernels of one call and its backward: two rows of 12 heads x 4,096 tokens, window 512.

    Args:
        capability: compute capability of the GPU, (9, 0) for an H100.
        dtype: dtype of the vectors.
        width: width per head.
        everything: with padding, documents, global tokens and dilations per head; else a plain window.
        dropout: with dropout.
        tile_set: tiles; None for those of the table.
    """
    B, H, T, G = 2, 12, 4096, 20

    def whole(*shape: int) -> Tensor:
        return torch.empty(*shape, dtype=torch.int32, device="meta")

    # On the meta device, since nothing is computed.
    q, k, v = torch.empty(B, T, 3, H, width, dtype=dtype, device="meta").permute(2, 0, 3, 1, 4)
    out = torch.empty(B, T, H, width, dtype=dtype, device="meta").transpose(1, 2)
    masks = [whole(B, T), whole(B, T), whole(B, T), whole(B, G), whole(B, T), whole(B, T)]
    compiler = OfflineCompiler(capability)
    call = launch.TritonCall(
        q, k, v,
        Visibility(*masks) if everything else Visibility(),
        seed=torch.zeros(1, dtype=torch.int64) if dropout else None,
        dilations=tuple(1 + head % 2 for head in range(H)) if everything else (1,) * H,
        left=256, right=256, scale=width**-0.5, dropout_p=0.1 if dropout else 0.0,
        tile_set=tile_set or tiles_for(capability, dtype, launch.padded(width)),
        run=compiler,
    )  # fmt: skip
    lse = torch.empty(B, H, T, device="meta")
    launch.forward(call, out, lse)
    launch.backward(call, out, out, lse, out, out, out)
    return compiler.compiled


class OfflineCompiler:
    """Replaces `launch.run`: compiles each kernel and appends it to `compiled`; no output is written."""

    def __init__(self, capability: tuple[int, int]) -> None:
        self._target = GPUTarget("cuda", 10 * capability[0] + capability[1], 32)
        self.compiled: list[CompiledKernel] = []

    def __call__(self, kernel: Any, n_programs: int, tiles: Tiles, arguments: dict[str, Any]) -> None:
        """Compile `kernel` as a launch with these arguments would.

        Raises:
            triton.CompilationError: the compiler refuses the kernel.
        """
        signature, constants, attributes = {}, {}, {}
        for i, parameter in enumerate(kernel.params):
            value = arguments[parameter.name]
            signature[parameter.name] = kind = _type_of(parameter, value)
            if kind == "constexpr":
                constants[parameter.name] = value
            elif isinstance(value, Tensor) or (
                isinstance(value, int) and value % 16 == 0 and not parameter.do_not_specialize
            ):
                attributes[(i,)] = [["tt.divisibility", 16]]
        code = triton.compile(
            ASTSource(kernel, signature, constexprs=constants, attrs=attributes),
            target=self._target,
            options={"num_warps": tiles.n_warps, "num_stages": tiles.n_stages},
        )
        n_registers, n_spilled = _resources(code.asm["cubin"])
        self.compiled.append(
            CompiledKernel(
                kernel.fn.__name__,
                tiles,
                n_registers,
                n_spilled,
                code.metadata.shared,
                code.asm["ptx"].count("wgmma.mma_async"),
                code.asm["ptx"].count("cp.async.c"),
            )
        )


def _type_of(parameter: Any, value: Any) -> str:
    if parameter.is_constexpr or value is None:
        return "constexpr"
    if isinstance(value, Tensor):
        return _POINTERS[value.dtype]
    if isinstance(value, int) and value == 1 and not parameter.do_not_specialize:
        return "constexpr"
    if isinstance(value, float):
        return "fp32"
    return "i32" if value < 2**31 else "i64"


def _resources(cubin: bytes) -> tuple[int, int]:
    """Registers per thread, and bytes of its stack."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        text = subprocess.run(
            [tool, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True
        ).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", text)
    assert found is not None, text
    return int(found[1]), int(found[2])
