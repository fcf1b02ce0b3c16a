"""`longspan predict` for question answering: questions from the command line -> answers with their sentences."""

import argparse
import contextlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from longspan.data.decoding import decode, require_text
from longspan.data.opening import parse_json, read_bytes, split_lines
from longspan.data.text import store_document
from longspan.errors import InputError
from longspan.number_options import at_least
from longspan.tasks.predicting import default_batch_size
from longspan.tasks.question_answering.predictor import QaPrediction, QaPredictor
from longspan.tasks.question_answering.sentences import sentence_around
from longspan.tasks.task import Rows

if TYPE_CHECKING:
    from longspan.data.stored import StoredText
    from longspan.data.text import Places


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `longspan predict` that only question answering has."""
    parser.add_argument("--question", action="append", default=[], help="may be repeated")
    parser.add_argument("--questions", metavar="FILE", help="one question a line, JSON lines, or a JSON array")
    parser.add_argument("--top_k", type=int, action=at_least(1), default=1, help="answers per question")
    parser.add_argument("--global_tokens", choices=["question", "none"], default="question", help="of a Longformer")
    parser.add_argument("--max_answer_tokens", type=int, action=at_least(1), default=30, help="longest answer")


def answer_rows(arguments: argparse.Namespace, load: Callable[[], tuple[Any, Any]]) -> Rows:
    """Answer every question over one document.

    Raises:
        InputError: several documents, no question, an empty one, or the document or the questions cannot be read.
    """
    if len(arguments.document) > 1:
        raise InputError(f"question answering reads one document at a time; there are {len(arguments.document)}")
    document, places = store_document(arguments.document[0])
    with contextlib.closing(document):
        return _answer(arguments, load, document, places)


def _answer(
    arguments: argparse.Namespace, load: Callable[[], tuple[Any, Any]], document: "StoredText", places: "Places"
) -> Rows:
    questions = [*((None, text) for text in arguments.question), *_read_questions(arguments.questions)]
    if not questions:
        raise InputError("no question; give --question TEXT or --questions FILE")
    for _, text in questions:
        if not text.strip():
            raise InputError("a question is empty; give it some text")
    model, tokenizer = load()
    predictor = QaPredictor(
        model,
        tokenizer,
        max_length=arguments.max_length,
        overlap=arguments.overlap,
        truncate=arguments.truncate,
        global_tokens=arguments.global_tokens,
        batch_size=arguments.batch_size or 1,
        max_answer_tokens=arguments.max_answer_tokens,
        n_best=max(20, arguments.top_k),
        device=arguments.device or ("cuda" if torch.cuda.is_available() else "cpu"),
        dtype=torch.bfloat16 if arguments.bf16 else None,
    )
    if arguments.batch_size is None:
        predictor.batch_size = default_batch_size(predictor.max_length, predictor.model.device)
    named = [(str(i) if name is None else name, text) for i, (name, text) in enumerate(questions)]
    predictions = predictor.predict_document(document, named)
    rows = [
        _row(prediction, question, document, places, arguments.top_k)
        for prediction, (_, question) in zip(predictions, named, strict=True)
    ]
    n_windows = max(prediction.n_windows for prediction in predictions)
    notes = [
        f"the document is longer than a window of {predictor.max_length:,} tokens; "
        f"it was read in {n_windows} overlapping windows"
    ]
    return Rows(rows, [_as_text(row) for row in rows], notes if n_windows > 1 else [])


def _read_questions(path: str | None) -> Iterator[tuple[str | None, str]]:
    """Id (None if the file gives none) and text of each question of a file."""
    if path is None:
        return
    data = read_bytes(path)
    text = decode(path, data)
    if _JSON_ARRAY.match(text):
        records = parse_json(path, data)
        if not records:
            raise InputError(f"{path} holds no question; its list is empty")
        for i, record in enumerate(records):
            yield _question(record, f"{path}, [{i}]")
        return
    lines = split_lines(text)
    if not any(line.strip() for line in lines):
        raise InputError(f"{path} holds no question; write one a line")
    for number, line in enumerate(lines, 1):
        if not line.lstrip().startswith("{"):
            if line.strip():
                yield None, line.strip()
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{path}, line {number}: not JSON ({error.msg}, column {error.colno})") from None
        yield _question(record, f"{path}, line {number}")


# A line of plain text may begin with a bracket too, but rarely continues like this.
_JSON_ARRAY = re.compile(r'\s*\[\s*[{"\]]')


def _question(record: Any, where: str) -> tuple[str | None, str]:
    """Id and text of a question in JSON: a text, or an object with `question` and perhaps `id`."""
    if isinstance(record, str):
        return None, require_text(record, where)
    if not isinstance(record, dict) or not isinstance(record.get("question"), str):
        raise InputError(f"{where}: a record needs `question`, a text")
    identifier = record.get("id")
    if isinstance(identifier, bool) or not isinstance(identifier, str | int | float | None):
        raise InputError(f"{where}: `id` should be text or a number")
    text = require_text(record["question"], f"{where}: `question`")
    return None if identifier is None else require_text(str(identifier), f"{where}: `id`"), text


def _row(
    prediction: QaPrediction, question: str, document: "StoredText", places: "Places", top_k: int
) -> dict[str, Any]:
    answers = []
    for span in prediction.alternatives[:top_k]:
        first, last = sentence_around(document, span.start, span.end)
        answers.append(
            {
                "text": places.written(document, span.start, span.end),
                "score": round(span.score, 4),
                "start": places.before(span.start),
                "end": places.before(span.end),
                "sentence": places.written(document, first, last),
                "sentence_start": places.before(first),
                "place": round(100 * span.start / len(document), 1),
            }
        )
    best: dict[str, Any] = answers[0] if answers else {"text": "", "score": 0.0, "start": 0, "end": 0, "sentence": ""}
    row = {"id": prediction.id, "question": question, **best}
    row["no_answer_margin"] = round(prediction.no_answer_score - prediction.logit, 3) if answers else None
    row |= {"n_windows": prediction.n_windows, "n_tokens": prediction.n_tokens, "seconds": round(prediction.seconds, 3)}
    return row | ({"answers": answers} if top_k > 1 else {})


def _as_text(row: dict[str, Any]) -> str:
    lines = [f"Q: {row['question']}"]
    found: Sequence[dict[str, Any]] = row.get("answers") or [row]
    for answer in found:
        if not answer["text"]:
            lines.append("   no answer found")
            continue
        text = " ".join(answer["text"].split())
        lines.append(f"A: {text}   ({answer['score']:.0%}, at {answer['place']:.1f} % of the document)")
        at = answer["start"] - answer["sentence_start"]
        sentence = answer["sentence"]
        marked = f"{sentence[:at]}[{answer['text']}]{sentence[at + len(answer['text']) :]}"
        lines.append("   " + " ".join(marked.split()))
    return "\n".join(lines) + "\n\n"
