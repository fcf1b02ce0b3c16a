"""Ask a question answering model, and what one would use instead of it, the same questions in many languages.

Example:
  longspan evaluate runs/xlmr-long --data xquad --languages en el zh --n_concat 10 --short_model runs/xlmr-short
  longspan evaluate runs/xlmr-long --data data/xquad.el.json data/xquad.th.json --systems "windows of 512" "window only"

Where does long context help? The answer at every place of documents of several lengths, or a made-up fact in real text:
  longspan evaluate runs/xlmr-long --data squad --n_concat 1 3 5 10 20 --gold_slot all --distractors same --sample 100
  longspan evaluate runs/xlmr-long --data needle --languages sv en --needle_tokens 1024 4096 --texts my.sv.txt my.en.txt

Writes evaluation.json into the output folder: `longspan report` makes tables and plots from it. Every question counts.
A run that was stopped goes on where it was when it is started again with the same arguments.
"""

import argparse
from pathlib import Path

from longspan.cli.evaluate_table import evaluation_table
from longspan.cli.number_options import at_least, between
from longspan.errors import InputError
from longspan.tasks.question_answering.evaluation_data import (
    DISTRACTORS,
    QUESTION_OPTIONS,
    check_questions,
    is_given,
    make_needle_datasets,
    name_of_questions,
    protocol_of_questions,
    read_datasets,
    read_needle_texts,
)

HELP = "compare a model with its baselines, every question counted"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("model", help="a folder with a question answering model, or a name on the hub")
    parser.add_argument("--data", nargs="+", required=True, metavar="NAME_OR_FILE", help="see `longspan ls datasets`")
    parser.add_argument("--languages", nargs="+", metavar="CODE", help="of the data, where its name takes a language")
    parser.add_argument("--systems", nargs="+", metavar="NAME", help="all that the model has where not given")
    parser.add_argument("--compare", metavar="SYSTEM", help="tested against the others; the last where not given")
    parser.add_argument("--short_model", help="reads the short systems' 512 tokens; the model itself where not given")
    parser.add_argument(
        "--n_concat",
        type=int,
        action=at_least(1),
        nargs="+",
        metavar="N",
        help="join so many paragraphs; several: each",
    )
    parser.add_argument("--separator", default="", help="between joined paragraphs")
    parser.add_argument("--all_questions", action="store_true", help="of joined paragraphs, not only each one's first")
    parser.add_argument(
        "--gold_slot",
        type=_slot,
        metavar="SLOT",
        help="which joined paragraph holds the answer, from 0; all: each once",
    )
    parser.add_argument(
        "--distractors",
        choices=sorted(DISTRACTORS),
        help="paragraphs joined to a question's own: of the same article, of others, or its neighbours (the default)",
    )
    parser.add_argument("--shuffle_seed", type=int, help="shuffle which paragraphs are joined; seed of distractors")
    parser.add_argument(
        "--texts", type=Path, nargs="+", metavar="FILE", help="to put needles in; packaged ones if none"
    )
    parser.add_argument("--repeat_texts", action="store_true", help="until they are as long as needles are wanted")
    parser.add_argument(
        "--needle_tokens",
        type=int,
        action=at_least(1),
        nargs="+",
        metavar="N",
        help="lengths; 1024 2048 4096 8192 16384",
    )
    parser.add_argument(
        "--needle_depths", type=float, action=between(0, 1), nargs="+", metavar="DEPTH", help="0 to 1; 0 0.1 0.2 ... 1"
    )
    parser.add_argument("--needles", type=int, action=at_least(1), metavar="N", help="at each depth; 5")
    parser.add_argument("--needle_seed", type=int, help="of their names, numbers and places; 0")
    parser.add_argument(
        "--limit", type=int, action=at_least(1), metavar="N", help="only the first N questions of each data set"
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
    parser.add_argument("--max_answer_tokens", type=int, action=at_least(1), default=30, help="longest answer")
    parser.add_argument("--batch_size", type=int, action=at_least(1), default=4, help="windows at a time")
    parser.add_argument("--name", help="of the evaluation, in tables; the data where not given")
    parser.add_argument("--run", help="what was trained, its seed left out: runs of one name are seeds of one another")
    parser.add_argument("--training_seed", type=int, help="of the model; `longspan run` says both")
    parser.add_argument("--output", type=Path, default=Path("runs/evaluation"), help="folder for evaluation.json")
    parser.add_argument("--overwrite", action="store_true", help="replace the evaluation.json that is there")
    parser.add_argument("--scores_only", action="store_true", help="leave the single items out of evaluation.json")
    parser.add_argument("--device", help="cpu, cuda, ...; cuda where there is one")
    parser.add_argument("--bf16", action="store_true", help="compute in bfloat16")
    parser.add_argument("--allow_pickle", action="store_true", help="open pickle checkpoints; they can run any code")


def run(arguments: argparse.Namespace) -> int:
    """Read, ask, write, print."""
    if arguments.limit is not None and arguments.sample is not None:
        raise InputError("--limit and --sample both say which questions are asked; leave one out")
    check_questions(arguments)
    destination = arguments.output / "evaluation.json"
    if destination.exists() and not arguments.overwrite:
        raise InputError(f"{destination} exists; choose another --output, or replace it with --overwrite")
    from longspan.files import require_writable_directory

    require_writable_directory(arguments.output, overwrite=True)
    datasets = read_datasets(arguments)
    texts = read_needle_texts(arguments)

    import torch

    from longspan.evaluation import evaluate_question_answering, systems_for
    from longspan.evaluation.cells import Cells
    from longspan.records import write_record
    from longspan.tasks.open_model import load_qa_model
    from longspan.tasks.question_answering.thesis import thesis_lines

    model, tokenizer = load_qa_model(arguments.model, allow_pickle=arguments.allow_pickle)
    short_model = short_tokenizer = None
    if arguments.short_model is not None:
        short_model, short_tokenizer = load_qa_model(arguments.short_model, allow_pickle=arguments.allow_pickle)
    systems = systems_for(
        model,
        tokenizer,
        names=arguments.systems,
        short_model=short_model,
        short_tokenizer=short_tokenizer,
        max_length=arguments.max_length,
        overlap=arguments.overlap,
        batch_size=arguments.batch_size,
        max_answer_tokens=arguments.max_answer_tokens,
        device=arguments.device or ("cuda" if torch.cuda.is_available() else "cpu"),
        dtype=torch.bfloat16 if arguments.bf16 else None,
    )
    datasets += make_needle_datasets(arguments, texts, tokenizer)
    partial = arguments.output / ".cells"
    record = evaluate_question_answering(
        systems,
        datasets,
        name=arguments.name or name_of_questions(arguments),
        model=arguments.model,
        protocol=protocol_of_questions(arguments),
        settings=_settings(arguments),
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
    print("\n".join([*evaluation_table(record), *thesis_lines(record)]))
    print(f"\n{destination}")
    return 0


def _slot(word: str) -> int | str:
    """A slot as it is typed."""
    return word if word == "all" else int(word)


def _settings(arguments: argparse.Namespace) -> dict[str, object]:
    names = ("short_model", *QUESTION_OPTIONS, "limit", "sample", "batch_size")
    found = {name: getattr(arguments, name) for name in names if is_given(getattr(arguments, name))}
    if arguments.n_concat is not None and len(arguments.n_concat) == 1:
        found["n_concat"] = arguments.n_concat[0]
    if "texts" in found:
        found["texts"] = [str(path) for path in arguments.texts]
    return found


def weight_hashes(arguments: argparse.Namespace) -> dict[str, str]:
    """SHA-256 of the weights, of models that are folders here or come with longspan."""
    from longspan.records import hash_file
    from longspan.tasks.adapter_files import PACKAGED, find_adapter

    hashes = {}
    for name in filter(None, (arguments.model, arguments.short_model)):
        folder = find_adapter(name) if name == PACKAGED else Path(name).expanduser()
        if folder.is_dir():
            for path in sorted(folder.glob("*.safetensors")):
                hashes[f"{name}/{path.name}"] = hash_file(path)
    return hashes
