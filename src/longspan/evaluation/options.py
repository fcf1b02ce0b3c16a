"""The options that `longspan evaluate` has for every task. Grids check theirs against the same ones."""

import argparse
from pathlib import Path

from longspan.number_options import at_least
from longspan.tasks.command_options import add_task_option


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of every task."""
    parser.add_argument("model", help="a folder with a model, or a name on the hub")
    add_task_option(parser)
    parser.add_argument("--data", nargs="+", required=True, metavar="NAME_OR_FILE", help="see `longspan ls datasets`")
    parser.add_argument("--languages", nargs="+", metavar="CODE", help="of the data, where its name takes a language")
    parser.add_argument("--systems", nargs="+", metavar="NAME", help="all that the model has by default")
    parser.add_argument("--compare", metavar="SYSTEM", help="tested against the others; the last by default")
    parser.add_argument("--short_model", help="reads the short systems' 512 tokens; the model itself by default")
    parser.add_argument(
        "--limit", type=int, action=at_least(1), metavar="N", help="only the first N examples of each data set"
    )
    parser.add_argument(
        "--sample",
        type=int,
        action=at_least(1),
        metavar="N",
        help="only N of each data set, drawn, always the same ones",
    )
    parser.add_argument(
        "--max_length", type=int, action=at_least(1), help="longest window of the long systems; all the model takes"
    )
    parser.add_argument(
        "--overlap",
        type=int,
        action=at_least(0),
        help="tokens that windows share; 128 or a quarter of a shorter window",
    )
    parser.add_argument("--batch_size", type=int, action=at_least(1), default=4, help="windows at a time")
    parser.add_argument("--name", help="of the evaluation, in tables; the data by default")
    parser.add_argument("--run", help="what was trained, without its seed: runs of one name are seeds of one another")
    parser.add_argument("--training_seed", type=int, help="of the model; `longspan run` says both")
    parser.add_argument("--output", type=Path, default=Path("runs/evaluation"), help="folder for evaluation.json")
    parser.add_argument("--overwrite", action="store_true", help="replace the evaluation.json that is there")
    parser.add_argument("--scores_only", action="store_true", help="leave the single items out of evaluation.json")
    parser.add_argument("--device", help="cpu, cuda, ...; cuda where there is one")
    parser.add_argument("--bf16", action="store_true", help="compute in bfloat16")
    parser.add_argument("--allow_pickle", action="store_true", help="open pickle checkpoints; they can run any code")
