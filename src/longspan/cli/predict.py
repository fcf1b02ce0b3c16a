"""Answer questions over a document of any length; one line of JSON per question, or text for people.

Example:
  longspan predict --document book.txt --question "Who wrote the letter?" --format text
  longspan predict runs/squad-e5-long --document book.txt --question "Who wrote the letter?" --format text
  longspan predict runs/squad-e5-long --document book.txt --questions questions.txt --top_k 3 --output answers.jsonl

Without a model, the one that comes with longspan answers: multilingual-e5-small, fine-tuned on English questions.
A file of questions has one question a line, or lines of JSON with `question` and perhaps `id`. A document longer than
the model is read in overlapping windows. Offsets count characters of the document: document[start:end] is the answer.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from longspan.errors import InputError
from longspan.files import replace_file, require_writable_file

if TYPE_CHECKING:
    from longspan.tasks.question_answering import QaPrediction

# The adapter in the wheel (longspan.tasks.adapter_files has the same name, behind torch).
PACKAGED = "packaged"

HELP = "answer questions over a document"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "model",
        nargs="?",
        default=PACKAGED,
        help="a folder with a question answering model or an adapter, a name on the hub, or the one of longspan's own",
    )
    parser.add_argument("--document", required=True, help="a text file, also .gz, .xz, .zip; - is standard input")
    parser.add_argument("--question", action="append", default=[], help="may be repeated")
    parser.add_argument("--questions", metavar="FILE", help="one question a line, or JSON lines")
    parser.add_argument("--top_k", type=int, default=1, help="answers per question")
    parser.add_argument("--output", metavar="FILE", help="write there instead of to the terminal; a pipe too")
    parser.add_argument("--format", choices=["json", "text"], default="json", help="of the answers")
    parser.add_argument("--max_length", type=int, help="longest window in tokens; all the model takes where not given")
    parser.add_argument("--overlap", type=int, help="tokens that windows share; 128 or a quarter of a shorter window")
    parser.add_argument("--truncate", action="store_true", help="read the first window only")
    parser.add_argument("--global_tokens", choices=["question", "none"], default="question", help="of a Longformer")
    parser.add_argument("--max_answer_tokens", type=int, default=30, help="longest answer")
    parser.add_argument("--batch_size", type=int, default=4, help="windows at a time")
    parser.add_argument("--device", help="cpu, cuda, ...; cuda where there is one")
    parser.add_argument("--bf16", action="store_true", help="compute in bfloat16")
    parser.add_argument("--allow_pickle", action="store_true", help="open pickle checkpoints; they can run any code")


def run(arguments: argparse.Namespace) -> int:
    """Read, answer, write."""
    if arguments.top_k < 1:
        raise InputError(f"--top_k is {arguments.top_k}; it must be at least 1")
    if arguments.output is not None:
        require_writable_file(arguments.output)
    document = _read_document(arguments.document)
    questions = [*((None, text) for text in arguments.question), *_read_questions(arguments.questions)]
    if not questions:
        raise InputError("no question; give --question TEXT or --questions FILE")
    for _, text in questions:
        if not text.strip():
            raise InputError("a question is empty; give it some text")

    import torch

    from longspan.data import QaExample
    from longspan.tasks.loading import load_qa_model
    from longspan.tasks.question_answering import QaPredictor

    model, tokenizer = load_qa_model(arguments.model, allow_pickle=arguments.allow_pickle)
    predictor = QaPredictor(
        model,
        tokenizer,
        max_length=arguments.max_length,
        overlap=arguments.overlap,
        truncate=arguments.truncate,
        global_tokens=arguments.global_tokens,
        batch_size=arguments.batch_size,
        max_answer_tokens=arguments.max_answer_tokens,
        n_best=max(20, arguments.top_k),
        device=arguments.device or ("cuda" if torch.cuda.is_available() else "cpu"),
        dtype=torch.bfloat16 if arguments.bf16 else None,
    )
    examples = [
        QaExample(id=str(i) if name is None else name, question=text, context=document, answers=())
        for i, (name, text) in enumerate(questions)
    ]
    predictions = predictor.predict(examples)
    rows = [
        _row(prediction, example.question, document, arguments.top_k)
        for prediction, example in zip(predictions, examples, strict=True)
    ]
    text = "".join(
        _as_text(row) if arguments.format == "text" else json.dumps(row, ensure_ascii=False) + "\n" for row in rows
    )
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


def _read_document(path: str) -> str:
    from longspan.data import load_text

    if path != "-":
        return load_text(path)
    try:
        text = sys.stdin.read()
    except UnicodeDecodeError as error:
        raise InputError(f"standard input is not UTF-8 text (byte {error.start}); convert the document first") from None
    if not text.strip():
        raise InputError("standard input is empty; pass a document with text in it")
    return text


def _read_questions(path: str | None) -> Iterator[tuple[str | None, str]]:
    """Id (None where the file gives none) and text of each question of a file."""
    if path is None:
        return
    from longspan.data.opening import read_text

    lines = read_text(path).splitlines()
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
        if not isinstance(record.get("question"), str):
            raise InputError(f"{path}, line {number}: a record needs `question`, a text")
        yield (str(record["id"]) if "id" in record else None), record["question"]


def _row(prediction: "QaPrediction", question: str, document: str, top_k: int) -> dict[str, Any]:
    from longspan.tasks.sentences import sentence_around

    answers = []
    for span in prediction.alternatives[:top_k]:
        first, last = sentence_around(document, span.start, span.end)
        answers.append(
            {
                "text": span.text,
                "score": round(span.score, 4),
                "start": span.start,
                "end": span.end,
                "sentence": document[first:last],
                "sentence_start": first,
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
        lines.append(f"A: {answer['text']}   ({answer['score']:.0%}, at {answer['place']:.1f} % of the document)")
        at = answer["start"] - answer["sentence_start"]
        sentence = answer["sentence"]
        marked = f"{sentence[:at]}[{answer['text']}]{sentence[at + len(answer['text']) :]}"
        lines.append("   " + " ".join(marked.split()))
    return "\n".join(lines) + "\n\n"
