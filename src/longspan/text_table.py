"""Tables in plain text, for the terminal."""

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]], *, n_text: int = 1, has_rule: bool = False) -> list[str]:
    """Format rows as lines with aligned columns.

    Args:
        rows: rows of equal length; the first is the header.
        n_text: number of text columns at the left, which are left-aligned; the others are right-aligned.
        has_rule: put a line of dashes below the header.
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if column < n_text else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]] if has_rule else lines
