"""What a report is made of, before it is a page: the HTML template and the Markdown writer render these."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True)
class Cell:
    """One cell of a table."""

    text: str
    is_best: bool = False
    shade: float | None = None
    """Background from 0 (lowest of the table's scale) to 1; None for none."""
    is_number: bool = False


@dataclass(frozen=True)
class Table:
    """A table; the first column names the row."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""


@dataclass(frozen=True)
class Text:
    """A paragraph; `is_note` for what qualifies the figures beside it, `lead` stands before it in bold."""

    text: str
    is_note: bool = False
    lead: str = ""


class Plot(NamedTuple):
    """An SVG element, what it shows in words for who cannot see it, and a title above where several stand together."""

    drawing: str
    words: str
    title: str = ""


@dataclass(frozen=True)
class Figures:
    """Plots shown side by side where there is room."""

    plots: Sequence[Plot]
    is_wide: bool = False


class Piece(NamedTuple):
    """A stretch of a passage: whether it is in the answer given, and whether in a gold answer."""

    text: str
    is_answer: bool
    is_gold: bool


@dataclass(frozen=True)
class Example:
    """One answered question, in its context, the gold answers beside."""

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
    """What the other systems answered: (system, answer)."""


@dataclass(frozen=True)
class Examples:
    """A list of answered questions under one small heading."""

    title: str
    examples: Sequence[Example]


@dataclass(frozen=True)
class Facts:
    """Named facts; `link` is a relative name to open, where there is one."""

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
    """A cell with a number of so many decimals, a dash where there is none."""
    return Cell("–" if value is None else f"{value:.{digits}f}", is_best and value is not None, shade, is_number=True)


def signed(value: float) -> str:
    """A difference with one decimal and its sign; what rounds to zero has a plus."""
    return f"{round(value, 1) + 0.0:+.1f}"


def count(value: int) -> Cell:
    """A cell with a whole number, thousands apart."""
    return Cell(f"{value:,}", is_number=True)


def memory(n_bytes: float) -> str:
    """Bytes as MiB or GiB."""
    return f"{n_bytes / 2**30:.2f} GiB" if n_bytes >= 2**30 else f"{n_bytes / 2**20:.1f} MiB"
