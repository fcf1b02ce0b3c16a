"""Compare a model with what one would use instead of it, on the same examples: every example counts.

Example:
  longspan evaluate runs/xlmr-long --data xquad --languages en el zh --n_concat 10 --short_model runs/xlmr-short
  longspan evaluate runs/xlmr-long --data data/xquad.el.json data/xquad.th.json --systems "windows of 512" "window only"
  longspan evaluate runs/imdb-long --data data/aclImdb/test

Where does long context help? The answer at every place of documents of several lengths, or a made-up fact in real text:
  longspan evaluate runs/xlmr-long --data squad --n_concat 1 3 5 10 20 --gold_slot all --distractors same --sample 100
  longspan evaluate runs/xlmr-long --data needle --languages sv en --needle_tokens 1024 4096 --texts my.sv.txt my.en.txt

The model's head says which task it is of; --task says so if it does not. `longspan evaluate --task TASK --help` lists
the options that only a task has. Writes evaluation.json into the output folder: `longspan report` makes tables and
plots from it. A run that was stopped goes on where it was when it is started again with the same arguments.
"""

import argparse
from pathlib import Path

from longspan.cli.evaluate_table import evaluation_table
from longspan.errors import InputError
from longspan.evaluation.options import add_arguments

__all__ = ["HAS_TASKS", "HELP", "add_arguments", "run"]

HELP = "compare a model with its baselines, every example counted"
HAS_TASKS = True


def run(arguments: argparse.Namespace) -> int:
    """Read, predict, score, write, print."""
    task = arguments.chosen_task
    if arguments.limit is not None and arguments.sample is not None:
        raise InputError(f"--limit and --sample both say which {task.item_noun}s are asked; leave one out")
    task.check_evaluate_options(arguments)
    destination = arguments.output / "evaluation.json"
    if destination.exists() and not arguments.overwrite:
        raise InputError(f"{destination} exists; choose another --output, or replace it with --overwrite")
    from longspan.files import require_writable_directory

    require_writable_directory(arguments.output, overwrite=True)
    data = task.evaluation_data(arguments)

    import torch

    from longspan.evaluation.evaluate import evaluate
    from longspan.evaluation.resume import Cells
    from longspan.evaluation.systems import systems_for
    from longspan.records import write_record
    from longspan.tasks.adapters import load_with_head

    model, tokenizer = load_with_head(arguments.model, task, allow_pickle=arguments.allow_pickle)
    short_model = short_tokenizer = None
    if arguments.short_model is not None:
        short_model, short_tokenizer = load_with_head(arguments.short_model, task, allow_pickle=arguments.allow_pickle)
    systems = systems_for(
        task,
        model,
        tokenizer,
        names=arguments.systems,
        short_model=short_model,
        short_tokenizer=short_tokenizer,
        max_length=arguments.max_length,
        overlap=arguments.overlap,
        batch_size=arguments.batch_size,
        device=arguments.device or ("cuda" if torch.cuda.is_available() else "cpu"),
        dtype=torch.bfloat16 if arguments.bf16 else None,
        fields=arguments,
    )
    partial = arguments.output / ".cells"
    record = evaluate(
        task,
        systems,
        data.datasets(tokenizer),
        name=arguments.name or data.name,
        model=arguments.model,
        protocol=data.protocol,
        settings=_settings(arguments) | dict(data.settings),
        compare=arguments.compare,
        partial=partial,
        data=weight_hashes(arguments),
        run=arguments.run,
        training_seed=arguments.training_seed,
    )
    if arguments.scores_only:
        record = record.model_copy(update={"items": []})
    write_record(record, destination)
    Cells(partial).remove()
    print("\n".join([*evaluation_table(record), *task.terminal_lines(record)]))
    print(f"\n{destination}")
    return 0


def _settings(arguments: argparse.Namespace) -> dict[str, object]:
    names = ("short_model", "limit", "sample", "batch_size")
    return {name: value for name in names if (value := getattr(arguments, name)) is not None}


def weight_hashes(arguments: argparse.Namespace) -> dict[str, str]:
    """SHA-256 of the weights, of models that are folders here or come with longspan."""
    from longspan.records import hash_file
    from longspan.tasks import PACKAGED
    from longspan.tasks.adapter_files import find_adapter

    hashes = {}
    for name in filter(None, (arguments.model, arguments.short_model)):
        folder = find_adapter(name) if name == PACKAGED else Path(name).expanduser()
        if folder.is_dir():
            for path in sorted(folder.glob("*.safetensors")):
                hashes[f"{name}/{path.name}"] = hash_file(path)
    return hashes
