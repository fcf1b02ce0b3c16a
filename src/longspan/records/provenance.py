"""How a record was made: command, commit, seed, data and machine."""

import functools
import hashlib
import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from longspan.records.schema import Machine, Provenance


def made_now(
    *,
    seed: int | None = None,
    data: dict[str, str] | None = None,
    command: str | None = None,
    gpu: str | None = None,
) -> Provenance:
    """Return the provenance of a record that this process writes now.

    Args:
        seed: the run's seed.
        data: name -> SHA-256 of each data file read (`hash_file`).
        command: what to type to do this again; None: the command line of this process.
        gpu: name of the device, given by a caller that knows torch.
    """
    if command is None:
        program = Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "python"
        command = shlex.join([program, *sys.argv[1:]])
    return Provenance(
        command=command,
        commit=running_commit(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=seed,
        data=data or {},
        machine=_machine(gpu),
    )


def hash_file(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _machine(gpu: str | None) -> Machine:
    page, pages = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_PHYS_PAGES")
    versions = {"python": platform.python_version()}
    for name in ("longspan", "torch", "transformers", "triton"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        memory_gib=round(page * pages / 2**30, 1),
        gpu=gpu,
        system=f"{platform.system()} {platform.machine()}",
        versions=versions,
    )


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@functools.cache
def running_commit() -> str | None:
    """Return the git commit of the checkout that longspan runs from; None if it runs from an installed wheel.

    "+changes" follows the commit if the package's files differ from it. The result is cached: `longspan.cli.main` calls
    this first, because the checkout may change during a long run.
    """
    here = Path(__file__).resolve().parents[1]

    def git(*arguments: str) -> str:
        run = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True)
        return run.stdout.strip()

    try:
        if not (Path(git("rev-parse", "--show-toplevel")) / "src" / "longspan").samefile(here):
            return None
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
