import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from longspan.errors import InputError
from longspan.records import (
    SCHEMA_VERSION,
    BenchmarkRecord,
    ComparisonRecord,
    EvaluationRecord,
    GridRecord,
    ProofRecord,
    Record,
    TrainingRecord,
    hash_file,
    made_now,
    read_record,
    write_record,
)

# What JSON can hold; every record field is made of it. Surrogates are no text.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBER = st.floats(allow_nan=False)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


def records_of(kind: type[BaseModel]) -> st.SearchStrategy:
    """Any record of this kind, each field drawn from its annotation."""
    from types import UnionType
    from typing import Any, Literal, Union, get_args, get_origin

    def draw(annotation) -> st.SearchStrategy:
        origin, arguments = get_origin(annotation), get_args(annotation)
        if annotation is Any:
            return ANY_JSON
        if origin is Literal:
            return st.sampled_from(arguments)
        if origin is list:
            return st.lists(draw(arguments[0]), max_size=2)
        if origin is dict:
            return st.dictionaries(draw(arguments[0]), draw(arguments[1]), max_size=2)
        if origin in (Union, UnionType):
            return st.one_of(*map(draw, arguments))
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return records_of(annotation)
        plain = {str: TEXT, float: NUMBER, bool: st.booleans(), int: st.integers(0, 2**60), type(None): st.none()}
        return plain[annotation]

    return st.builds(kind, **{name: draw(field.annotation) for name, field in kind.model_fields.items()})


KINDS = [ProofRecord, TrainingRecord, EvaluationRecord, BenchmarkRecord, ComparisonRecord, GridRecord]


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_comes_back_as_it_was(kind, tmp_path):
    @given(record=records_of(kind))
    @settings(max_examples=25, deadline=None)
    def check(record):
        path = write_record(record, tmp_path / "record.json")
        found = read_record(path)
        assert type(found) is kind and found == record
        assert os.listdir(tmp_path) == ["record.json"]

    check()


def make_record(**changes):
    fields = {
        "made": made_now(seed=1, command="x"),
        "name": "n",
        "task": "t",
        "model": "m",
        "protocol": "p",
        "scores": [],
    }
    return EvaluationRecord(**(fields | changes))


def test_figures_that_are_no_numbers_survive(tmp_path):
    step = {"step": 1, "values": {"loss": math.nan, "grad_norm": math.inf}}
    record = TrainingRecord(
        made=made_now(),
        name="n",
        recipe={},
        attention_backend="blocked",
        n_examples=1,
        n_features=1,
        steps=[step],  # pyright: ignore[reportArgumentType]
        seconds=1.0,
        peak_memory_gib=1.0,
    )
    found = read_record(write_record(record, tmp_path / "r.json"))
    assert math.isnan(found.steps[0].values["loss"]) and found.steps[0].values["grad_norm"] == math.inf


def test_a_broken_record_names_file_and_field(tmp_path):
    path = write_record(make_record(), tmp_path / "r.json")
    good = json.loads(path.read_text())
    for change, message in (
        ({"scores": [{"system": "s"}]}, r"r\.json.*scores\.0\."),
        ({"kind": "unheard-of"}, r"r\.json.*unheard-of"),
        ({"extra": 1}, r"r\.json.*extra"),
    ):
        path.write_text(json.dumps(good | change))
        with pytest.raises(InputError, match=message):
            read_record(path)
    for data in (b"", b"{", b"[]", b"null", path.read_bytes()[:50], b"\xff\xfe"):
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"r\.json is not a longspan record"):
            read_record(path)


def test_what_is_no_file_is_named(tmp_path):
    with pytest.raises(InputError, match="no such record"):
        read_record(tmp_path / "missing.json")
    with pytest.raises(InputError, match="is a folder"):
        read_record(tmp_path)


def test_a_record_cannot_be_changed_or_take_unknown_fields():
    record = make_record()
    with pytest.raises(ValidationError):
        record.name = "other"
    with pytest.raises(ValidationError):
        make_record(naem="typo")


def test_made_now_says_enough_to_make_it_again(monkeypatch):
    monkeypatch.setattr("sys.argv", ["/usr/bin/longspan", "evaluate", "a model"])
    made = made_now(seed=3, data={"a": "b"}, gpu="a GPU")
    assert made.command == "longspan evaluate 'a model'" and made.seed == 3 and made.machine.gpu == "a GPU"
    assert made.date.endswith("+00:00") and made.machine.cores >= 1 and "python" in made.machine.versions


def test_hash_file(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert hash_file(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_every_kind_of_record_is_read_by_its_kind():
    schema = TypeAdapter(Record).json_schema()
    kinds = {"proof", "training", "evaluation", "benchmark", "comparison", "grid"}
    assert set(schema["discriminator"]["mapping"]) == kinds


@pytest.mark.parametrize("version", [{}, {"schema_version": 2}])
def test_old_evaluations_are_converted(version, tmp_path):
    common = {"system": "s", "dataset": "d", "language": "en"}
    answer = common | {"id": "1", "question": "Who?", "gold": ["Ann"], "prediction": "Bo", "metrics": {"f1": 0.0}}
    old = version | {
        "kind": "evaluation",
        "made": made_now().model_dump(mode="json"),
        **{"name": "n", "model": "m", "protocol": "p"},
        "scores": [common | {"n_questions": 3, "metrics": {"em": 1.0, "f1": 2.0}, "seconds_per_question": 0.5}],
        "answers": [answer | {"slot": 1, "depth": 0.5, "context_after": "."}, answer, answer],
        "differences": [
            {"system": "s", "baseline": "b", "dataset": "d", "language": "en", "metric": "f1", "n_questions": 3}
            | dict.fromkeys(("mean", "low", "high", "p_value"), 0.0)
            | {"n_resamples": 10}
        ],
        "places": [
            common | {"length": 3, "unit": "paragraphs", "depth": 0.5, "slot": 1, "n_questions": 3, "metrics": {}}
        ],
    }
    (tmp_path / "old.json").write_text(json.dumps(old))
    found = read_record(tmp_path / "old.json")
    assert (found.schema_version, found.task, found.item_noun) == (SCHEMA_VERSION, "question_answering", "question")
    assert [metric.label for metric in found.metrics] == ["F1", "EM"] and found.metrics[0].higher_is_better
    assert (found.scores[0].n_items, found.scores[0].seconds_per_item) == (3, 0.5)
    assert [(item.unit, item.variant) for item in found.items] == [("1", 1), ("1", None), ("1#1", None)]
    assert found.items[0].input == "Who?" and found.items[0].extra == {"depth": 0.5, "context_after": "."}
    assert (found.differences[0].n_units, found.places[0].n_items) == (3, 3)
    assert read_record(write_record(found, tmp_path / "new.json")) == found


def test_every_committed_record_is_read():
    files = sorted((Path(__file__).parents[1] / "benchmarks" / "results").glob("*.json"))
    assert files and all(read_record(file).schema_version == SCHEMA_VERSION for file in files)


def test_a_record_of_a_later_version_is_refused(tmp_path):
    fields = make_record().model_dump(mode="json") | {"schema_version": 99}
    (tmp_path / "new.json").write_text(json.dumps(fields))
    with pytest.raises(InputError, match=r"new.json has schema version 99.*update longspan"):
        read_record(tmp_path / "new.json")
