"""`python -m longspan.cli.grid.child PARENT VERB ...`: the command `longspan VERB ...`, which ends when PARENT does.

A grid that is killed leaves no process behind that a second start would meet in the same folder.
"""

import os
import signal
import sys


def main() -> int:
    """Run the verb; returns its exit code."""
    parent, *words = sys.argv[1:]
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
        if os.getppid() != int(parent):  # it ended before it could be asked for
            return 1
    # A record says which command made it.
    sys.argv = ["longspan", *words]
    from longspan.cli.main import main as longspan

    return longspan(words)


if __name__ == "__main__":
    sys.exit(main())
