"""The blocks of a report, which the HTML template and the Markdown writer render."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True)
class Cell:
    """One cell of a table."""

    text: str
    is_best: bool = False
    shade: float | None = None
    """Shade of the background from 0 (lowest of the table's scale) to 1; None: no shade."""
    is_number: bool = False


@dataclass(frozen=True)
class Table:
    """A table; the first column names the row."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""


@dataclass(frozen=True)
class Text:
    """A paragraph; `is_note` marks a remark on the figures, `lead` is put before it in bold."""

    text: str
    is_note: bool = False
    lead: str = ""


class Plot(NamedTuple):
    """An SVG element with its alternative text, and a title if there are several plots side by side."""

    drawing: str
    words: str
    title: str = ""


@dataclass(frozen=True)
class Figures:
    """Plots shown side by side if there is room."""

    plots: Sequence[Plot]
    is_wide: bool = False


class Piece(NamedTuple):
    """A part of a passage, and whether it is in the prediction and in a gold answer."""

    text: str
    is_answer: bool
    is_gold: bool


@dataclass(frozen=True)
class Example:
    """One prediction in its context, with the gold answers."""

    question: str
    prediction: str
    before: str
    after: str
    gold: Sequence[str]
    language: str
    facts: Sequence[str]
    pieces: Sequence[Piece] = ()
    """`before`, `prediction` and `after`, cut where an answer starts or ends."""
    others: Sequence[tuple[str, str]] = ()
    """Predictions of the other systems: (system, answer)."""


@dataclass(frozen=True)
class Examples:
    """A list of examples under a small heading."""

    title: str
    examples: Sequence[Example]


@dataclass(frozen=True)
class Facts:
    """Named facts; `link` is a relative link to their file, or None."""

    title: str
    facts: Sequence[tuple[str, str]]
    link: str | None = None


Block = Text | Table | Figures | Examples | Facts


@dataclass(frozen=True)
class Section:
    """A heading and its blocks; `details` are folded away until asked for.

    Sections of one `group` that follow each other have one entry in the list at the top of the page.
    """

    anchor: str
    title: str
    blocks: Sequence[Block]
    details: Sequence[tuple[str, Sequence[Block]]] = field(default=())
    group: str = ""


def number(value: float | None, digits: int = 1, *, is_best: bool = False, shade: float | None = None) -> Cell:
    """A cell with a number of the given decimals; a dash if there is no number."""
    return Cell("–" if value is None else f"{value:.{digits}f}", is_best and value is not None, shade, is_number=True)


def signed(value: float) -> str:
    """A difference with one decimal and its sign; a value that rounds to zero has a plus."""
    return f"{round(value, 1) + 0.0:+.1f}"


def count(value: int) -> Cell:
    """A cell with a whole number, with separators of thousands."""
    return Cell(f"{value:,}", is_number=True)


def memory(n_bytes: float) -> str:
    """Bytes as MiB or GiB."""
    return f"{n_bytes / 2**30:.2f} GiB" if n_bytes >= 2**30 else f"{n_bytes / 2**20:.1f} MiB"
