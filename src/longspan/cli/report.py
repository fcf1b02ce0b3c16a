"""One page from the records of runs: what was compared, how well it did, what it cost, how it was made.

    longspan report runs/extended runs/finetuned/training.json runs/evaluation --output runs/report

writes report.html, which needs nothing else and opens offline, and report.md with the same tables.
"""

import argparse
from pathlib import Path

HELP = "tables, plots and one HTML page from the records of runs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a record file, or a folder to search")
    parser.add_argument("--output", type=Path, default=Path("report"), help="folder for report.html and report.md")
    parser.add_argument("--title", default="longspan report", help="heading of the page")


def run(arguments: argparse.Namespace) -> int:
    """Find the records and write the report."""
    from longspan.report import find_records, write_report

    found = find_records(arguments.runs)
    page = write_report(
        [record for _, record in found], arguments.output, arguments.title, files=[path for path, _ in found]
    )
    print(f"{len(found)} records: {page}")
    return 0
