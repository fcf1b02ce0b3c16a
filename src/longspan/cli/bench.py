"""Measure longspan beside other implementations in one run, or explain which attention backend would be chosen.

longspan bench attention                     longspan, transformers' Longformer, SDPA full attention, FlexAttention, ...
longspan bench encoder --lengths 40 4096     whole encoders of XLM-R base size, random weights
longspan bench training-step --lengths 2048  forward, backward and optimizer of masked language modelling
longspan bench --explain --device cuda --dtype bfloat16
                                             each backend, and why or why not; the device need not exist

Times vary between runs, so compare the ratios. All implementations are measured in turns in the same process. Those
that would not fit in memory or would take too long are left out, with the reason.
"""

import argparse
from typing import Any

from longspan.number_options import above, at_least, between

HELP = "measure beside other implementations, or explain the choice of an attention backend"
ANY_PATH = ("output",)

_WHATS = ("attention", "encoder", "training-step")
_LENGTHS = {"attention": [512, 1024, 4096, 8192], "encoder": [512, 4096], "training-step": [2048]}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("what", nargs="?", default="attention", choices=_WHATS, help="what to measure")
    parser.add_argument(
        "--explain", action="store_true", help="print why each backend would be chosen or not, and stop"
    )
    shape = parser.add_argument_group("shape")
    shape.add_argument(
        "--lengths", type=int, action=at_least(1), nargs="+", help="tokens per row (the default depends on WHAT)"
    )
    shape.add_argument("--batch", type=int, action=at_least(1), default=1, help="rows")
    shape.add_argument(
        "--window", type=int, action=at_least(2), default=512, help="attention window, both sides together"
    )
    shape.add_argument(
        "--global_tokens", type=int, action=at_least(0), default=0, help="number of first tokens that are global"
    )
    shape.add_argument("--heads", type=int, action=at_least(1), default=12, help="attention heads (attention only)")
    shape.add_argument("--width", type=int, action=at_least(1), default=64, help="width per head (attention only)")
    shape.add_argument(
        "--dilation", nargs="+", default=["1"], metavar="D",
        help="positions per step of the window; 1,2,4 assigns these to the heads in turn; several values are measured"
        " side by side (attention only)",
    )  # fmt: skip
    shape.add_argument("--size", default="base", help="tiny, small, base, or a config.json (models only)")
    shape.add_argument(
        "--padded", metavar="ROWS", help="batch of rows such as 4096,512x7, compared with the same tokens as full rows"
    )
    how = parser.add_argument_group("how")
    how.add_argument("--dtype", nargs="+", default=["float32"], help="one or more of float32, bfloat16, float16")
    how.add_argument("--device", default="cpu", help="cpu or cuda")
    how.add_argument("--threads", type=int, action=at_least(0), default=0, help="CPU threads; 0: torch's default")
    how.add_argument("--backend", default="auto", help="longspan's attention backend, or auto")
    how.add_argument(
        "--backward", action=argparse.BooleanOptionalAction,
        help="also measure forward and backward together (default: yes for attention, no for an encoder)",
    )  # fmt: skip
    how.add_argument(
        "--dropout",
        type=float,
        action=between(0, 1),
        default=0.1,
        help="dropout of hidden states and attention (training-step only)",
    )
    how.add_argument(
        "--gradient_checkpointing", action="store_true", help="recompute activations in the backward (models only)"
    )
    how.add_argument("--optimizer", default="none", help="none, sgd or adamw (training-step only)")
    spent = parser.add_argument_group("extent")
    spent.add_argument(
        "--systems", nargs="+", default=[], metavar="NAME",
        help="measure only systems whose names begin like this; chosen: the backend that longspan selects",
    )  # fmt: skip
    spent.add_argument(
        "--repeats",
        type=int,
        action=at_least(1),
        default=5,
        help="largest number of measured calls per system and length",
    )
    spent.add_argument(
        "--seconds",
        type=float,
        action=above(0),
        default=30.0,
        help="time limit per system and length; systems that take longer are left out",
    )
    spent.add_argument(
        "--memory", action=argparse.BooleanOptionalAction, default=True, help="measure memory, in separate processes"
    )
    spent.add_argument(
        "--memory_gib", type=float, action=above(0), help="leave out systems that need more (default: the free memory)"
    )
    parser.add_argument("--output", help="record to write (default: runs/bench-WHAT.json)")


def run(arguments: argparse.Namespace) -> int:
    """Measure or explain; returns the exit code."""
    import torch
    from transformers.utils import logging

    from longspan.attention import explain
    from longspan.benchmark.attention_benchmark import benchmark_attention
    from longspan.benchmark.markdown_table import as_table
    from longspan.benchmark.model_benchmark import benchmark_models
    from longspan.benchmark.settings import AttentionSettings
    from longspan.files import require_writable_file
    from longspan.progress import progress_bar
    from longspan.records import write_record

    settings = _settings(arguments)
    settings.check()
    if arguments.explain:
        for words, request in settings.requests():
            print(f"{words}:")
            print(explain(request, settings.backend))
        return 0
    settings.check_device()
    if arguments.threads > 0:
        torch.set_num_threads(arguments.threads)
    output = arguments.output or f"runs/bench-{arguments.what}.json"
    require_writable_file(output)
    logging.set_verbosity_error()  # transformers logs at every length that it pads
    with progress_bar(desc=f"bench {arguments.what}", unit=" step", leave=False) as bar:

        def show(step: str) -> None:
            bar.set_postfix_str(step)
            bar.update()

        if isinstance(settings, AttentionSettings):
            record = benchmark_attention(settings, show)
        else:
            record = benchmark_models(settings, show)
    path = write_record(record, output)
    print(as_table(record))
    print(f"\nrecord: {path}")
    return 0


def _settings(arguments: argparse.Namespace) -> Any:
    """The benchmark's settings from the command line."""
    from longspan.benchmark.settings import AttentionSettings, ModelSettings, parse_padded

    common = {
        "lengths": tuple(arguments.lengths or _LENGTHS[arguments.what]),
        "batch": arguments.batch,
        "window": arguments.window,
        "n_global": arguments.global_tokens,
        "dtypes": tuple(arguments.dtype),
        "device": arguments.device,
        "backend": arguments.backend,
        "systems": tuple(arguments.systems),
        "repeats": arguments.repeats,
        "seconds": arguments.seconds,
        "with_memory": arguments.memory,
        "memory_gib": arguments.memory_gib,
    }
    if arguments.what == "attention":
        return AttentionSettings(
            **common,
            heads=arguments.heads,
            width=arguments.width,
            dilations=tuple(_dilation(text, arguments.heads) for text in arguments.dilation),
            backward=arguments.backward is not False,
        )
    return ModelSettings(
        **common,
        task=arguments.what,
        size=arguments.size,
        padded=parse_padded(arguments.padded) if arguments.padded else (),
        backward=bool(arguments.backward),
        dropout=arguments.dropout,
        gradient_checkpointing=arguments.gradient_checkpointing,
        optimizer=arguments.optimizer,
    )


def _dilation(text: str, n_heads: int) -> int | tuple[int, ...]:
    """Parse one dilation for all heads, or several that are assigned to the heads in turn."""
    from longspan.errors import InputError

    parts = text.split(",")
    if not all(part.isdigit() and int(part) for part in parts):
        raise InputError(f"--dilation takes a whole number from 1, or several such as 1,2,4, not {text!r}")
    if n_heads < 1 or n_heads % len(parts):
        raise InputError(f"--dilation {text} names {len(parts)} heads, which does not divide {n_heads} heads")
    dilations = tuple(map(int, parts)) * (n_heads // len(parts))
    return dilations[0] if len(parts) == 1 else dilations
