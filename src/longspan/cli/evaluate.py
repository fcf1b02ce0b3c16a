"""Ask a question answering model, and what one would use instead of it, the same questions in many languages.

Example:
  longspan evaluate runs/xlmr-long --data xquad --languages en el zh --n_concat 10 --short_model runs/xlmr-short
  longspan evaluate runs/xlmr-long --data data/xquad.el.json data/xquad.th.json --systems "windows of 512" "window only"

Writes evaluation.json into the output folder: `longspan report` makes tables and plots from it. Every question counts.
A run that was stopped goes on where it was when it is started again with the same arguments.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from longspan.errors import InputError

if TYPE_CHECKING:
    from longspan.data import QaDataset
    from longspan.records import EvaluationRecord

HELP = "compare a model with its baselines, every question counted"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("model", help="a folder with a question answering model, or a name on the hub")
    parser.add_argument("--data", nargs="+", required=True, metavar="NAME_OR_FILE", help="see `longspan ls datasets`")
    parser.add_argument("--languages", nargs="+", metavar="CODE", help="of the data, where its name takes a language")
    parser.add_argument("--systems", nargs="+", metavar="NAME", help="all that the model has where not given")
    parser.add_argument("--compare", metavar="SYSTEM", help="tested against the others; the last where not given")
    parser.add_argument("--short_model", help="reads the short systems' 512 tokens; the model itself where not given")
    parser.add_argument("--n_concat", type=int, help="join so many paragraphs to one document")
    parser.add_argument("--separator", default="", help="between joined paragraphs")
    parser.add_argument("--all_questions", action="store_true", help="of joined paragraphs, not only each one's first")
    parser.add_argument("--gold_slot", type=int, help="which joined paragraph holds the answer, from 0")
    parser.add_argument("--shuffle_seed", type=int, help="shuffle which paragraphs are joined")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N questions of each data set")
    parser.add_argument("--max_length", type=int, help="longest window of the long systems; all the model takes")
    parser.add_argument("--overlap", type=int, help="tokens that windows share; 128 or a quarter of a shorter window")
    parser.add_argument("--max_answer_tokens", type=int, default=30, help="longest answer")
    parser.add_argument("--batch_size", type=int, default=4, help="windows at a time")
    parser.add_argument("--name", help="of the evaluation, in tables; the data where not given")
    parser.add_argument("--run", help="what was trained, its seed left out: runs of one name are seeds of one another")
    parser.add_argument("--training_seed", type=int, help="of the model; `longspan run` says both")
    parser.add_argument("--output", type=Path, default=Path("runs/evaluation"), help="folder for evaluation.json")
    parser.add_argument("--overwrite", action="store_true", help="replace the evaluation.json that is there")
    parser.add_argument("--scores_only", action="store_true", help="leave the single answers out of evaluation.json")
    parser.add_argument("--device", help="cpu, cuda, ...; cuda where there is one")
    parser.add_argument("--bf16", action="store_true", help="compute in bfloat16")
    parser.add_argument("--allow_pickle", action="store_true", help="open pickle checkpoints; they can run any code")


def run(arguments: argparse.Namespace) -> int:
    """Read, ask, write, print."""
    if arguments.limit is not None and arguments.limit < 1:
        raise InputError(f"--limit is {arguments.limit}; it must be at least 1")
    for name in ("separator", "all_questions", "gold_slot", "shuffle_seed"):
        if arguments.n_concat is None and _is_given(getattr(arguments, name)):
            raise InputError(f"--{name} is of no effect without --n_concat; set --n_concat or leave it out")
    destination = arguments.output / "evaluation.json"
    if destination.exists() and not arguments.overwrite:
        raise InputError(f"{destination} exists; choose another --output, or replace it with --overwrite")
    from longspan.files import require_writable_directory

    require_writable_directory(arguments.output, overwrite=True)
    datasets = _read_data(arguments)

    import torch

    from longspan.evaluation import evaluate_question_answering, systems_for
    from longspan.evaluation.cells import Cells
    from longspan.records import write_record
    from longspan.tasks.loading import load_qa_model

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
    partial = arguments.output / ".cells"
    record = evaluate_question_answering(
        systems,
        datasets,
        name=arguments.name or _name(arguments),
        model=arguments.model,
        protocol=_protocol(arguments),
        settings=_settings(arguments),
        compare=arguments.compare,
        partial=partial,
        data=_hashes(arguments),
        run=arguments.run,
        training_seed=arguments.training_seed,
    )
    if arguments.scores_only:
        record = record.model_copy(update={"answers": []})
    write_record(record, destination)
    Cells(partial).remove()
    _print_table(record)
    print(f"\n{destination}")
    return 0


def _read_data(arguments: argparse.Namespace) -> list["QaDataset"]:
    """Every data set that was asked for, joined and cut as asked for."""
    from longspan.data import concatenate, load_qa_dataset

    datasets = []
    for name, language in _names(arguments.data, arguments.languages):
        dataset = load_qa_dataset(name, language=language)
        if arguments.n_concat is not None:
            dataset = concatenate(
                dataset,
                arguments.n_concat,
                separator=arguments.separator,
                seed=arguments.shuffle_seed,
                gold_slot=arguments.gold_slot,
                first_question_only=not arguments.all_questions,
            )
        if arguments.limit is not None:
            dataset = replace(dataset, examples=dataset.examples[: arguments.limit])
        datasets.append(dataset)
    return datasets


def _names(names: Sequence[str], languages: Sequence[str] | None) -> list[tuple[str, str | None]]:
    """Names with their languages put in: `xquad` with en and el gives `xquad.en`, `xquad.el`; folders by file."""
    from longspan.data import expand_name

    result: list[tuple[str, str | None]] = []
    for index, name in enumerate(names):
        expanded = expand_name(name, languages)
        if expanded != [(name, None)]:
            result += expanded
        elif languages is None:
            result.append((name, None))
        elif len(languages) == len(names):
            result.append((name, languages[index]))
        else:
            raise InputError(
                f"--languages has {len(languages)} codes for {len(names)} data sets; {name} needs none, or one for "
                "each data set in the same order"
            )
    return result


def _name(arguments: argparse.Namespace) -> str:
    name = ", ".join(Path(data).name if Path(data).exists() else data for data in arguments.data)
    return name if arguments.n_concat is None else f"{name}, {arguments.n_concat} paragraphs joined"


def _protocol(arguments: argparse.Namespace) -> str:
    parts = []
    if arguments.n_concat is not None:
        questions = "every question" if arguments.all_questions else "the first question of each paragraph"
        parts.append(f"{questions}, {arguments.n_concat} paragraphs joined to one document")
        if arguments.gold_slot is not None:
            parts.append(f"the answer in paragraph {arguments.gold_slot + 1}")
        if arguments.shuffle_seed is not None:
            parts.append(f"paragraphs shuffled (seed {arguments.shuffle_seed})")
    if arguments.limit is not None:
        parts.append(f"only the first {arguments.limit} questions of each data set")
    parts.append(f"best span of at most {arguments.max_answer_tokens} tokens over all windows")
    return "; ".join(parts)


def _settings(arguments: argparse.Namespace) -> dict[str, object]:
    names = (
        "short_model",
        "n_concat",
        "separator",
        "all_questions",
        "gold_slot",
        "shuffle_seed",
        "limit",
        "batch_size",
    )
    return {name: getattr(arguments, name) for name in names if _is_given(getattr(arguments, name))}


def _is_given(value: object) -> bool:
    """Whether an option says something; 0 does."""
    return value is not None and value is not False and value != ""


def _hashes(arguments: argparse.Namespace) -> dict[str, str]:
    """SHA-256 of the weights, of models that are folders here."""
    from longspan.records import hash_file

    hashes = {}
    for name in filter(None, (arguments.model, arguments.short_model)):
        if Path(name).is_dir():
            for path in sorted(Path(name).glob("*.safetensors")):
                hashes[f"{name}/{path.name}"] = hash_file(path)
    return hashes


def _print_table(record: "EvaluationRecord") -> None:
    """Systems downwards; mean F1 and EM, seconds, then F1 in each language."""
    languages = list(dict.fromkeys(score.language for score in record.scores))
    systems = list(dict.fromkeys(score.system for score in record.scores))
    several = len(languages) > 1
    rows = [["system", "F1", "EM", "s/question", "questions", *(languages if several else [])]]
    for system in systems:
        own = [score for score in record.scores if score.system == system]
        seconds = [score.seconds_per_question for score in own if score.seconds_per_question is not None]
        rows.append(
            [
                system,
                f"{fmean(score.metrics['f1'] for score in own):.1f}",
                f"{fmean(score.metrics['em'] for score in own):.1f}",
                f"{fmean(seconds):.2f}" if seconds else "-",
                str(sum(score.n_questions for score in own)),
            ]
        )
        if several:
            for language in languages:
                f1 = [score.metrics["f1"] for score in own if score.language == language]
                rows[-1].append(f"{fmean(f1):.1f}" if f1 else "-")
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        print("  ".join(cells))
    mean = "mean over languages, " if several else ""
    print(f"F1 and EM in per cent, {mean}by each language's own rules; {record.protocol}.")
