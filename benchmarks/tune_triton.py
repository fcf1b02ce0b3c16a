"""Measure tile sizes of our Triton kernels on the GPU at hand, and print the rows for `tile_table.TABLE`.

python benchmarks/tune_triton.py                                  bfloat16, widths 64 and 128, window 512
python benchmarks/tune_triton.py --dtype float32 --widths 64
python benchmarks/tune_triton.py --compile 9.0 8.0                no GPU needed: registers, spills and shared memory of
                                                                  the table's rows, compiled for these capabilities

Every candidate's result is compared with that of the table's row; one that differs is named and not timed.
"""

import argparse
import itertools
from collections.abc import Iterator
from typing import Any

import torch
import triton
import triton.testing
from compile_triton import compile_call

from longspan.attention.triton import launch
from longspan.attention.triton.tile_table import Tiles, TileSet, tiles_for
from longspan.attention.triton.visibility import Visibility

KERNELS = ("forward", "query", "key", "slot")


def main() -> None:
    """Parse the command line, then compile or measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float16", "float32"])
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128], help="of a head")
    parser.add_argument("--tokens", type=int, default=16_384, help="in a row")
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--window", type=int, default=512, help="attention window, both sides together")
    parser.add_argument("--n-global", type=int, default=16, help="global tokens, for the kernel of their gradients")
    parser.add_argument("--compile", nargs="+", metavar="CAPABILITY", help="compile the table's rows, measure nothing")
    arguments = parser.parse_args()
    dtype = getattr(torch, arguments.dtype)
    for width in arguments.widths:
        if arguments.compile:
            for capability in arguments.compile:
                major, minor = capability.split(".")
                show_compiled((int(major), int(minor)), dtype, width)
        else:
            tune(arguments, dtype, width)


def show_compiled(capability: tuple[int, int], dtype: torch.dtype, width: int) -> None:
    """Print the resources of the table's row for a plain window, for all features at once, and with dropout."""
    for everything, dropout in ((False, False), (True, False), (True, True)):
        of_what = f"{'everything' if everything else 'window'}{' + dropout' if dropout else ''}"
        for x in compile_call(capability, dtype, width, everything=everything, dropout=dropout):
            print(
                f"{capability[0]}.{capability[1]} {str(dtype)[6:]:9} {width:3} {of_what:20} {x.kernel:14}"
                f" {tuple(x.tiles)!s:18} registers {x.n_registers:3} spilled {x.n_spilled:5}"
                f" shared {x.n_shared // 1024:3} KiB wgmma {x.n_warpgroup_products:3}",
                flush=True,
            )


def candidates(kernel: str) -> Iterator[Tiles]:
    """The tiles to try for one kernel."""
    queries, keys = {
        "forward": ((64, 128, 256), (32, 64, 128)),
        "query": ((64, 128), (32, 64, 128)),
        "key": ((32, 64, 128), (64, 128)),
        "slot": ((32, 64, 128), (16, 32, 64)),
    }[kernel]
    for sizes in itertools.product(queries, keys, (4, 8), (2, 3, 4)):
        yield Tiles(*sizes)


class Timed:
    """Replaces `launch.run`: launches every kernel, and times one of them."""

    def __init__(self, kernel: str) -> None:
        self._name = f"{kernel}_kernel"
        self.milliseconds = float("nan")

    def __call__(self, kernel: Any, n_programs: int, tiles: Tiles, arguments: dict[str, Any]) -> None:
        """Launch the kernel once, or many times if it is the one to time."""
        launch.run(kernel, n_programs, tiles, arguments)
        if kernel.fn.__name__ == self._name:
            self.milliseconds = triton.testing.do_bench(lambda: launch.run(kernel, n_programs, tiles, arguments))


def tune(arguments: argparse.Namespace, dtype: torch.dtype, width: int) -> None:
    """Time all candidates for one width, kernel by kernel."""
    capability = torch.cuda.get_device_capability()
    best = start = tiles_for(capability, dtype, launch.padded(width))
    print(f"{torch.cuda.get_device_name()}, {dtype}, width {width}, {arguments}")
    true = compute(arguments, dtype, width, start, launch.run)
    for kernel in KERNELS:
        times: dict[Tiles, float] = {}
        for tiles in dict.fromkeys([getattr(start, kernel), *candidates(kernel)]):
            timed = Timed(kernel)
            try:
                found = compute(arguments, dtype, width, start._replace(**{kernel: tiles}), timed)
            except (triton.runtime.errors.OutOfResources, RuntimeError) as error:
                print(f"  {kernel:8} {tuple(tiles)}: {str(error).splitlines()[0][:90]}")
                continue
            if not all(torch.allclose(x, y, rtol=0.05, atol=0.05) for x, y in zip(found, true, strict=True)):
                print(f"  {kernel:8} {tuple(tiles)}: WRONG RESULT")
                continue
            times[tiles] = timed.milliseconds
            print(f"  {kernel:8} {tuple(tiles)}: {timed.milliseconds:.4f} ms", flush=True)
        quickest = min(times, key=times.__getitem__)
        best = best._replace(**{kernel: quickest})
        print(f"{kernel}: {tuple(quickest)} {times[quickest]:.4f} ms; the table's {times[getattr(start, kernel)]:.4f}")
    shown = ", ".join(f"Tiles{tuple(tiles)}" for tiles in best)
    print(f"    ({capability}, {dtype.itemsize}, {launch.padded(width)}, TileSet({shown})),")


def compute(
    arguments: argparse.Namespace, dtype: torch.dtype, width: int, tile_set: TileSet, run: Any
) -> tuple[torch.Tensor, ...]:
    """Output and gradients of one call with static global tokens."""
    B, H, T, G = arguments.rows, arguments.heads, arguments.tokens, arguments.n_global
    torch.manual_seed(0)
    q, k, v = torch.randn(B, T, 3, H, width, dtype=dtype, device="cuda").permute(2, 0, 3, 1, 4)
    visibility = Visibility()
    if G:
        kind_BT = torch.arange(T, dtype=torch.int32, device="cuda").expand(B, T).contiguous()
        slot_BG = torch.arange(G, dtype=torch.int32, device="cuda").expand(B, G).contiguous()
        visibility = Visibility(kind_BT=kind_BT.masked_fill(kind_BT >= G, -1), slot_BG=slot_BG)
    side = arguments.window // 2
    call = launch.TritonCall(
        q, k, v, visibility, None, (1,) * H, side, side, width**-0.5, 0.0, tile_set, run
    )  # fmt: skip
    out, *grads = (torch.empty(B, T, H, width, dtype=dtype, device="cuda").transpose(1, 2) for _ in range(4))
    lse = torch.empty(B, H, T, device="cuda")
    launch.forward(call, out, lse)
    launch.backward(call, torch.ones_like(out), out, lse, *grads)
    return out, *grads


if __name__ == "__main__":
    main()
