"""Write README.md's tables from the committed records.

Example:
  python benchmarks/tables.py            # fill the tables in place
  python benchmarks/tables.py --check    # exit 1 if README.md is not what the records say

A table stands between `<!-- table: NAME RECORD -->` and `<!-- end -->`; NAME is a function below, RECORD a file under
benchmarks/results.
"""

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean

from longspan.records import BenchmarkRecord, EvaluationRecord, Record, read_record

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
_BLOCK = re.compile(r"(<!-- table: (\w+) (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def attention(record: Record) -> str:
    """Ratios of our attention to its peers, by length."""
    assert isinstance(record, BenchmarkRecord)
    peers = ("transformers Longformer", "SDPA full attention")
    ours = [timing for timing in record.timings if timing.system == "longspan"]
    lengths = sorted({timing.n_tokens for timing in ours})
    rows = []
    for what in dict.fromkeys(timing.what for timing in ours):
        for peer in peers:
            ratios = {t.n_tokens: t.ratio_to.get(peer) for t in ours if t.what == what}
            rows.append([f"{what}: time / {peer}", *(_ratio(ratios.get(length)) for length in lengths)])
    settings = record.settings
    head = [
        f"{settings['heads']} x {settings['width']}, window {settings['window']}, {settings['dtype']}",
        *(f"{length:,} tokens" for length in lengths),
    ]
    return _table(head, rows) + _made(record)


def scores(record: Record) -> str:
    """F1 (each language's own rules) of each system in each language."""
    assert isinstance(record, EvaluationRecord)
    languages = list(dict.fromkeys(score.language for score in record.scores))
    rows = []
    for system in dict.fromkeys(score.system for score in record.scores):
        f1 = {score.language: score.metrics["f1"] for score in record.scores if score.system == system}
        rows.append([system, f"{fmean(f1.values()):.1f}", *(f"{f1[language]:.1f}" for language in languages)])
    n_questions = sum(score.n_questions for score in record.scores if score.system == rows[0][0])
    return _table(["F1", "mean", *languages], rows) + _made(record, f"{n_questions:,} questions, all counted; ")


TABLES: dict[str, Callable[[Record], str]] = {"attention": attention, "scores": scores}


def filled(text: str) -> str:
    """`text` with every table written anew from its record."""
    return _BLOCK.sub(
        lambda found: found[1] + TABLES[found[2]](read_record(RESULTS / found[3])) + found[4],
        text,
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _made(record: Record, what: str = "") -> str:
    machine, command = record.made.machine, record.made.command
    versions = f"torch {machine.versions['torch']}, transformers {machine.versions['transformers']}"
    return f"\n{what}`{command}`, {record.made.date[:10]}, {machine.processor}, {machine.cores} cores, {versions}.\n"


def _ratio(value: float | None) -> str:
    if value is None:
        return ""
    return f"1/{1 / value:.1f}" if value < 1 else f"{value:.1f}"


def main() -> int:
    """Fill or check README.md."""
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    if "--check" in sys.argv[1:]:
        return int(filled(text) != text)
    readme.write_text(filled(text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
