"""Table of the sections that only one task has: task's name -> functions from a comparison to a section or None."""

from collections.abc import Callable, Mapping, Sequence

from longspan.report.blocks import Section
from longspan.report.comparison import Comparison
from longspan.report.protocols import protocols_section
from longspan.report.unanswerable import unanswerable_section

SECTIONS: Mapping[str, Sequence[Callable[[Comparison], Section | None]]] = {
    "question_answering": (protocols_section, unanswerable_section),
}
