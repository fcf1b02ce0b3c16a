"""Copy the records of a grid to benchmarks/results, one file each, without the single answers.

    longspan run answers
    python benchmarks/grid_records.py runs/answers

A record is named after the grid, its line, and its seed if that is not 42. Unfinished lines are skipped. A record of a
line that was run again is replaced.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from longspan.errors import InputError
from longspan.records import EvaluationRecord, GridRecord, TrainingRecord, read_record, write_record

sys.path.insert(0, str(Path(__file__).parent))
from runs import RESULTS


def collect(grid: Path, results: Path = RESULTS) -> list[Path]:
    """Write a record for every finished line of the grid; returns the paths.

    Single answers stay behind: they make most of a record's size, and its scores, places and differences hold
    what the tables say.

    Raises:
        InputError: the folder is no grid's, or a record names a path of one machine alone.
    """
    record = read_record(grid / "grid.json")
    if not isinstance(record, GridRecord):
        raise InputError(f"{grid / 'grid.json'} is no record of a grid; give the folder that `longspan run` wrote")
    written = []
    for line in record.runs:
        if line.status != "done" or line.record is None:
            continue
        found = read_record(grid / line.record)
        if isinstance(found, EvaluationRecord):
            found = found.model_copy(update={"items": []})
        assert isinstance(found, EvaluationRecord | TrainingRecord)
        if any(Path(word).is_absolute() for word in shlex.split(found.made.command)):
            raise InputError(f"{line.name}: made with a path of one machine alone ({found.made.command})")
        kind = "-training" if isinstance(found, TrainingRecord) else ""
        name = f"{record.name}-{line.name}{kind}" + ("" if line.seed in (None, 42) else f"-{line.seed}")
        path = write_record(found, results / f"{found.made.date[:10]}-{name}.json")
        for other in results.glob(f"????-??-??-{name}.json"):
            if other != path:
                other.unlink()
        written.append(path)
    return written


def main(words: Sequence[str] | None = None) -> int:
    """Copy the records and print their paths; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid", type=Path, help="the grid's folder")
    arguments = parser.parse_args(words)
    try:
        written = collect(arguments.grid)
    except InputError as error:
        print(f"grid_records.py: {error}", file=sys.stderr)
        return 2
    for path in written:
        print(f"{path}: {path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
