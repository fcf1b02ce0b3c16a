"""Time and peak memory of a run, including the time before it was resumed."""

import time

from longspan.memory import lifetime_peak_gib


class Usage:
    """Seconds of training and peak memory of a process. Checkpoints keep both, so that a resumed run keeps counting.

    Steps of a killed run after its last checkpoint are not counted, because they are taken again.
    """

    def __init__(self, *, on_gpu: bool) -> None:
        self._on_gpu = on_gpu
        self._seconds_before = self._peak_before = 0.0
        self._began: float | None = None

    def start(self) -> None:
        """Start the clock."""
        self._began = time.monotonic()

    def add(self, *, seconds: float, peak_memory_gib: float) -> None:
        """Add what the run used before it was resumed."""
        self._seconds_before += seconds
        self._peak_before = max(self._peak_before, peak_memory_gib)

    @property
    def seconds(self) -> float:
        """Seconds of training since the first start, without the interruptions."""
        return self._seconds_before + (0.0 if self._began is None else time.monotonic() - self._began)

    @property
    def peak_memory_gib(self) -> float:
        """Peak memory of this process and of those before a resume: the GPU's, or the host's without a GPU."""
        return max(self._peak_before, lifetime_peak_gib(on_gpu=self._on_gpu))
