"""The command `longspan VERB ...`: imports the verb's module, parses its arguments, and converts errors to exit codes.

A verb is a module of this package with `HELP` (one line), `add_arguments(parser)` and `run(arguments) -> int`. Optional
constants: `TAKES_FIELDS = True` for a verb that takes fields of a recipe (`--learning_rate 3e-5`), which `run` finds in
`arguments.fields`; `HAS_TASKS = True` for a verb with options of tasks, whose task is in `arguments.chosen_task`;
`ANY_PATH`, the names of arguments that are paths and may have any bytes.
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
from longspan.tasks.command_options import add_options_of_task, unknown_option

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
    "largest size of an unpacked archive, or of a file that is read as a whole, such as 5GB (LONGSPAN_MAX_UNPACKED); "
    "by default 1 GiB or 100 times the packed size for archives, 4 GiB for data files"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (None: that of the process); returns the exit code."""
    _set_encoding_of_output()
    argv = list(sys.argv[1:] if argv is None else argv)
    # Only the requested verb is imported, so that the command starts quickly.
    wanted = next((word for word in argv if not word.startswith("-")), None)
    parser = argparse.ArgumentParser(prog="longspan", description="Give the encoder you already have a long memory.")
    parser.add_argument("--version", action="version", version=f"longspan {longspan.__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    module = None
    try:
        for name in VERBS:
            if name == wanted or wanted not in VERBS:
                found = importlib.import_module(f"longspan.cli.{name}")
                sub = verbs.add_parser(name, help=found.HELP, description=found.__doc__, formatter_class=_Formatter)
                found.add_arguments(sub)
                sub.add_argument(OPTION, metavar="SIZE", help=_MAX_UNPACKED)
                module = found if name == wanted else module
                if name == wanted and getattr(found, "HAS_TASKS", False):
                    add_options_of_task(sub, name, argv[argv.index(name) + 1 :], found.add_arguments)
        arguments, rest = parser.parse_known_args(argv)
        if rest and hasattr(arguments, "chosen_task"):
            raise unknown_option(arguments.verb, arguments.chosen_task, rest[0])
        if rest and not getattr(module, "TAKES_FIELDS", False):
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        assert module is not None, "argparse accepts known verbs only"
        arguments.fields = rest
        # Caches the commit, so that the record of a long run has the commit at its start.
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
        # The reader of a pipe (head, less) has ended, which is no error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _set_encoding_of_output() -> None:
    """Write UTF-8, or the encoding of a terminal with escapes for other characters."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        encoding = sys.stdout.encoding if sys.stdout.isatty() else "utf-8"
        sys.stdout.reconfigure(encoding=encoding, errors="backslashreplace")


def _require_text(arguments: argparse.Namespace, exempt: Collection[str]) -> None:
    """Refuse arguments in another encoding, which neither tokenizers nor records can represent.

    Raises:
        InputError: an argument that is not in `exempt` has a byte outside the file system's encoding.
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
