"""Markdown of tables, and the line below one that says how its record was made."""

from collections.abc import Collection, Sequence

from longspan.records import EvaluationRecord, Record


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, words: Collection[int] = (0,)) -> str:
    """A table, its columns of words (the first, if not said) to the left and all others to the right."""
    lines = [head, ["---" if i in words else "---:" for i in range(len(head))], *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def made(record: Record, what: str = "") -> str:
    """Command, date, machine and versions."""
    machine, command = record.made.machine, record.made.command
    versions = f"torch {machine.versions['torch']}, transformers {machine.versions['transformers']}"
    device = machine.gpu or machine.processor
    return f"\n{what}`{command}`, {record.made.date[:10]}, {device}, {machine.cores} cores, {versions}.\n"


def all_counted(record: EvaluationRecord) -> str:
    """How many questions each system was asked, to stand before how it was made."""
    first = record.scores[0].system
    n_questions = sum(score.n_items for score in record.scores if score.system == first)
    return f"{n_questions:,} questions, all counted; "
