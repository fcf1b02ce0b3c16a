"""Memory of this process and of a GPU: free, in use, and at its peak.

On the CPU the figures come from Linux's /proc; elsewhere they are None, except `lifetime_peak_gib`.
"""

import ctypes
import sys
from pathlib import Path

import torch

GIB = 2**30


def free_bytes(device: torch.device | str) -> int | None:
    """Memory that is available now; None if the system does not report it."""
    if _is_cuda(device):
        return torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    return _read_bytes("/proc/meminfo", "MemAvailable")


def used_bytes(device: torch.device | str) -> int | None:
    """Memory in use: allocated on the GPU, else resident in this process without what its allocator can give back.

    None if the system does not report it.
    """
    if _is_cuda(device):
        return torch.cuda.memory_allocated()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
    return _read_bytes("/proc/self/status", "VmRSS")


class PeakMemory:
    """The highest memory use since this value was made, of the GPU if `device` is one, else of this process.

    Making it resets the peak, so that one peak is not reported as the next one's. Where the system cannot reset the
    peak of the process, nothing is measured.
    """

    def __init__(self, device: torch.device | str | None) -> None:
        self._is_cuda = device is not None and _is_cuda(device)
        self._device = device
        self._is_known = True
        if self._is_cuda:
            torch.cuda.reset_peak_memory_stats(self._device)
            return
        try:
            # Linux keeps the high-water mark of resident memory; writing 5 resets it.
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        except OSError:
            self._is_known = False

    def bytes(self) -> int | None:
        """The peak in bytes; None if it is not known."""
        if self._is_cuda:
            return torch.cuda.max_memory_allocated(self._device)
        return _read_bytes("/proc/self/status", "VmHWM") if self._is_known else None

    def gib(self) -> float | None:
        """The peak in GiB; None if it is not known."""
        n_bytes = self.bytes()
        return None if n_bytes is None else n_bytes / GIB


def lifetime_peak_gib(*, on_gpu: bool) -> float:
    """The highest memory use of this process so far in GiB: on the GPU, or resident on the host."""
    if on_gpu:
        return torch.cuda.max_memory_allocated() / GIB
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on macOS, in KiB elsewhere
    return peak / (GIB if sys.platform == "darwin" else 2**20)


def _is_cuda(device: torch.device | str) -> bool:
    return torch.device(device).type == "cuda"


def _read_bytes(path: str, field: str) -> int | None:
    """A field of a file in /proc that holds KiB; None if it is not there."""
    try:
        lines = Path(path).read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:")), None)
