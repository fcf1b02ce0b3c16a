"""Lines of a grid, carried out one by one, each in a process of its own; what became of them is kept in grid.json."""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from longspan.errors import InputError
from longspan.grid.job import Line
from longspan.grid.progress import ENVIRONMENT, wait_for
from longspan.grid.read import Grid
from longspan.records import GridRecord, GridRun, hash_file, made_now, read_record, write_record
from longspan.wording import duration

_PROCESS = (sys.executable, "-m", "longspan.grid.child")
_PATIENCE = 30.0  # seconds that an interrupted process has to end by itself
_END_OF_LOG = 20_000  # bytes that are searched for the error


@dataclass
class State:
    """What there is of a line, and what became of it.

    Attributes:
        line: which.
        word: "done", "begun" (its verb goes on from there), "outdated" (an evaluation of a model that has been made
            anew), "failed" or "waiting".
        seconds: that its processes took, as far as grids that were stopped could say.
        error: why it failed, or waits.
    """

    line: Line
    word: str
    seconds: float | None = None
    error: str | None = None


def look(grid: Grid) -> dict[str, State]:
    """The state of every line, by its key.

    Raises:
        InputError: the grid's folder holds another grid, or a record that cannot be read; or lines were done, or begun,
            with other fields than the grid has now, or before what they read was made (all are listed).
    """
    before = _read_before(grid)
    states: dict[str, State] = {}
    problems = []
    for line in grid.lines:
        record = line.read()
        old = before.get(line.key)
        word = "done" if record else "begun" if line.has_begun() else "waiting"
        state = State(line, word, old.seconds if old else None)
        if word != "done" and old is not None and old.status == "failed":
            state.word, state.error = "failed", old.error
        if changes := line.changes():
            problems.append(
                f"{line.key} was {'done' if record else 'begun'} with other fields ({'; '.join(changes)}): put them "
                f"back, give the run another name, or remove {line.folder} to do it again"
            )
        elif record and (newer := _made_since(line, record.made.date)):
            if line.verb == "evaluate":
                state.word = "outdated"
            else:
                problems.append(f"{line.key} was made from an earlier {newer}: remove {line.folder} to make it again")
        states[line.key] = state
    if problems:
        raise InputError(f"{grid.asked}: {_listed(problems)}")
    return states


def _made_since(line: Line, date: str) -> str | None:
    """A line whose result `line` reads and which was made after `date`; for an evaluation also one to be made yet."""
    for need in line.needs:
        record = need.read()
        if line.verb == "evaluate" if record is None else record.made.date > date:
            return need.key
    return None


def run_lines(grid: Grid, chosen: Sequence[Line], states: dict[str, State], say: Callable[..., None]) -> GridRecord:
    """Do what is not done of `chosen`, in their order, and write grid.json after each.

    Args:
        grid: whose lines they are.
        chosen: what to do; what these need is among them or done.
        states: of all lines of the grid, from `look`; brought up to date.
        say: prints, as `print`.

    Returns:
        What was written last.

    Raises:
        KeyboardInterrupt: the line that was under way is left to go on from.
    """
    waiting = [line for line in chosen if states[line.key].word != "done"]
    for line in waiting:
        line.write_recipe()
        if states[line.key].word == "failed":
            states[line.key] = State(line, "begun" if line.has_begun() else "waiting", states[line.key].seconds)
    if n_done := len(chosen) - len(waiting):
        say(f"{n_done} of {len(chosen)} done already")
    record = _write(grid, states)
    for number, line in enumerate(waiting, 1):
        state = states[line.key]
        heading = f"[{number}/{len(waiting)}] {line.key}"
        say(f"{heading} ", end="")
        try:
            if missing := [need.key for need in line.needs if states[need.key].word != "done"]:
                state.error = f"needs {missing[0]}, which is not done"
                say(f"waits: {state.error}")
            else:
                _carry_out(state, heading)
                took = duration(state.seconds or 0.0)
                say(f"done, {took}" if state.word == "done" else f"FAILED after {took}: {state.error}")
        finally:
            record = _write(grid, states)
    return record


def _carry_out(state: State, heading: str) -> None:
    """Run the line's process to its end, how far it is shown behind `heading`."""
    line = state.line
    words = [*line.words, *(["--overwrite"] if state.word == "outdated" else [])]
    line.folder.mkdir(parents=True, exist_ok=True)
    state.error = None
    began = time.perf_counter()
    with line.log.open("a", encoding="utf-8") as log:
        print(f"# {datetime.now(UTC).isoformat(timespec='seconds')} {line.command}", file=log, flush=True)
        start = log.tell()
        process = subprocess.Popen(
            [*_PROCESS, str(os.getpid()), *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"} | ENVIRONMENT,
        )
        try:
            code = wait_for(process, line.log, start, heading)
        except BaseException:
            # Ctrl-C reaches the process by itself; anything else does not.
            _end(process)
            raise
        finally:
            state.seconds = (state.seconds or 0.0) + time.perf_counter() - began
    if code == 0 and line.read() is None:
        state.word, state.error = "failed", f"it ended well, but wrote no {line.record}"
    elif code == 0:
        state.word = "done"
    else:
        state.word, state.error = "failed", _error_of(line, code, start)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _error_of(line: Line, code: int, start: int) -> str:
    """Why a process ended with `code`: the line of its log, from byte `start` on, that says so."""
    with line.log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(start, size - _END_OF_LOG))
        said = [text.strip() for text in re.split(r"[\r\n]+", file.read().decode("utf-8", "replace")) if text.strip()]
    # A progress bar that was cut off may stand before it.
    mark = f"longspan {line.verb}: "
    own = [text.rpartition(mark)[2] for text in said if mark in text]
    raised = [text for text in said if re.match(r"[\w.]*(Error|Exception|Interrupt|Exit)\b", text)]
    last = (own or raised or said or ["it said nothing"])[-1]
    if code < 0:
        return f"killed by signal {-code}{' (out of memory?)' if code == -9 else ''}; its last words: {last}"
    return last


def _read_before(grid: Grid) -> dict[str, GridRun]:
    """What grid.json says of each line, by its key; nothing where there is none."""
    path = grid.output_dir / "grid.json"
    if not path.exists():
        return {}
    record = read_record(path)
    if not isinstance(record, GridRecord) or record.name != grid.name:
        name = record.name if isinstance(record, GridRecord) else f"a record of another kind ({record.kind})"
        raise InputError(f"{path} is of {name}, not of the grid {grid.name}; choose another output_dir")
    return {f"{run.name}/{run.seed}/{run.verb}": run for run in record.runs}


def _write(grid: Grid, states: dict[str, State]) -> GridRecord:
    runs = []
    for state in states.values():
        line = state.line
        runs.append(
            GridRun(
                name=line.run,
                seed=line.seed,
                verb=line.verb,
                command=line.command,
                status="done" if state.word == "done" else "failed" if state.word == "failed" else "waiting",
                seconds=state.seconds,
                record=str(line.record.relative_to(grid.output_dir)) if state.word == "done" else None,
                error=state.error,
            )
        )
    made = made_now(command=shlex.join(["longspan", "run", grid.asked]), data={grid.path.name: hash_file(grid.path)})
    record = GridRecord(made=made, name=grid.name, runs=runs)
    write_record(record, Path(grid.output_dir) / "grid.json")
    return record


def _listed(problems: Sequence[str]) -> str:
    return problems[0] if len(problems) == 1 else "".join(f"\n- {problem}" for problem in problems)
