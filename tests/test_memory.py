"""Memory of this process: free, in use, at its peak."""

from pathlib import Path

import pytest
import torch

from longspan import memory
from longspan.memory import GIB, PeakMemory, free_bytes, lifetime_peak_gib, used_bytes

needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")


@needs_proc
@pytest.mark.parametrize("device", [None, "cpu", torch.device("cpu")])
def test_peak_includes_freed_memory(device):
    before = used_bytes("cpu")
    peak = PeakMemory(device)
    torch.ones(2**24).sum()  # 64 MiB, freed at once
    n_bytes = peak.bytes()
    assert n_bytes is not None and before is not None
    assert n_bytes > before + 0.9 * 2**26
    assert peak.gib() == pytest.approx(peak.bytes() / GIB)


@needs_proc
def test_free_and_lifetime_peak_are_positive():
    assert free_bytes("cpu") > 2**20
    assert lifetime_peak_gib(on_gpu=False) * GIB > 2**20


def test_unknown_fields_are_none(tmp_path):
    file = tmp_path / "status"
    file.write_text("VmRSS:\t  12 kB\n")
    assert memory._read_bytes(str(file), "VmRSS") == 12 * 1024
    assert memory._read_bytes(str(file), "VmHWM") is None
    assert memory._read_bytes(str(tmp_path / "missing"), "VmRSS") is None
