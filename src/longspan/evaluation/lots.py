"""Predictions of a cell that is not finished: kept in lots as they come, so that an hour's cell can be interrupted."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from longspan.files import replace_file
from longspan.limits import read_description
from longspan.tasks.question_answering.predictor import QaPrediction


class _Lot(BaseModel):
    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    predictions: list[QaPrediction | None]
    peak_memory_gib: float | None


class Lots:
    """The lots of one cell, each a file named after its first question; without a stem nothing is kept.

    Args:
        stem: path of the files up to the number of their first question.
    """

    def __init__(self, stem: Path | None) -> None:
        self._stem = stem

    def read(self, n_questions: int) -> tuple[list[QaPrediction | None], float | None]:
        """What an earlier start predicted of the first questions, and its peak memory in GiB where that was measured.

        A damaged lot and those behind it are predicted again.
        """
        predictions: list[QaPrediction | None] = []
        peaks: list[float] = []
        while self._stem is not None and len(predictions) < n_questions:
            try:
                lot = _Lot.model_validate_json(read_description(self._path(len(predictions))))
            except (FileNotFoundError, ValidationError):
                break
            if not lot.predictions:
                break
            predictions += lot.predictions
            peaks += [] if lot.peak_memory_gib is None else [lot.peak_memory_gib]
        return predictions, max(peaks, default=None)

    def keep(self, first: int, predictions: Sequence[QaPrediction | None], peak_memory_gib: float | None) -> None:
        """Write the predictions of the questions from number `first` on, whole or not at all."""
        if self._stem is not None:
            lot = _Lot(predictions=list(predictions), peak_memory_gib=peak_memory_gib)
            with replace_file(self._path(first)) as temporary:
                temporary.write_text(lot.model_dump_json(), encoding="utf-8")

    def remove(self) -> None:
        """Remove them all: their cell is finished."""
        if self._stem is not None:
            for path in self._stem.parent.glob(f"{self._stem.name}.*.lot.json"):
                path.unlink()

    def _path(self, first: int) -> Path:
        assert self._stem is not None, "callers ask for it first"
        return self._stem.with_name(f"{self._stem.name}.{first}.lot.json")
