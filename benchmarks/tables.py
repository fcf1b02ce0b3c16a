"""Write the tables of the papers named below from the committed records.

Example:
  python benchmarks/tables.py            # fill the tables in place
  python benchmarks/tables.py --check    # exit 1 if a table differs from its record

A table stands between `<!-- table: NAME RECORD ... -->` and `<!-- end -->`; NAME is one of TABLES, RECORD a file
under benchmarks/results, or the name of a run, whose newest record is used. `<!-- bars: cpu -->` starts the bars of a
device.
"""

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from longspan.records import BenchmarkRecord, LanguageModelScore, Record, TrainingRecord, read_record

sys.path.insert(0, str(Path(__file__).parent))
from bars import as_table as bars_table
from evaluation_tables import TABLES as EVALUATION_TABLES
from runs import RESULTS, ROOT, newest
from table_text import made, table

PAPERS = ("README.md", "docs/benchmarks.md", "benchmarks/novels.md", "benchmarks/answers.md", "docs/grid.md")
_BLOCK = re.compile(r"(<!-- table: (\w+) ([^>]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_BARS = re.compile(r"(<!-- bars: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def attention(record: Record) -> str:
    """Ratios of our attention to its peers, by length."""
    assert isinstance(record, BenchmarkRecord)
    peers = ("transformers Longformer", "SDPA full attention", "FlexAttention")
    # Records older than `is_chosen` call ours "longspan".
    ours = [timing for timing in record.timings if timing.is_chosen or timing.system == "longspan"]
    lengths = sorted({timing.n_tokens for timing in ours})
    rows = []
    for what in dict.fromkeys(timing.what for timing in ours):
        for peer in peers:
            ratios = {t.n_tokens: t.ratio_to.get(peer) for t in ours if t.what == what}
            if any(ratio is not None for ratio in ratios.values()):
                rows.append([f"{what}: time / {peer}", *(_ratio(ratios.get(length)) for length in lengths)])
    settings = record.settings
    dtype = settings.get("dtype") or ", ".join(settings["dtypes"])
    head = [
        f"{settings['heads']} x {settings['width']}, window {settings['window']}, {dtype}",
        *(f"{length:,} tokens" for length in lengths),
    ]
    return table(head, rows) + made(record)


def lengths(*records: Record) -> str:
    """Bits per token over all sources by the length of the input, before and after each pre-training run."""
    rows, head = _language_models(records, lambda score: score.dataset == "all", lambda score: f"{score.n_tokens:,}")
    return table(["bits per token, all languages", "when", *(f"{length} tokens" for length in head)], rows)


def languages(*records: Record) -> str:
    """Bits per token by source for the longest inputs, before and after each pre-training run."""
    longest = max(score.n_tokens for record in records for score in _trained(record).language_model)
    rows, head = _language_models(records, lambda score: score.n_tokens == longest, lambda score: score.dataset)
    return table([f"bits per token at {longest:,} tokens", "when", *head], rows) + _each(records)


def frequencies(record: Record) -> str:
    """Bits per token of each held-out novel under the frequencies of its language's tokens."""
    assert isinstance(record, BenchmarkRecord)
    bits = record.settings["bits_per_token"]
    return table(["token frequencies alone", *bits], [["bits per token", *map("{:.2f}".format, bits.values())]])


TABLES: dict[str, Callable[..., str]] = {
    "attention": attention,
    "frequencies": frequencies,
    "lengths": lengths,
    "languages": languages,
    **EVALUATION_TABLES,
}


def filled(text: str) -> str:
    """`text` with every table made from its record."""
    text = _BLOCK.sub(_filled, text)
    return _BARS.sub(lambda found: found[1] + bars_table(found[2]) + found[3], text)


def _filled(found: re.Match[str]) -> str:
    return found[1] + TABLES[found[2]](*(read_record(_record(name)) for name in found[3].split())) + found[4]


def _record(name: str) -> Path:
    """The record with a file name, or the newest record of a run."""
    path = newest(name)
    return RESULTS / name if path is None else path


def _language_models(
    records: Sequence[Record],
    is_wanted: Callable[[LanguageModelScore], bool],
    column: Callable[[LanguageModelScore], str],
) -> tuple[list[list[str]], list[str]]:
    """Rows (run, when, bits ...) without repeated rows of the time before training, and the names of the columns."""
    rows: list[list[str]] = []
    head: list[str] = []
    for record in map(_trained, records):
        for when, told in (("initial", "before"), ("final", "after")):
            scores = [score for score in record.language_model if score.when == when and is_wanted(score)]
            head = head or [column(score) for score in scores]
            assert head == [column(score) for score in scores], record.name
            bits = [f"{score.bits_per_token:.2f}" for score in scores]
            if told == "after" or bits not in [row[2:] for row in rows]:
                rows.append([record.name, told, *bits])
    return rows, head


def _trained(record: Record) -> TrainingRecord:
    assert isinstance(record, TrainingRecord) and record.language_model, "no record of a pre-training"
    return record


def _each(records: Sequence[Record]) -> str:
    lines = []
    for record in map(_trained, records):
        length = f"{record.n_steps:,} steps, {record.seconds / 60:.0f} minutes"
        lines.append(f"- {record.name}: {length}; {made(record).strip()}\n")
    return "\n" + "".join(lines)


def _ratio(value: float | None) -> str:
    if value is None:
        return ""
    return f"1/{1 / value:.1f}" if value < 1 else f"{value:.1f}"


def main() -> int:
    """Write or check the tables."""
    differ = 0
    for name in PAPERS:
        paper = ROOT / name
        text = paper.read_text(encoding="utf-8")
        if "--check" in sys.argv[1:]:
            differ |= filled(text) != text
        else:
            paper.write_text(filled(text), encoding="utf-8")
    return int(differ)


if __name__ == "__main__":
    sys.exit(main())
