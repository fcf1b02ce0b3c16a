"""`python -m longspan.grid.child PARENT VERB ...` runs `longspan VERB ...` and ends when the process PARENT does.

So a killed grid leaves no process that would write to the same folder as a second start.
"""

import os
import runpy
import signal
import sys


def end_with(parent: int) -> None:
    """Ask the system to end this process when its parent ends, for whatever reason; only on Linux."""
    if sys.platform != "linux":
        return
    import ctypes

    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
    if os.getppid() != parent:  # the parent ended before the request
        sys.exit(1)


def main() -> None:
    """Run the verb; the process exits with the verb's exit code."""
    parent, *words = sys.argv[1:]
    end_with(int(parent))
    # Progress bars are drawn only on terminals; the grid reads them from the log.
    sys.stderr.isatty = lambda: True
    # Records read their command from sys.argv.
    sys.argv = ["longspan", *words]
    # By name, because `longspan.cli` imports this package and not the other way round.
    runpy.run_module("longspan", run_name="__main__", alter_sys=False)


if __name__ == "__main__":
    main()
