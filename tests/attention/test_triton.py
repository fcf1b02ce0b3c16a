"""The Triton backend: its kernels (in a separate process), their visibility numbers, and their compilation."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longspan.attention import AttentionPattern, attend, select
from longspan.attention.inputs import AttentionInputs
from longspan.attention.reference import visible_pairs
from longspan.attention.triton import backend as backend_file
from longspan.attention.triton import reason_against_triton
from longspan.attention.triton.visibility import visibility_of
from longspan.errors import InputError

HAS_TRITON = importlib.util.find_spec("triton") is not None
needs_triton = pytest.mark.skipif(not HAS_TRITON, reason="triton is not installed")


@needs_triton
@pytest.mark.parametrize(
    "where",
    [
        "interpreter",
        pytest.param(
            "gpu",
            marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")],
        ),
    ],
)
def test_kernels(where):
    """triton_kernels.py in a process that has not imported triton, because the interpreter is chosen at its import."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["TRITON_INTERPRET"] = "1" if where == "interpreter" else "0"
    environment["CUDA_VISIBLE_DEVICES"] = "" if where == "interpreter" else os.environ.get("CUDA_VISIBLE_DEVICES", "0")
    file = Path(__file__).parent / "triton_kernels.py"
    # Without jaxtyping's hook, which the compiler would have to trace: others test shapes.
    options = ["-q", "-x", "-p", "no:cacheprovider", "-o", "addopts=--strict-markers --import-mode=importlib"]
    command = [sys.executable, "-m", "pytest", str(file), *options]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"device": "cpu"}, "runs on a GPU, not on cpu"),
        ({"dtype": torch.float64}, "computes float32, float16 and bfloat16, not float64"),
        ({"width": 300}, "at most 256 wide, not 300"),
    ],
)
def test_reasons_against_it(changes, reason, monkeypatch, gpu_request):
    monkeypatch.setattr(backend_file, "_is_installed", lambda: True)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert reason in (reason_against_triton(gpu_request._replace(**changes)) or "")


def test_reasons_of_the_machine(monkeypatch, gpu_request):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(backend_file, "_is_installed", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    assert reason_against_triton(gpu_request) == "needs a GPU of capability 8.0, not 7.5"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    assert reason_against_triton(gpu_request) is None
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert "knows no bfloat16" in (reason_against_triton(gpu_request) or "")
    in_half = gpu_request._replace(dtype=torch.float16)
    assert reason_against_triton(in_half) == "TRITON_INTERPRET=1 computes on the CPU"
    assert reason_against_triton(in_half._replace(device="cpu")) is None
    monkeypatch.setattr(backend_file, "_is_installed", lambda: False)
    assert "not installed" in (reason_against_triton(gpu_request) or "")


def test_interpreter_must_be_named(monkeypatch, gpu_request):
    monkeypatch.setattr(backend_file, "_is_installed", lambda: True)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    request = gpu_request._replace(device="cpu", dtype=torch.float32)
    choice = select(request)
    assert choice.backend == "blocked"
    assert choice.reasons["triton"].startswith("no: Triton's interpreter (TRITON_INTERPRET=1) is for tests")
    assert select(request, "triton").backend == "triton"
    assert select(request, "reference").backend == "reference"


def test_named_but_unable_backend_is_not_replaced(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    x = torch.ones(1, 1, 8, 16)
    with pytest.raises(InputError, match="attention backend 'triton' cannot do this"):
        attend(x, x, x, AttentionPattern(1, 1), backend="triton")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_visibility_numbers_equal_the_pattern(data, make_case):
    """The visibility numbers, as a mask, equal the oracle for local rows."""
    causal = data.draw(st.booleans())
    pattern = AttentionPattern(
        data.draw(st.integers(0, 8)),
        0 if causal else data.draw(st.integers(0, 8)),
        causal=causal,
        n_global=data.draw(st.sampled_from([0, 2])),
    )
    case = make_case(
        seed=data.draw(st.integers(0, 2**31)), n_rows=2, n_heads=1, n_tokens=20, width=2, pattern=pattern,
        padding=data.draw(st.sampled_from(["none", "right", "left", "anywhere"])),
        dynamic=data.draw(st.sampled_from(["none", "some", "many"])), documents=data.draw(st.booleans()),
        projections=data.draw(st.booleans()),
    )  # fmt: skip
    masks = [case.masks.get(name) for name in ("is_token_BT", "is_global_BT", "document_BT")]
    inputs = AttentionInputs(*case[:4], *masks, None, case.global_rows, scale=1.0, dropout_p=0.0)
    slots = inputs.global_slots()
    found = visibility_of(inputs, slots)

    position = torch.arange(20)
    seen = pattern.in_window(position[:, None], position).expand(2, 20, 20)
    if found.first_BT is not None and found.last_BT is not None:
        seen = seen & (position >= found.first_BT[..., None]) & (position < found.last_BT[..., None])
    if found.kind_BT is not None:
        seen = seen & (found.kind_BT == -1)[:, None]
    if found.slot_BG is not None:
        number = torch.arange(found.slot_BG.shape[1])
        of_slot = (found.slot_BG < 20)[:, None].expand(-1, 20, -1)
        if found.first_slot_BT is not None and found.last_slot_BT is not None:
            of_slot = (number >= found.first_slot_BT[..., None]) & (number < found.last_slot_BT[..., None])
        place = found.slot_BG.long().clamp(max=19)[:, None].expand(-1, 20, -1)
        seen = seen | torch.zeros(2, 20, 20).scatter_add(2, place, of_slot.float()).bool()
    is_local = torch.ones(2, 20, dtype=torch.bool) if slots is None else ~slots.mask(20)
    true = visible_pairs(inputs)[:, 0]
    assert torch.equal(seen[is_local], true[is_local])


@needs_triton
@pytest.mark.parametrize(
    ("dtype", "width", "everything"),
    [(torch.bfloat16, 64, False), (torch.float16, 40, True), (torch.float32, 16, False)],
)
def test_kernels_compile_for_an_absent_gpu(dtype, width, everything, monkeypatch):
    """Machine code for an H100 by Triton's ptxas: the compiler may refuse what the interpreter accepts."""
    pytest.importorskip("triton.backends.nvidia.compiler")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    from compile_triton import compile_call

    from longspan.attention.triton.tile_table import Tiles, TileSet

    # Small tiles compile quickly; exact float32 products are unrolled into single multiply-adds.
    size = (16, 16) if dtype == torch.float32 else (64, 32)
    small = TileSet(*[Tiles(*size, 4, 2)] * 3, Tiles(32, 16, 4, 2))
    compiled = compile_call((9, 0), dtype, width, everything=everything, dropout=everything, tile_set=small)
    names = ["forward_kernel", "query_kernel", *(["slot_kernel"] if everything else []), "key_kernel"]
    assert [x.kernel for x in compiled] == names
    for x in compiled:
        assert x.n_shared <= 227 * 1024
        assert x.n_copies > 0  # loads run ahead of the products
    if dtype != torch.float32:
        assert compiled[0].n_warpgroup_products > 0
