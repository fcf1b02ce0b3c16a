"""Make one HTML page from the records of runs: scores, comparisons, cost, and how each figure was made.

Example:
  longspan report runs/extended runs/finetuned/training.json runs/evaluation --output runs/report
  longspan report "runs/*/evaluation.json" --output report.html
  longspan report --compare runs/short runs/long --output runs/short-against-long

Writes report.html, one file that opens offline, and report.md with the same tables. --compare also tests the
evaluations of runs against each other, question by question, and writes the result to comparison.json.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from longspan.errors import InputError

if TYPE_CHECKING:
    from longspan.report.find import Found

HELP = "tables, plots and one HTML page from the records of runs"
ANY_PATH = ("runs", "compare", "output")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "runs", nargs="*", type=Path, metavar="RUN", help="a record file, a folder to search, or a pattern in quotes"
    )
    parser.add_argument(
        "--compare",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="runs whose evaluations of the same questions are tested against each other, in pairs",
    )
    parser.add_argument("--system", help="with --compare: the system of each run, if it has several")
    parser.add_argument(
        "--output", type=Path, default=Path("report"), help="folder for report.html and report.md, or the page's name"
    )
    parser.add_argument("--title", default="longspan report", help="heading of the page")


def run(arguments: argparse.Namespace) -> int:
    """Find the records, compare runs if requested, and write the report."""
    from longspan.report import find_records, write_report

    if not arguments.runs and not arguments.compare:
        raise InputError("there is nothing to report on; pass record files or folders of runs, or --compare RUN RUN")
    if arguments.system is not None and not arguments.compare:
        raise InputError("--system has no effect without --compare; set --compare or leave it out")
    found = find_records([*arguments.runs, *(arguments.compare or [])])
    if arguments.compare:
        found = [*found, _compare(arguments)]
    page = write_report(
        [record for _, record in found], arguments.output, arguments.title, files=[path for path, _ in found]
    )
    print(f"{len(found)} {'record' if len(found) == 1 else 'records'}: {page}")
    return 0


def _compare(arguments: argparse.Namespace) -> "Found":
    """Compare the runs of --compare and write the record beside the page."""
    from longspan.evaluation.comparison import compare_records
    from longspan.records import EvaluationRecord, write_record
    from longspan.report.find import Found, find_records
    from longspan.report.page import page_of

    evaluations = [
        found.record for found in find_records(arguments.compare) if isinstance(found.record, EvaluationRecord)
    ]
    if len(evaluations) < 2:
        named = ", ".join(map(str, arguments.compare))
        raise InputError(f"--compare needs the evaluations of two runs, and there is {len(evaluations)} in {named}")
    name = " against ".join(dict.fromkeys(path.stem if path.is_file() else path.name for path in arguments.compare))
    record = compare_records(evaluations, system=arguments.system, name=name)
    path = write_record(record, page_of(arguments.output).parent / "comparison.json")
    return Found(path, record)
