"""Writes `report.html` (one page without external resources) and `report.md` (the same tables) from records."""

import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from urllib.parse import quote, unquote

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from longspan.errors import InputError
from longspan.files import replace_file
from longspan.records import (
    BenchmarkRecord,
    ComparisonRecord,
    EvaluationRecord,
    GridRecord,
    ProofRecord,
    Record,
    TrainingRecord,
)
from longspan.report.blocks import Section
from longspan.report.comparison import comparisons, names_apart
from longspan.report.differences import comparison_section
from longspan.report.grid import grid_section
from longspan.report.language_model import language_model_section
from longspan.report.making import made_section, proof_section
from longspan.report.markdown import to_markdown
from longspan.report.runs import results_section
from longspan.report.scores import score_sections
from longspan.report.summary import summary_section
from longspan.report.timings import benchmark_section
from longspan.report.training import training_section


def write_report(
    records: Sequence[Record], destination: str | Path, title: str, *, files: Sequence[Path] | None = None
) -> Path:
    """Write one page and its tables as Markdown; returns the page's path.

    Both depend only on the records: the same records give the same bytes. A section without records of its kind is left
    out, and a record given twice is counted once. Other files in the folder stay.

    Args:
        records: records of any kind in any order.
        destination: a folder for `report.html` and `report.md`, or the name of the page if it ends in `.html`, with the
            Markdown beside it. Missing folders are made.
        title: heading of the page.
        files: the file of each record, for links; None: no links.

    Raises:
        InputError: there is no record, or the folder cannot be written to.
    """
    if not records:
        raise InputError("there is no record to report on; pass at least one")
    page = page_of(destination)
    links = [None] * len(records) if files is None else [_relative(path, page.parent) for path in files]
    kept, notes = _without_copies(records, links)
    kept_records, kept_links = [records[i] for i in kept], [links[i] for i in kept]
    sections = make_sections(kept_records, kept_links, notes)
    _write(page, _to_html(title, sections, subtitle=_subtitle(kept_records)))
    _write(page.with_suffix(".md"), to_markdown(title, sections))
    return page


def page_of(destination: str | Path) -> Path:
    """Path of the page that `write_report` writes for a destination.

    Raises:
        InputError: the destination or its folder is a file, or there is a folder with the page's name.
    """
    destination = Path(destination)
    if destination.suffix.lower() in {".html", ".htm"} and not destination.is_dir():
        folder, page = destination.parent, destination
    else:
        folder, page = destination, destination / "report.html"
    if folder.exists() and not folder.is_file() and not folder.is_dir():
        raise InputError(
            f"{folder} is a pipe or a device, and a report is several files; choose a folder, or a name in .html"
        )
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; a report is written into a folder, choose another name")
    if page.is_dir():
        raise InputError(f"{page} is a folder; the page is to have this name, choose another")
    return page


def _without_copies(records: Sequence[Record], links: Sequence[str | None]) -> tuple[list[int], list[str]]:
    """Return the indexes of the records to keep, and a note for each record that equals an earlier one."""
    kept: list[int] = []
    notes = []
    for index, record in enumerate(records):
        # Compared as JSON, in which NaN equals NaN. Provenance is compared first, so there are few pairs.
        same_run = [i for i in kept if records[i].made == record.made]
        first = next((i for i in same_run if records[i].model_dump_json() == record.model_dump_json()), None)
        if first is None:
            kept.append(index)
            continue
        name = getattr(record, "name", None) or getattr(record, "source", "")
        named = [unquote(link) for i in (first, index) if (link := links[i]) is not None]
        where = f" ({' and '.join(named)})" if named else ""
        notes.append(f"The {record.kind} record “{name}” was given twice{where}: it is counted once.")
    return kept, notes


def make_sections(records: Sequence[Record], links: Sequence[str | None], notes: Sequence[str] = ()) -> list[Section]:
    """Return the sections that the records have data for, in the order of the page; `notes` go into the summary."""
    evaluations = comparisons([record for record in records if isinstance(record, EvaluationRecord)])
    trainings = [record for record in records if isinstance(record, TrainingRecord)]
    told = [*notes, *(note for comparison in evaluations for note in comparison.notes)]
    named = list(zip(names_apart(evaluations), evaluations, strict=True))
    sections: list[Section | None] = [summary_section(records, named, told), results_section(evaluations)]
    several = len(named) > 1
    for index, (name, comparison) in enumerate(named, start=1):
        sections += score_sections(comparison, f"e{index}-" if several else "", name if several else "")
    sections += [
        comparison_section([record for record in records if isinstance(record, ComparisonRecord)]),
        grid_section([record for record in records if isinstance(record, GridRecord)]),
        proof_section([record for record in records if isinstance(record, ProofRecord)]),
        training_section(trainings),
        language_model_section(trainings),
        benchmark_section([record for record in records if isinstance(record, BenchmarkRecord)]),
        made_section(records, links),
    ]
    return [section for section in sections if section is not None]


def _to_html(title: str, sections: Sequence[Section], subtitle: str) -> str:
    folder = resources.files("longspan.report") / "templates"
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    # Only our own drawings are markup; all other text is escaped.
    environment.filters["drawing"] = Markup
    environment.tests["kind"] = lambda block, name: type(block).__name__ == name
    template = environment.from_string((folder / "page.html").read_text(encoding="utf-8"))
    style = Markup((folder / "page.css").read_text(encoding="utf-8"))
    contents = [
        (section.anchor, section.group or section.title)
        for index, section in enumerate(sections)
        if index == 0 or not section.group or section.group != sections[index - 1].group
    ]
    return template.render(title=title, subtitle=subtitle, sections=sections, contents=contents, style=style) + "\n"


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
