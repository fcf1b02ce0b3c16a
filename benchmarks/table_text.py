"""Markdown tables, and the line below a table that says how its record was made."""

from collections.abc import Collection, Sequence

from longspan.records import EvaluationRecord, Record


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, words: Collection[int] = (0,)) -> str:
    """A Markdown table; the columns `words` are aligned left, all others right."""
    lines = [head, ["---" if i in words else "---:" for i in range(len(head))], *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def made(record: Record, what: str = "") -> str:
    """A line with command, date, machine and versions of a record."""
    machine, command = record.made.machine, record.made.command
    versions = f"torch {machine.versions['torch']}, transformers {machine.versions['transformers']}"
    device = machine.gpu or machine.processor
    return f"\n{what}`{command}`, {record.made.date[:10]}, {device}, {machine.cores} cores, {versions}.\n"


def all_counted(record: EvaluationRecord) -> str:
    """The number of questions of each system, as the start of the line of `made`."""
    first = record.scores[0].system
    n_questions = sum(score.n_items for score in record.scores if score.system == first)
    return f"{n_questions:,} questions, all counted; "
