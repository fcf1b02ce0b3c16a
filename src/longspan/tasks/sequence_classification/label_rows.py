"""`longspan predict` for sequence classification: documents from the command line -> labels or numbers."""

import argparse
import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch

from longspan.data.text import document_chunks, require_document, store_document
from longspan.errors import InputError
from longspan.tasks.predicting import default_batch_size
from longspan.tasks.sequence_classification.predictor import LabelPrediction, LabelPredictor
from longspan.tasks.task import PredictorOptions, Rows


def label_rows(arguments: argparse.Namespace, load: Callable[[], tuple[Any, Any]]) -> Rows:
    """Label every document; memory does not grow with the documents.

    Raises:
        InputError: a document cannot be read or holds no text, or standard input is named twice. Every document is
            read once before the model is loaded, to find this out.
    """
    if arguments.document.count("-") > 1:
        raise InputError("standard input (-) is named twice among the documents; it can be read once")
    with contextlib.ExitStack() as stack:
        documents = [(name, _open(name, stack)) for name in arguments.document]
        model, tokenizer = load()
        options = PredictorOptions(
            max_length=arguments.max_length,
            overlap=arguments.overlap,
            truncate=arguments.truncate,
            batch_size=arguments.batch_size or 1,
            device=arguments.device or ("cuda" if torch.cuda.is_available() else "cpu"),
            dtype=torch.bfloat16 if arguments.bf16 else None,
        )
        predictor = LabelPredictor(model, tokenizer, options, arguments.merge)
        if arguments.batch_size is None:
            predictor.batch_size = default_batch_size(predictor.max_length, predictor.model.device)
        predictions = predictor.predict_streams((name, chunks()) for name, chunks in documents)
    rows = [_row(prediction) for prediction in predictions]
    return Rows(rows, [_as_text(row) for row in rows])


def _open(source: str, stack: contextlib.ExitStack) -> Callable[[], Iterator[str]]:
    """Return what reads a document in chunks; standard input and pipes, which end, are kept in a temporary file."""
    if source != "-" and os.path.isfile(source):
        require_document(source)
        return partial(document_chunks, source)
    text, _ = store_document(source)
    stack.callback(text.close)
    return text.chunks


def _row(prediction: LabelPrediction) -> dict[str, Any]:
    row: dict[str, Any] = {"document": prediction.id}
    if prediction.value is not None:
        row["value"] = round(prediction.value, 4)
    else:
        row["label"] = ", ".join(prediction.labels)
        shares = [prediction.probabilities[label] for label in prediction.labels]
        row["probability"] = round(min(shares), 4) if shares else None
        row["probabilities"] = {label: round(share, 4) for label, share in prediction.probabilities.items()}
    return row | {
        "n_tokens": prediction.n_tokens,
        "n_tokens_read": prediction.n_tokens_read,
        "truncated": prediction.n_tokens_read < prediction.n_tokens,
        "n_windows": prediction.n_windows,
        "seconds": round(prediction.seconds, 3),
    }


def _as_text(row: Mapping[str, Any]) -> str:
    found = row["value"] if "value" in row else f"{row['label'] or '(no label)'}"
    sure = f" ({row['probability']:.0%})" if row.get("probability") is not None else ""
    cut = f", {row['n_tokens_read']:,} of them read" if row["truncated"] else ""
    return f"{row['document']}: {found}{sure}   {row['n_tokens']:,} tokens{cut}\n"
