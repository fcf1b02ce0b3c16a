"""Labelled texts in tables: CSV, TSV, JSON lines, JSON, Parquet and data sets of the hub."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from longspan.data.classification.examples import (
    PROBLEM_TYPES,
    LabelledDataset,
    LabelledText,
    ProblemType,
    make_labelled_dataset,
)
from longspan.data.decoding import decoded_rows, require_text
from longspan.data.hub import fingerprint_of
from longspan.data.names import name_of_file
from longspan.data.opening import COMPRESSIONS, parse_json, read_bytes
from longspan.data.rows import delimited_rows, json_line_objects, parquet_rows
from longspan.data.unpacking import ByteCounter
from longspan.errors import InputError
from longspan.records import hash_file

TEXT_COLUMNS = ("text", "sentence", "document", "content", "article", "review")
LABEL_COLUMNS = ("label", "labels", "class", "category", "target")
_ENDINGS = (".csv", ".tsv", ".jsonl", ".json")
_PARQUET = ".parquet"

NumberedRows = Iterable[tuple[int, Mapping[str, Any]]]


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What the user says about a table; None if not said.

    Attributes:
        text, pair, label: names of columns.
        separator: between the labels in a cell; multi-label.
        problem_type: as transformers calls it.
    """

    text: str | None = None
    pair: str | None = None
    label: str | None = None
    separator: str | None = None
    problem_type: ProblemType | None = None

    def __post_init__(self) -> None:
        if self.problem_type is not None and self.problem_type not in PROBLEM_TYPES:
            raise InputError(f"problem_type is {self.problem_type!r}; it must be one of {', '.join(PROBLEM_TYPES)}")
        if self.separator == "":
            raise InputError("label_separator is empty; give the character between two labels, for instance ','")
        if self.separator is not None and self.problem_type not in {None, "multi_label_classification"}:
            raise InputError(f"label_separator is for multi-label data, and problem_type is {self.problem_type}")

    def resolve(self, names: Iterable[str], source: str) -> "Columns":
        """These columns with the text and the label found among `names`.

        Raises:
            InputError: a named column is missing, or the text or label column cannot be told.
        """
        known = list(names)
        for column in (self.text, self.pair, self.label):
            if column is not None and column not in known:
                raise InputError(f"{source} has no column {column!r}; it has {_listed(known)}")
        found = replace(
            self,
            text=self.text or _guess(known, TEXT_COLUMNS, "text", source),
            label=self.label or _guess(known, LABEL_COLUMNS, "label", source),
        )
        named = [column for column in (found.text, found.pair, found.label) if column is not None]
        repeated = next((column for column in named if named.count(column) > 1), None)
        if repeated is not None:
            raise InputError(
                f"{source}: the column {repeated!r} is named twice; text_column, pair_column and label_column are "
                f"columns of their own among {_listed(known)}"
            )
        return found


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names)) or "none"


def _guess(names: list[str], candidates: tuple[str, ...], what: str, source: str) -> str:
    found = [name for name in candidates if name in names]
    if len(found) == 1:
        return found[0]
    why = f"more than one column may hold the {what} ({_listed(found)})" if found else f"no column is called {what!r}"
    raise InputError(f"{source}: {why}; it has {_listed(names)}. Name the one to read: {what}_column")


def is_table(path: Path) -> bool:
    """Whether the name is that of a CSV, TSV, JSON or Parquet file, compressed or not."""
    return _ending(path) is not None


def _ending(path: Path) -> str | None:
    name = path.name.lower()
    for compression in COMPRESSIONS:
        name = name.removesuffix(compression)
    return next((ending for ending in (*_ENDINGS, _PARQUET) if name.endswith(ending)), None)


def name_of_table(path: Path) -> str:
    """A file's name without the endings of its format and compression."""
    name, ending = name_of_file(path), _ending(path)
    return name[: -len(ending)] if ending and name.lower().endswith(ending) else name


def read_table(path: Path, columns: Columns, *, name: str, language: str) -> LabelledDataset:
    """The labelled texts of a CSV, TSV, JSON lines, JSON or Parquet file.

    Raises:
        InputError: the file cannot be read, a column is missing, or a row is not as it should be (with its number).
    """
    source = str(path)
    ending = _ending(path)
    word = "line" if ending in {".jsonl", ".json"} else "row"
    if ending == _PARQUET:
        if path.suffix.lower() != _PARQUET:
            raise InputError(f"{path}: a Parquet file is compressed within; unpack it")

        def choose(types: dict[str, str]) -> list[str]:
            found = columns.resolve(types, source)
            wanted = [found.text, found.pair, found.label, "id" if "id" in types else None]
            return [column for column in dict.fromkeys(wanted) if column is not None]

        rows: NumberedRows = parquet_rows(path, choose, ByteCounter())
    elif ending in {".csv", ".tsv"}:
        rows = delimited_rows(path, "," if ending == ".csv" else "\t", ByteCounter())
    elif ending == ".json" and (data := read_bytes(path)).lstrip(b" \t\r\n\xef\xbb\xbf").startswith(b"["):
        rows, word = _array(path, data), "row"
    else:
        rows = json_line_objects(path, ByteCounter())
    return dataset_of_rows(
        rows, columns, source=source, word=word, name=name, language=language, sha256={path.name: hash_file(path)}
    )


def _array(path: Path, data: bytes) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for i, record in enumerate(parse_json(path, data), 1):
        if not isinstance(record, dict):
            raise InputError(f"{path}: row {i:,} is not a JSON object but {type(record).__name__}")
        yield i, record


def read_hub_rows(rows: Any, columns: Columns, *, source: str, name: str, language: str) -> LabelledDataset:
    """The labelled texts of a `datasets.Dataset`; ClassLabel features give the label names.

    Raises:
        InputError: a column is missing, or a row is not as it should be.
    """
    found = columns.resolve(rows.column_names, source)
    feature = rows.features[found.label]
    declared = getattr(feature, "names", None) or getattr(getattr(feature, "feature", None), "names", None)
    return dataset_of_rows(
        enumerate(decoded_rows(rows, source), 1),
        found,
        source=source,
        name=name,
        language=language,
        sha256={source: fingerprint_of(rows)},
        declared=declared,
    )


def dataset_of_rows(
    rows: NumberedRows,
    columns: Columns,
    *,
    source: str,
    name: str,
    language: str,
    sha256: dict[str, str],
    word: str = "row",
    declared: list[str] | None = None,
) -> LabelledDataset:
    """The data set of rows with numbers; errors name the source and the row.

    White space around a label is no part of it; `counts` has how many rows had some (`labels_stripped`).

    Args:
        rows: number and columns of each row.
        columns: which columns to read.
        source: what errors call the data.
        name: as in tables.
        language: of the texts.
        sha256: name -> hash of what was read.
        word: what errors call a row.
        declared: the label names that numbers in the label column stand for.

    Raises:
        InputError: a row has no text or no label, or holds something else; or as `make_labelled_dataset`.
    """
    examples: list[LabelledText] = []
    resolved: Columns | None = None
    problem_type: ProblemType | None = columns.problem_type
    n_stripped = 0
    for number, row in rows:
        where = f"{source}: {word} {number:,}"
        if resolved is None:
            resolved = columns.resolve(row, source)
            problem_type = problem_type or _problem_type(row.get(resolved.label or ""), resolved, where)
        assert problem_type is not None
        cell = _cell(row, resolved.label, where)
        value = _number(cell, where, resolved.label) if problem_type == "regression" else None
        labels = () if problem_type == "regression" else _labels(cell, resolved, problem_type, declared, where)
        n_stripped += problem_type != "regression" and _has_edges(cell)
        examples.append(
            LabelledText(
                id=str(number) if row.get("id") is None else require_text(str(row["id"]), f"{where}: 'id'"),
                text=_text(row, resolved.text, where),
                pair=None if resolved.pair is None else _text(row, resolved.pair, where),
                labels=labels,
                value=value,
                place=f"{word} {number:,}",
            )
        )
    return make_labelled_dataset(
        examples,
        source=source,
        name=name,
        language=language,
        problem_type=problem_type or "single_label_classification",
        sha256=sha256,
        declared=declared if problem_type != "regression" else None,
        counts={"labels_stripped": n_stripped},
    )


def _problem_type(cell: Any, columns: Columns, where: str) -> ProblemType:
    """The problem type that the first row shows."""
    if columns.separator is not None or isinstance(cell, (list, tuple)):
        return "multi_label_classification"
    if isinstance(cell, float):
        raise InputError(f"{where}: {columns.label!r} holds the number {cell}; set problem_type: regression")
    return "single_label_classification"


def _cell(row: Mapping[str, Any], column: str | None, where: str) -> Any:
    assert column is not None
    if column not in row:
        raise InputError(f"{where} has no field {column!r}; it has {_listed(list(row))}")
    if row[column] is None:
        raise InputError(f"{where} has nothing in {column!r}; add it or remove the row")
    return row[column]


def _text(row: Mapping[str, Any], column: str | None, where: str) -> str:
    text = _cell(row, column, where)
    if not isinstance(text, str):
        raise InputError(f"{where}: {column!r} holds {type(text).__name__}, not text")
    return require_text(text, f"{where}: {column!r}")


def _number(cell: Any, where: str, column: str | None) -> float:
    try:
        value = math.nan if isinstance(cell, bool) else float(cell)
    except (TypeError, ValueError, OverflowError):  # overflow: an integer of more than 308 digits
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{where}: {column!r} holds {cell!r}, not a number; regression needs one in each row")
    return value


def _labels(
    cell: Any, columns: Columns, problem_type: ProblemType, declared: list[str] | None, where: str
) -> tuple[str, ...]:
    is_multi = problem_type == "multi_label_classification"
    parts = cell
    if is_multi and columns.separator is not None and isinstance(cell, str):
        parts = [part.strip() for part in cell.split(columns.separator) if part.strip()]
    if isinstance(parts, (list, tuple)):
        if not is_multi:
            raise InputError(f"{where}: {columns.label!r} holds a list; set problem_type: multi_label_classification")
        labels = tuple(_label(part, columns, declared, where) for part in parts)
        if len(set(labels)) < len(labels):
            raise InputError(f"{where}: a label comes twice in {columns.label!r}: {', '.join(labels)}")
        return labels
    if is_multi and parts == "":
        return ()
    return (_label(parts, columns, declared, where),)


def _label(cell: Any, columns: Columns, declared: list[str] | None, where: str) -> str:
    if declared is not None and isinstance(cell, int):
        if not 0 <= cell < len(declared):  # the hub writes -1 where a test set keeps its labels secret
            raise InputError(f"{where} has no label: {columns.label!r} is {cell}; it must be 0 to {len(declared) - 1}")
        return declared[cell]
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, int):
        return str(cell)
    if not isinstance(cell, str):
        raise InputError(f"{where}: {columns.label!r} holds {type(cell).__name__} ({cell!r}), not a label")
    if not cell.strip():
        raise InputError(f"{where} has no label in {columns.label!r}; add it or remove the row")
    return require_text(cell.strip(), f"{where}: {columns.label!r}")


def _has_edges(cell: Any) -> bool:
    """Whether white space was taken off a label; white space around a separator is no part of a label."""
    parts = cell if isinstance(cell, (list, tuple)) else [cell]
    return any(isinstance(part, str) and part != part.strip() for part in parts)
