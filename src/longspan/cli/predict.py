"""Predict for documents of any length, with any task; JSON lines, or text for people.

Example:
  longspan predict --document book.txt --question "Who wrote the letter?" --format text
  longspan predict runs/squad-e5-long --document book.txt --questions questions.txt --top_k 3 --output answers.jsonl
  longspan predict runs/hyperpartisan --document article.txt other.txt --format text

The model's head says which task it is of; --task says so if it does not. `longspan predict --task TASK --help` lists
the options that only a task has. Without a model, the one that comes with longspan answers questions:
multilingual-e5-small, fine-tuned on English questions. A document longer than the model is read in overlapping windows.

Offsets count the characters of the document as it stands, be it a file or standard input, so that
open(FILE, encoding="utf-8", newline="").read()[start:end] is the answer: line ends and a byte order mark count as they
are, compressed data as what it unpacks to, and TEI as its text without the markup.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from longspan.files import replace_file, require_writable_file
from longspan.number_options import at_least
from longspan.tasks import PACKAGED
from longspan.tasks.command_options import add_task_option

HELP = "predict for documents: answers, labels"
ANY_PATH = ("document", "questions", "output")
HAS_TASKS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of every task."""
    parser.add_argument(
        "model",
        nargs="?",
        default=PACKAGED,
        help="a folder with a model or an adapter, a name on the hub, or the one of longspan's own",
    )
    add_task_option(parser)
    parser.add_argument(
        "--document",
        nargs="+",
        required=True,
        help="a file of text or TEI, also compressed (.gz, .xz, .bz2, .zip, .zst); - is standard input",
    )
    parser.add_argument("--output", metavar="FILE", help="write there instead of to the terminal; a pipe too")
    parser.add_argument("--format", choices=["json", "text"], default="json", help="of the predictions")
    parser.add_argument(
        "--max_length", type=int, action=at_least(1), help="longest window in tokens; all the model takes by default"
    )
    parser.add_argument(
        "--overlap",
        type=int,
        action=at_least(0),
        help="tokens that windows share; 128 or a quarter of a shorter window",
    )
    parser.add_argument("--truncate", action="store_true", help="read the first window only")
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
    """Read, predict, write."""
    task = arguments.chosen_task
    if arguments.output is not None:
        require_writable_file(arguments.output)

    def load() -> tuple[Any, Any]:
        from longspan.tasks.adapters import load_with_head

        return load_with_head(arguments.model, task, allow_pickle=arguments.allow_pickle)

    found = task.predict_rows(arguments, load)
    text = "".join(found.texts if arguments.format == "text" else map(_json_line, found.rows))
    if arguments.output is None:
        sys.stdout.write(text)
    else:
        with replace_file(arguments.output) as temporary:
            temporary.write_text(text, encoding="utf-8")
    _print_notes(found.notes)
    return 0


def _print_notes(notes: Sequence[str]) -> None:
    for note in notes:
        print(note, file=sys.stderr)


def _json_line(row: Mapping[str, Any]) -> str:
    """A line of JSON, and one only for readers that end lines at other characters of Unicode, too."""
    line = json.dumps(row, ensure_ascii=False)
    for character in "\u0085\u2028\u2029":
        line = line.replace(character, f"\\u{ord(character):04x}")
    return line + "\n"
