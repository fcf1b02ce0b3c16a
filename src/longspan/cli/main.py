"""`longspan VERB ...`: finds the verb's file, parses its arguments, turns a user's mistake into exit code 2.

A verb is one module of this room with `HELP` (one line), `add_arguments(parser)` and `run(arguments) -> int`. A verb
that takes any field of a recipe (`--learning_rate 3e-5`) also says `TAKES_FIELDS = True` and finds what argparse did
not know in `arguments.fields`. `ANY_PATH` names its arguments that are paths and may be of any bytes.
"""

import argparse
import importlib
import io
import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import longspan
from longspan.data.decoding import find_surrogate
from longspan.errors import InputError
from longspan.limits import OPTION, set_bound
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


_MAX_UNPACKED = (
    "most bytes that an archive may unpack to, or a file that is read whole may have, such as 5GB "
    "(LONGSPAN_MAX_UNPACKED); where not given, archives 1 GiB or 100 times their own size, data files 4 GiB"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (the process's own where None); returns the exit code."""
    _set_encoding_of_output()
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
            sub.add_argument(OPTION, metavar="SIZE", help=_MAX_UNPACKED)
            module = found if name == wanted else module
    try:
        arguments, rest = parser.parse_known_args(argv)
        if rest and not getattr(module, "TAKES_FIELDS", False):
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        assert module is not None, "argparse accepts known verbs only"
        arguments.fields = rest
        # A run of hours is of the commit it began with.
        running_commit()
        _require_text(arguments, getattr(module, "ANY_PATH", ()))
        with set_bound(arguments.max_unpacked), show_running(f"longspan {arguments.verb}"):
            return module.run(arguments)
    except InputError as error:
        print(f"longspan {wanted}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nlongspan {wanted}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (head, less) went away; what it read was right.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _set_encoding_of_output() -> None:
    """Write UTF-8, and to a terminal its own encoding, with escapes for what that lacks."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        encoding = sys.stdout.encoding if sys.stdout.isatty() else "utf-8"
        sys.stdout.reconfigure(encoding=encoding, errors="backslashreplace")


def _require_text(arguments: argparse.Namespace, exempt: Collection[str]) -> None:
    """Refuse arguments in another encoding: no tokenizer takes their bytes, and no record or model file holds them.

    Raises:
        InputError: an argument that is not named in `exempt` has such a byte.
    """
    for name, value in vars(arguments).items():
        for word in value if isinstance(value, list) else [value]:
            text = str(word) if isinstance(word, str | Path) else ""
            place = find_surrogate(text)
            if name not in exempt and place is not None:
                encoding, byte = sys.getfilesystemencoding(), ord(text[place]) & 0xFF
                raise InputError(
                    f"the argument {text!a} is not {encoding}: character {place} is the byte 0x{byte:02x}; "
                    "write it in this encoding, or set the locale (LC_ALL) to its own"
                )


class _Formatter(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Keeps the module docstring's lines and shows each default."""


if __name__ == "__main__":
    sys.exit(main())
