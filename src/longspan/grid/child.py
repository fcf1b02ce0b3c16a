"""`python -m longspan.grid.child PARENT VERB ...`: the command `longspan VERB ...`, which ends when PARENT does.

A grid that is killed leaves no process behind that a second start would meet in the same folder.
"""

import os
import signal
import sys


def end_with(parent: int) -> None:
    """Ask the system to end this process when its parent ends, however that ends; Linux alone can."""
    if sys.platform != "linux":
        return
    import ctypes

    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
    if os.getppid() != parent:  # it ended before this was asked for
        sys.exit(1)


def main() -> int:
    """Run the verb; returns its exit code."""
    parent, *words = sys.argv[1:]
    end_with(int(parent))
    # Bars are drawn for terminals alone; the grid reads them from the log.
    sys.stderr.isatty = lambda: True
    # A record says which command made it.
    sys.argv = ["longspan", *words]
    from longspan.cli.main import main as longspan

    return longspan(words)


if __name__ == "__main__":
    sys.exit(main())
