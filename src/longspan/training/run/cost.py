"""What a run has used so far: time and memory, over all the times it was started."""

import time

from longspan.memory import lifetime_peak_gib


class Usage:
    """Seconds of training and the most memory of a process; kept in checkpoints, so that a run that goes on counts on.

    What a killed run did after its last checkpoint is not counted: those steps are taken again.
    """

    def __init__(self, *, on_gpu: bool) -> None:
        self._on_gpu = on_gpu
        self._seconds_before = self._peak_before = 0.0
        self._began: float | None = None

    def start(self) -> None:
        """Start the clock."""
        self._began = time.monotonic()

    def add(self, *, seconds: float, peak_memory_gib: float) -> None:
        """Count what the run used before it was started this time."""
        self._seconds_before += seconds
        self._peak_before = max(self._peak_before, peak_memory_gib)

    @property
    def seconds(self) -> float:
        """Since the first start, without the time between."""
        return self._seconds_before + (0.0 if self._began is None else time.monotonic() - self._began)

    @property
    def peak_memory_gib(self) -> float:
        """The most that this process, or one of an earlier start, held: of the GPU, else of the host's memory."""
        return max(self._peak_before, lifetime_peak_gib(on_gpu=self._on_gpu))
