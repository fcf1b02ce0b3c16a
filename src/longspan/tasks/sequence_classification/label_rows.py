"""`longspan predict` for sequence classification: documents from the command line -> labels or numbers."""

import argparse
from collections.abc import Callable, Mapping
from typing import Any

import torch

from longspan.data.classification import LabelledText
from longspan.data.text import load_text
from longspan.tasks.sequence_classification.predictor import LabelPrediction, LabelPredictor
from longspan.tasks.task import PredictorOptions, Rows


def label_rows(arguments: argparse.Namespace, load: Callable[[], tuple[Any, Any]]) -> Rows:
    """Label every document.

    Raises:
        InputError: a document cannot be read or holds no text.
    """
    examples = [
        LabelledText(id=name, text=load_text(name), pair=None, labels=(), value=None) for name in arguments.document
    ]
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
    rows = [_row(prediction) for prediction in predictor.predict(examples)]
    return Rows(rows, [_as_text(row) for row in rows])


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
