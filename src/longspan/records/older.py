"""Records of earlier versions, converted to the present one.

Versions 1 and 2 knew one task, question answering: its name and its metrics stood nowhere in the file.
"""

from collections import Counter
from typing import Any

from longspan.records.schema import SCHEMA_VERSION, Metric

TASK = "question_answering"
ITEM_NOUN = "question"
METRICS = (
    Metric(name="f1", label="F1"),
    Metric(name="em", label="EM"),
    Metric(name="f1_squad", label="F1, English rules"),
    Metric(name="em_squad", label="EM, English rules"),
    Metric(name="f1_thesis", label="F1 by the thesis"),
    Metric(name="em_thesis", label="EM by the thesis"),
    Metric(name="HasAns_f1", label="F1, answerable"),
    Metric(name="HasAns_exact", label="EM, answerable"),
    Metric(name="NoAns_f1", label="F1, unanswerable"),
    Metric(name="NoAns_exact", label="EM, unanswerable"),
    Metric(name="best_f1", label="F1 at best threshold"),
    Metric(name="best_exact", label="EM at best threshold"),
)
"""Metrics of versions 1 and 2. The task still has these."""

COUNT_LABELS = {
    "gold_not_read": "Gold answer not read",
    "gold_not_in_document": "Gold answer not in its document",
    "no_prediction": "No prediction",
    "empty_answers": "Empty answers",
    "thesis_survivors": "Survivors of the thesis' filter",
    "thesis_cut_away": "Dropped by the thesis: behind its first window",
}
"""Headings of what versions 1 and 2 counted. The task still counts these."""

_EXTRA = ("context_before", "context_after", "depth")


def upgrade(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a record as the present version has them; those of the present version unchanged."""
    version = fields.get("schema_version", 1)
    if version not in (1, 2):
        return fields
    fields = fields | {"schema_version": SCHEMA_VERSION}
    if fields.get("kind") == "evaluation":
        return _evaluation(fields)
    if fields.get("kind") == "comparison":
        return _comparison(fields)
    return fields


def _evaluation(fields: dict[str, Any]) -> dict[str, Any]:
    fields = dict(fields)
    answers = fields.pop("answers", [])
    scores = [_renamed(row) for row in fields["scores"]] if isinstance(fields.get("scores"), list) else []
    names = {name for score in scores if isinstance(score, dict) for name in score.get("metrics") or ()}
    fields |= {"task": TASK, "item_noun": ITEM_NOUN, "count_labels": COUNT_LABELS}
    fields["metrics"] = [*(metric.model_dump() for metric in METRICS if metric.name in names)]
    fields["metrics"] += [{"name": name, "label": name} for name in sorted(names - {metric.name for metric in METRICS})]
    if "scores" in fields:
        fields["scores"] = scores or fields["scores"]
    fields["items"] = _items(answers)
    for name in ("differences", "places"):
        fields[name] = [_renamed(row) for row in fields.get(name, [])]
    return fields


def _comparison(fields: dict[str, Any]) -> dict[str, Any]:
    rows = [_renamed(row) for row in fields.get("differences", [])]
    names = {row.get("metric") for row in rows}
    metrics = [metric.model_dump() for metric in METRICS if metric.name in names]
    return fields | {"task": TASK, "item_noun": ITEM_NOUN, "metrics": metrics, "differences": rows}


def _items(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    seen: Counter[tuple[Any, ...]] = Counter()
    items = []
    for answer in answers:
        item = dict(answer)
        slot = item.pop("slot", None)
        key = (item.get("system"), item.get("dataset"), item.get("language"), item.get("id"), slot)
        item["unit"] = unit_of(str(item.get("id")), seen[key])
        seen[key] += 1
        item["variant"] = slot
        item["input"] = item.pop("question", "")
        item["extra"] = {name: value for name in _EXTRA if (value := item.pop(name, None)) not in (None, "")}
        items.append(item)
    return items


def unit_of(identifier: str, repeat: int) -> str:
    """Return the resampling unit of a question: its id, with a number if the data set repeats the id."""
    return identifier if repeat == 0 else f"{identifier}#{repeat}"


def _renamed(row: Any) -> Any:
    """Return a row of scores, differences or places with the present names of its fields."""
    if not isinstance(row, dict):
        return row
    n_questions = "n_units" if "baseline" in row else "n_items"
    names = {"n_questions": n_questions, "seconds_per_question": "seconds_per_item"}
    return {names.get(name, name): value for name, value in row.items()}
