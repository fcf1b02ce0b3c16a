"""The section with tables of runs (rows) and data sets (columns)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from longspan.report.blocks import Block, Cell, Section, Table, number
from longspan.report.comparison import Comparison, column
from longspan.report.groups import connected
from longspan.report.names import without_length


class _Column(NamedTuple):
    """A column of the table: a data set's name, its name without length, and its cells by run and system."""

    name: str
    base: str
    cells: Mapping[tuple[str, str], Cell]


def results_section(found: Sequence[Comparison]) -> Section | None:
    """One table per group of runs that share data sets, of any length; None if no record has a run."""
    kinds = dict.fromkeys((c.task, c.metrics[0]) for c in found if c.metrics and c.runs)
    blocks: list[Block] = []
    for task, metric in kinds:
        own = [c for c in found if c.runs and c.metrics and (c.task, c.metrics[0]) == (task, metric)]
        columns: list[_Column] = []
        n_seeds: set[int] = set()
        for comparison in own:
            for in_family in comparison.families:
                values = {name: comparison.values(metric, name, in_family) for name in comparison.systems}
                cells = {}
                for name, cell in column(metric, values).items():
                    entry = comparison.lines[name][0]
                    cells[entry.record.run or "", entry.system] = cell
                    n_seeds.add(len(values[name]))
                name = f"{in_family} ({comparison.n_items(None, in_family):,})"
                columns.append(_Column(name, without_length(in_family), cells))
        if len({line for own_column in columns for line in own_column.cells}) * len(columns) < 2:
            continue
        seeds = sorted(n_seeds - {0})
        noun = own[0].noun
        caption = f"{metric.label}, mean over languages; {noun}s in brackets; the best of a column in bold."
        if seeds and seeds[-1] > 1:
            caption += f" ± standard deviation over {'–'.join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))} seeds."
        for bases in connected(_bases_of_each(columns)):
            blocks.append(_table([column for column in columns if column.base in bases], caption))
            caption = ""
    return Section("runs", "Runs and data sets", blocks) if blocks else None


def _bases_of_each(columns: Sequence[_Column]) -> list[set[str]]:
    """The data sets of each run and system, without their lengths."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for own_column in columns:
        for line in own_column.cells:
            found[line].add(own_column.base)
    return list(found.values())


def _table(columns: Sequence[_Column], caption: str) -> Table:
    """Runs and systems in the order of their first occurrence."""
    rows = [
        [Cell(run), Cell(system), *(column.cells.get((run, system), number(None)) for column in columns)]
        for run, system in dict.fromkeys(line for column in columns for line in column.cells)
    ]
    return Table(["Run", "System", *(column.name for column in columns)], rows, caption)
