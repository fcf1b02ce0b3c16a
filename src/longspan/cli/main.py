"""`longspan VERB ...`: finds the verb's file, parses its arguments, turns a user's mistake into exit code 2.

A verb is one module of this room with `HELP` (one line), `add_arguments(parser)` and `run(arguments) -> int`. A verb
that takes any field of a recipe (`--learning_rate 3e-5`) also says `TAKES_FIELDS = True` and finds what argparse did
not know in `arguments.fields`.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

import longspan
from longspan.errors import InputError
from longspan.progress import show_running
from longspan.records import running_commit

VERBS = (
    "quickstart",
    "extend",
    "pretrain",
    "finetune",
    "evaluate",
    "predict",
    "run",
    "export",
    "report",
    "bench",
    "ls",
    "check",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (the process's own where None); returns the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    # Only the verb that is asked for is imported: `longspan --help` answers at once.
    wanted = next((word for word in argv if not word.startswith("-")), None)
    parser = argparse.ArgumentParser(prog="longspan", description="Give the encoder you already have a long memory.")
    parser.add_argument("--version", action="version", version=f"longspan {longspan.__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    module = None
    for name in VERBS:
        if name == wanted or wanted not in VERBS:
            found = importlib.import_module(f"longspan.cli.{name}")
            sub = verbs.add_parser(name, help=found.HELP, description=found.__doc__, formatter_class=_Formatter)
            found.add_arguments(sub)
            module = found if name == wanted else module
    arguments, rest = parser.parse_known_args(argv)
    if rest and not getattr(module, "TAKES_FIELDS", False):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    assert module is not None, "argparse accepts known verbs only"
    arguments.fields = rest
    # A run of hours is of the commit it began with.
    running_commit()
    try:
        with show_running(f"longspan {arguments.verb}"):
            return module.run(arguments)
    except InputError as error:
        print(f"longspan {arguments.verb}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nlongspan {arguments.verb}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (head, less) went away; what it read was right.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


class _Formatter(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Keeps the module docstring's lines and shows each default."""


if __name__ == "__main__":
    sys.exit(main())
