"""Finished parts of an evaluation, kept beside its output until the whole is done.

A cell is one system on one data set. Its file is named after everything that decides the answers (weights, settings,
questions), so that a later start takes up exactly what is still true.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

import longspan
from longspan.data.qa import QaDataset
from longspan.evaluation.lots import Lots
from longspan.files import replace_file
from longspan.limits import read_description
from longspan.records import Item, Score
from longspan.tasks.question_answering.predictor import QaPredictor


class Cell(BaseModel):
    """The finished score and items of one system on one data set."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    score: Score
    items: list[Item]


class KeptCell:
    """One cell's files; without a stem nothing is kept.

    Args:
        stem: what their names begin with.
    """

    def __init__(self, stem: Path | None) -> None:
        self._path = None if stem is None else stem.with_name(f"{stem.name}.cell.json")
        self.lots = Lots(stem)
        """Predictions of a cell that is not finished."""

    def find(self) -> Cell | None:
        """The cell an earlier start finished, None where there is none or its file is damaged."""
        try:
            return None if self._path is None else Cell.model_validate_json(read_description(self._path))
        except (FileNotFoundError, ValidationError):
            return None

    def keep(self, cell: Cell) -> None:
        """Write a finished cell, whole or not at all; its lots are not needed any more."""
        if self._path is not None:
            with replace_file(self._path) as temporary:
                temporary.write_text(cell.model_dump_json(), encoding="utf-8")
            self.lots.remove()


class Cells:
    """The folder of finished cells; without a folder nothing is kept.

    Args:
        folder: made when the first cell is kept.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._hash_of_weights: dict[int, str] = {}

    def at(self, name: str, predictor: Any, dataset: QaDataset) -> "KeptCell":
        """Where one system's answers to one data set are kept."""
        return KeptCell(None if self._folder is None else self._stem(name, predictor, dataset))

    def remove(self) -> None:
        """Remove the cells, finished or not, and, where nothing else is in it, their folder."""
        if self._folder is not None and self._folder.is_dir():
            for path in (*self._folder.glob("*.cell.json"), *self._folder.glob("*.lot.json")):
                path.unlink()
            if not any(self._folder.iterdir()):
                self._folder.rmdir()

    def _stem(self, name: str, predictor: Any, dataset: QaDataset) -> Path:
        """What the names of its files begin with."""
        assert self._folder is not None, "callers ask for a folder first"
        questions = hashlib.sha256()
        for example in dataset.examples:
            part = [example.id, example.question, example.context, example.golds, example.slot, example.n_slots]
            part += [example.depth, example.nominal_tokens, example.rules]
            questions.update(json.dumps(part).encode())
        told = [longspan.__version__, name, self._describe(predictor), dataset.name, dataset.language]
        told.append(questions.hexdigest())
        key = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()
        return self._folder / key[:32]

    def _describe(self, predictor: Any) -> Any:
        """Everything of a predictor that decides its answers."""
        if not isinstance(predictor, QaPredictor):
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
    """A predictor's settings, for the record."""
    if not isinstance(predictor, QaPredictor):
        return {}
    config = predictor.model.config
    settings = {
        "model_type": config.model_type,
        "max_length": predictor.max_length,
        "overlap": 0 if predictor.truncate else predictor.overlap,
        "truncate": predictor.truncate,
        "max_answer_tokens": predictor.max_answer_tokens,
        "n_best": predictor.n_best,
        "dtype": str(predictor.dtype or predictor.model.dtype).removeprefix("torch."),
    }
    if config.model_type == "longformer":
        settings |= {"global_tokens": predictor.global_tokens, "attention_window": list(_as_list(config))}
    return settings


def _as_list(config: Any) -> list[int]:
    window = config.attention_window
    return [window] * config.num_hidden_layers if isinstance(window, int) else list(window)
