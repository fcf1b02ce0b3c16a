"""records -> `report.html` (one page, nothing loaded from elsewhere) and `report.md` (the same tables)."""

import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from longspan.errors import InputError
from longspan.files import replace_file
from longspan.records import BenchmarkRecord, EvaluationRecord, ProofRecord, Record, TrainingRecord
from longspan.report.blocks import Section
from longspan.report.making import made_section, proof_section, training_section
from longspan.report.markdown import to_markdown
from longspan.report.scores import comparisons, score_sections
from longspan.report.summary import summary_section
from longspan.report.timings import benchmark_section


def write_report(
    records: Sequence[Record], destination: str | Path, title: str, *, files: Sequence[Path] | None = None
) -> Path:
    """Write `report.html` and `report.md` into the folder `destination`; returns the page's path.

    Both are made from the records alone: the same records give the same bytes. A section without records of its kind
    is left out. Whatever else the folder holds stays.

    Args:
        records: what to report on, any kinds in any order.
        destination: the folder, made where it does not exist.
        title: heading of the page.
        files: the file of each record, to link to; None where there are none.

    Raises:
        InputError: there is no record, or the folder cannot be written to.
    """
    if not records:
        raise InputError("there is no record to report on; pass at least one")
    destination = Path(destination)
    if destination.exists() and not destination.is_dir():
        raise InputError(f"{destination} is a file; a report is written into a folder, choose another name")
    links = [None] * len(records) if files is None else [_relative(path, destination) for path in files]
    sections = make_sections(records, links)
    page = destination / "report.html"
    _write(page, _to_html(title, sections, subtitle=_subtitle(records)))
    _write(destination / "report.md", to_markdown(title, sections))
    return page


def make_sections(records: Sequence[Record], links: Sequence[str | None]) -> list[Section]:
    """Every section the records have something for, in the order of the page."""
    evaluations = comparisons([record for record in records if isinstance(record, EvaluationRecord)])
    sections: list[Section | None] = [summary_section(records, evaluations)]
    for index, comparison in enumerate(evaluations):
        several = len(evaluations) > 1
        sections += score_sections(
            comparison, f"e{index + 1}-" if several else "", f"{comparison.name}: " if several else ""
        )
    sections += [
        proof_section([record for record in records if isinstance(record, ProofRecord)]),
        training_section([record for record in records if isinstance(record, TrainingRecord)]),
        benchmark_section([record for record in records if isinstance(record, BenchmarkRecord)]),
        made_section(records, links),
    ]
    return [section for section in sections if section is not None]


def _to_html(title: str, sections: Sequence[Section], subtitle: str) -> str:
    folder = resources.files("longspan.report") / "templates"
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    # What we drew ourselves is markup; everything else on the page is text and gets escaped.
    environment.filters["drawing"] = Markup
    environment.tests["kind"] = lambda block, name: type(block).__name__ == name
    template = environment.from_string((folder / "page.html").read_text(encoding="utf-8"))
    style = Markup((folder / "page.css").read_text(encoding="utf-8"))
    return template.render(title=title, subtitle=subtitle, sections=sections, style=style) + "\n"


def _subtitle(records: Sequence[Record]) -> str:
    dates = sorted({record.made.date[:10] for record in records})
    span = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    return f"{len(records)} {'record' if len(records) == 1 else 'records'}, {span}"


def _relative(path: Path, folder: Path) -> str:
    """Link from a page in `folder` to `path`."""
    try:
        return quote(Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix())
    except ValueError:  # on another drive
        return path.resolve().as_uri()


def _write(path: Path, text: str) -> None:
    with replace_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
