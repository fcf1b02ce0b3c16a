"""Run a grid: pretrain, finetune and evaluate for many runs and seeds, from one YAML file (docs/grid.md).

Example:
  longspan run thesis-small
  longspan run thesis --plan
  longspan run my-grid.yaml --only 'xlmr-*' roberta-squad/42

Each job is a command in its own process, which writes to a log in OUTPUT_DIR/RUN/SEED. A failed job is listed at the
end and does not stop the others. The same command again runs the jobs that are not done, and resumes interrupted ones.
The exit code is 1 if a job failed, and 2 if the grid is wrong, in which case nothing starts.
"""

import argparse
import fnmatch
from collections.abc import Sequence
from typing import TYPE_CHECKING

from longspan.errors import InputError
from longspan.text_table import aligned

if TYPE_CHECKING:
    from longspan.grid.job import Line
    from longspan.grid.read import Grid
    from longspan.grid.run import State

HELP = "run the jobs of a grid that are not done"

_WORDS = {"begun": "half done", "outdated": "to be done again", "waiting": "not begun"}
_FEW = 12  # a plan of at most this many jobs shows their commands


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("grid", help="a YAML file, or the name of a shipped grid (thesis, ...)")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="jobs to run: RUN, RUN/SEED or RUN/SEED/VERB; * matches anything"
    )
    parser.add_argument("--plan", action="store_true", help="list the jobs with their state; nothing is written")


def run(arguments: argparse.Namespace) -> int:
    """Read and check the grid, run the jobs that are not done, print the failures and the table."""
    from longspan.grid.read import read_grid
    from longspan.grid.run import look, run_lines
    from longspan.training.run.lock import locked

    grid = read_grid(arguments.grid)
    chosen = _choose(grid, arguments.only)
    if arguments.plan:
        return _plan(grid, chosen, look(grid))
    with locked(grid.output_dir):
        states = look(grid)
        _require_ready(grid, chosen, states)
        run_lines(grid, chosen, states, _say)
    return _tell_end(grid, chosen, states)


def _choose(grid: "Grid", only: Sequence[str] | None) -> list["Line"]:
    """Return the jobs that `only` names; all if it is None.

    Raises:
        InputError: a name matches no job.
    """
    if only is None:
        return grid.lines
    for pattern in only:
        if not any(_fits(line.key, pattern) for line in grid.lines):
            runs = dict.fromkeys(line.run for line in grid.lines)
            raise InputError(f"--only {pattern}: there is no such job; the grid's runs are {', '.join(runs)}")
    return [line for line in grid.lines if any(_fits(line.key, pattern) for pattern in only)]


def _fits(key: str, pattern: str) -> bool:
    """Whether `pattern` matches the key or its beginning up to a slash."""
    parts = key.split("/")
    return any(fnmatch.fnmatchcase("/".join(parts[:n]), pattern) for n in range(1, len(parts) + 1))


def _require_ready(grid: "Grid", chosen: Sequence["Line"], states: dict[str, "State"]) -> None:
    """Refuse jobs that cannot run: an input is missing, or a job that they need is neither done nor chosen."""
    keys = {line.key for line in chosen}
    problems = _missing(chosen, states)
    for line in chosen:
        if states[line.key].word == "done":
            continue
        for need in line.needs:
            if need.key not in keys and states[need.key].word != "done":
                problems[f"{line.key} needs {need.key}, which is not done; choose it too, with --only {need.key}"] = (
                    None
                )
    if problems:
        raise InputError(f"{grid.asked}: " + "; ".join(problems))


def _missing(chosen: Sequence["Line"], states: dict[str, "State"]) -> dict[str, None]:
    """Missing inputs of the jobs that are not done, and trainings that this machine cannot do, one sentence each."""
    from longspan.grid.training_check import find_refusals

    waiting = [line for line in chosen if states[line.key].word != "done"]
    found = dict.fromkeys(f"{line.run}: {text}" for line in waiting for text in line.missing)
    # One seed per run suffices, because the checks do not depend on the seed.
    trainings = {(line.run, line.verb): line.recipe for line in waiting if line.recipe is not None}
    refusals = zip(trainings, find_refusals(list(trainings.values())), strict=True)
    return found | dict.fromkeys(f"{run}: {verb}: {text}" for (run, verb), text in refusals if text is not None)


def _plan(grid: "Grid", chosen: Sequence["Line"], states: dict[str, "State"]) -> int:
    """Print a table of states with runs as rows and seeds as columns; also the commands if there are few jobs.

    Raises:
        InputError: files, folders or data sets are missing, or this machine cannot do a training.
    """
    seeds = sorted({line.seed for line in chosen}, key=[line.seed for line in grid.lines].index)
    rows: dict[tuple[str, str], dict[int, str]] = {}
    for line in chosen:
        word = states[line.key].word
        rows.setdefault((line.run, line.verb), {})[line.seed] = _WORDS.get(word, word)
    table = [["run", "verb", *(f"seed {seed}" for seed in seeds)]]
    table += [[run, verb, *(row.get(seed, "-") for seed in seeds)] for (run, verb), row in rows.items()]
    print("\n".join(aligned(table, n_text=len(table[0]))))
    for line in chosen:
        if len(chosen) <= _FEW:
            print(f"\n{line.key}: {line.command}" + _fields(line))
        if error := states[line.key].error:
            print(f"\n{line.key}: {error}")
    not_done = [line for line in chosen if states[line.key].word != "done"]
    print(f"\n{grid.name}: {len(not_done)} of {len(chosen)} jobs to do; everything is written to {grid.output_dir}")
    if missing := _missing(chosen, states):
        raise InputError("not ready yet: " + "; ".join(missing))
    return 0


def _fields(line: "Line") -> str:
    """The recipe of a training, one field per line."""
    return (
        "" if line.recipe is None else "".join(f"\n  {name}: {value}" for name, value in line.recipe.fields().items())
    )


def _tell_end(grid: "Grid", chosen: Sequence["Line"], states: dict[str, "State"]) -> int:
    """Print the table and the jobs that are not done; returns the exit code."""
    from longspan.grid.table import score_table
    from longspan.records import EvaluationRecord

    records = [line.read() for line in grid.lines if states[line.key].word == "done"]
    for text in ["", *score_table(record for record in records if isinstance(record, EvaluationRecord))]:
        print(text)
    print(f"{grid.output_dir / 'grid.json'}   next: longspan report {grid.output_dir}")
    failed = [states[line.key] for line in chosen if states[line.key].word == "failed"]
    waiting = [states[line.key] for line in chosen if states[line.key].word not in {"done", "failed"}]
    for state in failed:
        print(f"\nFAILED {state.line.key}: {state.error}\n  log: {state.line.log}\n  alone: {state.line.command}")
    if waiting:
        print("\nnot done, because they need failed jobs: " + ", ".join(state.line.key for state in waiting))
    return 1 if failed or waiting else 0


def _say(text: str, end: str = "\n") -> None:
    print(text, end=end, flush=True)
