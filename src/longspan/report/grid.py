"""The section about a grid: which jobs are done, which failed and why, and the command of each job."""

from collections import Counter
from collections.abc import Sequence

from longspan.records import GridRecord
from longspan.report.blocks import Block, Cell, Section, Table, Text
from longspan.wording import duration


def grid_section(records: Sequence[GridRecord]) -> Section | None:
    """State of every job; failures are shown with their errors."""
    blocks: list[Block] = []
    details: list[tuple[str, Sequence[Block]]] = []
    for record in records:
        blocks.append(Text(state_of(record)))
        has_seeds = any(run.seed is not None for run in record.runs)
        rows = []
        for run in record.runs:
            rows.append(
                [
                    Cell(run.name),
                    Cell("FAILED" if run.status == "failed" else run.status, is_best=run.status == "failed"),
                    *([Cell("–" if run.seed is None else str(run.seed), is_number=True)] if has_seeds else []),
                    Cell(run.verb),
                    Cell("–" if run.seconds is None else duration(run.seconds), is_number=True),
                    Cell(run.record or ""),
                ]
            )
        columns = ["Run", "State", *(["Seed"] if has_seeds else []), "Verb", "Time", "Record"]
        if rows:
            blocks.append(Table(columns, rows))
        failed = [run for run in record.runs if run.status == "failed"]
        if failed:
            blocks.append(
                Table(
                    ["Failed", "Error", "Command"],
                    [
                        [Cell(_name(run.name, run.seed)), Cell(run.error or "no message"), Cell(run.command)]
                        for run in failed
                    ],
                )
            )
        others = [[Cell(_name(run.name, run.seed)), Cell(run.command)] for run in record.runs]
        if others:
            details.append((f"Commands of {record.name}", [Table(["Run", "Command"], others)]))
    return Section("grid", "The grid", blocks, details) if blocks else None


def state_of(record: GridRecord) -> str:
    """A sentence with the numbers of jobs that are done, failed and waiting."""
    n = Counter(run.status for run in record.runs)
    seconds = sum(run.seconds or 0.0 for run in record.runs)
    text = f"Grid “{record.name}”: {n['done']} of {len(record.runs)} jobs done"
    text += f", {n['failed']} FAILED" if n["failed"] else ""
    text += f", {n['waiting']} waiting" if n["waiting"] else ""
    return text + (f", {duration(seconds)} in total." if seconds else ".")


def _name(name: str, seed: int | None) -> str:
    return name if seed is None else f"{name}, seed {seed}"
