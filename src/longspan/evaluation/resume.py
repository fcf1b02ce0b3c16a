"""Finished parts of an evaluation, kept beside its output until the whole is done.

A cell is one system on one data set. Its files are named after everything that decides the predictions (weights,
settings, examples), so that a later start takes up exactly what is still true. Predictions of a cell that is not
finished are kept in parts, so that hours of work can be interrupted.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

import longspan
from longspan.files import replace_file
from longspan.limits import read_description
from longspan.records import Item, Metric, Score
from longspan.tasks.task import Examples, FineTuningTask


class Cell(BaseModel):
    """The finished score, items and metrics of one system on one data set."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    score: Score
    items: list[Item]
    metrics: list[Metric]


class PartialPredictions:
    """Predictions of a cell that is not finished: files named after their first example.

    Args:
        stem: path of the files up to the number of their first example; None keeps nothing.
    """

    def __init__(self, stem: Path | None) -> None:
        self._stem = stem

    def read(self, n_examples: int, kind: Any) -> tuple[list[Any], float | None]:
        """Return what an earlier start predicted of the first examples, and its peak memory in GiB if measured.

        A damaged file and those behind it are predicted again.

        Args:
            n_examples: of the data set.
            kind: type of a prediction, which its JSON is read as; None if the task has none.
        """
        predictions: list[Any] = []
        peaks: list[float] = []
        while self._stem is not None and kind is not None and len(predictions) < n_examples:
            try:
                part, peak = _part_type(kind).validate_json(read_description(self._path(len(predictions))))
            except (FileNotFoundError, ValidationError):
                break
            if not part:
                break
            predictions += part
            peaks += [] if peak is None else [peak]
        return predictions, max(peaks, default=None)

    def keep(self, first: int, predictions: Sequence[Any], peak_memory_gib: float | None, kind: Any) -> None:
        """Write the predictions of the examples from number `first` on; a killed write leaves nothing."""
        if self._stem is not None and kind is not None:
            part = _part_type(kind).dump_json((list(predictions), peak_memory_gib))
            with replace_file(self._path(first)) as temporary:
                temporary.write_bytes(part)

    def remove(self) -> None:
        """Remove the files: their cell is finished."""
        if self._stem is not None:
            for path in self._stem.parent.glob(f"{self._stem.name}.*.part.json"):
                path.unlink()

    def _path(self, first: int) -> Path:
        assert self._stem is not None, "callers ask for it first"
        return self._stem.with_name(f"{self._stem.name}.{first}.part.json")


def _part_type(kind: Any) -> TypeAdapter[Any]:
    """Return the type of a part: its predictions, each of type `kind` or None, and the peak memory in GiB."""
    part: Any = tuple[list[kind | None], float | None]
    return TypeAdapter(part, config=ConfigDict(ser_json_inf_nan="constants"))


class KeptCell:
    """The files of one cell.

    Args:
        stem: beginning of their names; None keeps nothing.
    """

    def __init__(self, stem: Path | None) -> None:
        self._path = None if stem is None else stem.with_name(f"{stem.name}.cell.json")
        self.partial = PartialPredictions(stem)
        """Predictions of a cell that is not finished."""

    def find(self) -> Cell | None:
        """Return the cell that an earlier start finished; None if there is none or its file is damaged."""
        try:
            return None if self._path is None else Cell.model_validate_json(read_description(self._path))
        except (FileNotFoundError, ValidationError):
            return None

    def keep(self, cell: Cell) -> None:
        """Write a finished cell and remove its partial predictions."""
        if self._path is not None:
            with replace_file(self._path) as temporary:
                temporary.write_text(cell.model_dump_json(), encoding="utf-8")
            self.partial.remove()


class Cells:
    """The folder of finished cells.

    Args:
        folder: made when the first cell is kept; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._hash_of_weights: dict[int, str] = {}

    def at(self, name: str, predictor: Any, task: FineTuningTask, dataset: Examples) -> KeptCell:
        """Return where the predictions of one system for one data set are kept."""
        return KeptCell(None if self._folder is None else self._stem(name, predictor, task, dataset))

    def remove(self) -> None:
        """Remove the cells, finished or not, and their folder if nothing else is in it."""
        if self._folder is not None and self._folder.is_dir():
            for path in (*self._folder.glob("*.cell.json"), *self._folder.glob("*.part.json")):
                path.unlink()
            if not any(self._folder.iterdir()):
                self._folder.rmdir()

    def _stem(self, name: str, predictor: Any, task: FineTuningTask, dataset: Examples) -> Path:
        assert self._folder is not None, "callers ask for a folder first"
        examples = hashlib.sha256()
        for example in dataset.examples:
            examples.update(json.dumps(task.identity(example)).encode())
        parts = [longspan.__version__, task.name, name, self._describe(predictor), dataset.name, dataset.language]
        parts.append(examples.hexdigest())
        key = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
        return self._folder / key[:32]

    def _describe(self, predictor: Any) -> Any:
        """Return everything of a predictor that decides its predictions."""
        if not isinstance(getattr(predictor, "model", None), torch.nn.Module):
            return getattr(predictor, "settings", repr(type(predictor)))
        return [
            describe(predictor),
            str(predictor.model.dtype),
            predictor.model.config.to_dict(),
            getattr(predictor.tokenizer, "backend_tokenizer").to_str(),  # noqa: B009 - only fast ones have it
            self._hash_weights(predictor.model),
        ]

    def _hash_weights(self, model: torch.nn.Module) -> str:
        parameters = dict(model.named_parameters())
        first = id(next(iter(parameters.values()), None))
        if first not in self._hash_of_weights:
            digest = hashlib.sha256()
            for name, parameter in parameters.items():
                digest.update(name.encode())
                data = parameter.detach().cpu().contiguous()
                digest.update(data.view(-1).view(torch.uint8).numpy().data)
            self._hash_of_weights[first] = digest.hexdigest()
        return self._hash_of_weights[first]


def describe(predictor: Any) -> dict[str, Any]:
    """Return a predictor's settings for the record: those of every predictor, and its own `describe`."""
    if not isinstance(getattr(predictor, "model", None), torch.nn.Module):
        return {}
    config = predictor.model.config
    settings = {
        "model_type": config.model_type,
        "max_length": predictor.max_length,
        "overlap": 0 if predictor.truncate else predictor.overlap,
        "truncate": predictor.truncate,
        **predictor.describe(),
        "dtype": str(predictor.dtype or predictor.model.dtype).removeprefix("torch."),
    }
    if config.model_type == "longformer":
        window = config.attention_window
        windows = [window] * config.num_hidden_layers if isinstance(window, int) else list(window)
        settings |= {"attention_window": windows}
    return settings
