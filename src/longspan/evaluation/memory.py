"""The most memory that something took while it ran."""

from pathlib import Path

import torch

_GIB = 2**30


class PeakMemory:
    """Highest memory use since it was made: of the GPU where `device` is one, else of the whole process.

    The process's own high-water mark is reset where the system can do that (Linux), so that one system's peak is not
    told as the next one's; elsewhere nothing is measured.
    """

    def __init__(self, device: torch.device | None) -> None:
        self._device = device if device is not None and device.type == "cuda" else None
        self._is_known = True
        if self._device is not None:
            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            try:
                Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            except OSError:
                self._is_known = False

    def gib(self) -> float | None:
        """GiB; None where it cannot be told."""
        if self._device is not None:
            return torch.cuda.max_memory_allocated(self._device) / _GIB
        if not self._is_known:
            return None
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        kib = next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)
        return None if kib is None else kib * 1024 / _GIB
