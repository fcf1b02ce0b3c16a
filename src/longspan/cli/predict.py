"""Answer questions over a document of any length; one line of JSON per question, or text for people.

Example:
  longspan predict --document book.txt --question "Who wrote the letter?" --format text
  longspan predict runs/squad-e5-long --document book.txt --question "Who wrote the letter?" --format text
  longspan predict runs/squad-e5-long --document book.txt --questions questions.txt --top_k 3 --output answers.jsonl

Without a model, the one that comes with longspan answers: multilingual-e5-small, fine-tuned on English questions.
A file of questions has one question a line, or lines of JSON with `question` and perhaps `id`, or a JSON array of
these. A document longer than the model is read in overlapping windows.

Offsets count the characters of the document as it stands, be it a file or standard input, so that
open(FILE, encoding="utf-8", newline="").read()[start:end] is the answer: line ends and a byte order mark count as they
are, compressed data as what it unpacks to, and TEI as its text without the markup.
"""

import argparse
import contextlib
import json
import re
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from longspan.cli.number_options import at_least
from longspan.errors import InputError
from longspan.files import replace_file, require_writable_file

if TYPE_CHECKING:
    from longspan.data.stored import StoredText
    from longspan.data.text import Places
    from longspan.tasks.question_answering.predictor import QaPrediction

# The adapter in the wheel (longspan.tasks.adapter_files has the same name, behind torch).
PACKAGED = "packaged"

HELP = "answer questions over a document"
_CPU_TOKENS = 4096
ANY_PATH = ("document", "questions", "output")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "model",
        nargs="?",
        default=PACKAGED,
        help="a folder with a question answering model or an adapter, a name on the hub, or the one of longspan's own",
    )
    parser.add_argument(
        "--document",
        required=True,
        help="a file of text or TEI, also compressed (.gz, .xz, .bz2, .zip, .zst); - is standard input",
    )
    parser.add_argument("--question", action="append", default=[], help="may be repeated")
    parser.add_argument("--questions", metavar="FILE", help="one question a line, JSON lines, or a JSON array")
    parser.add_argument("--top_k", type=int, action=at_least(1), default=1, help="answers per question")
    parser.add_argument("--output", metavar="FILE", help="write there instead of to the terminal; a pipe too")
    parser.add_argument("--format", choices=["json", "text"], default="json", help="of the answers")
    parser.add_argument(
        "--max_length",
        type=int,
        action=at_least(1),
        help="longest window in tokens; all the model takes where not given",
    )
    parser.add_argument(
        "--overlap",
        type=int,
        action=at_least(0),
        help="tokens that windows share; 128 or a quarter of a shorter window",
    )
    parser.add_argument("--truncate", action="store_true", help="read the first window only")
    parser.add_argument("--global_tokens", choices=["question", "none"], default="question", help="of a Longformer")
    parser.add_argument("--max_answer_tokens", type=int, action=at_least(1), default=30, help="longest answer")
    parser.add_argument(
        "--batch_size",
        type=int,
        action=at_least(1),
        help="windows at a time; 4, and on a CPU at most 4,096 tokens",
    )
    parser.add_argument("--device", help="cpu, cuda, ...; cuda where there is one")
    parser.add_argument("--bf16", action="store_true", help="compute in bfloat16")
    parser.add_argument("--allow_pickle", action="store_true", help="open pickle checkpoints; they can run any code")


def run(arguments: argparse.Namespace) -> int:
    """Read, answer, write."""
    from longspan.data.text import store_document

    if arguments.output is not None:
        require_writable_file(arguments.output)
    document, places = store_document(arguments.document)
    with contextlib.closing(document):
        return _answer(arguments, document, places)


def _answer(arguments: argparse.Namespace, document: "StoredText", places: "Places") -> int:
    questions = [*((None, text) for text in arguments.question), *_read_questions(arguments.questions)]
    if not questions:
        raise InputError("no question; give --question TEXT or --questions FILE")
    for _, text in questions:
        if not text.strip():
            raise InputError("a question is empty; give it some text")

    import torch

    from longspan.tasks.open_model import load_qa_model
    from longspan.tasks.question_answering.predictor import QaPredictor

    model, tokenizer = load_qa_model(arguments.model, allow_pickle=arguments.allow_pickle)
    predictor = QaPredictor(
        model,
        tokenizer,
        max_length=arguments.max_length,
        overlap=arguments.overlap,
        truncate=arguments.truncate,
        global_tokens=arguments.global_tokens,
        batch_size=4 if arguments.batch_size is None else arguments.batch_size,
        max_answer_tokens=arguments.max_answer_tokens,
        n_best=max(20, arguments.top_k),
        device=arguments.device or ("cuda" if torch.cuda.is_available() else "cpu"),
        dtype=torch.bfloat16 if arguments.bf16 else None,
    )
    if arguments.batch_size is None and predictor.model.device.type == "cpu":
        # Longer batches take more memory there, and no less time.
        predictor.batch_size = max(1, min(4, _CPU_TOKENS // predictor.max_length))
    named = [(str(i) if name is None else name, text) for i, (name, text) in enumerate(questions)]
    predictions = predictor.predict_document(document, named)
    rows = [
        _row(prediction, question, document, places, arguments.top_k)
        for prediction, (_, question) in zip(predictions, named, strict=True)
    ]
    text = "".join(_as_text(row) if arguments.format == "text" else _json_line(row) for row in rows)
    if arguments.output is None:
        sys.stdout.write(text)
    else:
        with replace_file(arguments.output) as temporary:
            temporary.write_text(text, encoding="utf-8")
    n_windows = max(prediction.n_windows for prediction in predictions)
    if n_windows > 1:
        print(
            f"the document is longer than a window of {predictor.max_length:,} tokens; "
            f"it was read in {n_windows} overlapping windows",
            file=sys.stderr,
        )
    return 0


def _read_questions(path: str | None) -> Iterator[tuple[str | None, str]]:
    """Id (None where the file gives none) and text of each question of a file."""
    if path is None:
        return
    from longspan.data.decoding import decode
    from longspan.data.opening import parse_json, read_bytes, split_lines

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


# A line of plain text may begin with a bracket too, but hardly goes on like this.
_JSON_ARRAY = re.compile(r'\s*\[\s*[{"\]]')


def _question(record: Any, where: str) -> tuple[str | None, str]:
    """Id and text of a question in JSON: a text, or an object with `question` and perhaps `id`."""
    from longspan.data.decoding import require_text

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
    prediction: "QaPrediction", question: str, document: "StoredText", places: "Places", top_k: int
) -> dict[str, Any]:
    from longspan.tasks.question_answering.sentences import sentence_around

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


def _json_line(row: dict[str, Any]) -> str:
    """A line of JSON, and one only for readers that end lines at other characters of Unicode, too."""
    line = json.dumps(row, ensure_ascii=False)
    for character in "\u0085\u2028\u2029":
        line = line.replace(character, f"\\u{ord(character):04x}")
    return line + "\n"


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
