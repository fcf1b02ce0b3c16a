import gzip
import json

import datasets
import pytest

from longspan.data import CATALOGUE, load_qa_dataset
from longspan.data.languages import language_of_name
from longspan.errors import InputError

LANGUAGES = CATALOGUE["packaged/xquad"].choices
ROW = {
    "id": "q",
    "title": "T",
    "question": "Where?",
    "context": "Anna lives in Oslo.",
    "answers": {"text": ["Oslo", "in Oslo"], "answer_start": [13, 11]},
}
NO_ANSWER = {**ROW, "id": "r", "answers": {"text": [], "answer_start": []}}


def test_packaged_questions_are_parallel_and_whole():
    ids = {}
    for language in LANGUAGES:
        dataset = load_qa_dataset(f"packaged/xquad.{language}")
        assert (dataset.name, dataset.language) == (f"packaged/xquad.{language}", language)
        assert dataset.counts == {"questions": 220, "answers": 220}
        assert len({row.context for row in dataset.examples}) == 50
        ids[language] = [row.id for row in dataset.examples]
    assert all(ids[language] == ids["en"] for language in LANGUAGES)


def test_no_packaged_article_is_in_both_parts():
    train, evaluation = load_qa_dataset("packaged/xquad.en.train"), load_qa_dataset("packaged/xquad.en")
    assert train.counts["questions"] == 970
    assert train == load_qa_dataset("packaged/xquad.en", split="train")
    assert {row.title for row in train.examples}.isdisjoint(row.title for row in evaluation.examples)
    with pytest.raises(InputError, match=r"English only: packaged/xquad\.en\.train"):
        load_qa_dataset("packaged/xquad.el", split="train")


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("xquad.el", "el"),
        ("dev-context-ar-question-de", "ar"),
        ("squad_dev_v2_sv", "sv"),
        ("train-v1.1", None),
        ("200423_covidQA", None),
    ],
)
def test_a_files_name_gives_its_language(name, language):
    assert language_of_name(name) == language


def test_reads_files(tmp_path, tiny_squad):
    assert load_qa_dataset(tiny_squad).language == "en"
    assert load_qa_dataset(str(tiny_squad), split="train", language="sv").language == "sv"
    path = tmp_path / "mine.el.jsonl.gz"
    flat = {**ROW, "answers": [{"text": "Oslo", "answer_start": 14}]}
    path.write_bytes(gzip.compress("\n".join(json.dumps(row) for row in (flat, NO_ANSWER)).encode() + b"\n"))
    dataset = load_qa_dataset(path)
    assert (dataset.name, dataset.language, len(dataset.examples)) == ("mine.el", "el", 2)
    assert [row.is_impossible for row in dataset.examples] == [False, True]


def test_wrong_json_lines_are_named(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(ROW) + '\n{"id":\n')
    with pytest.raises(InputError, match=r"a\.jsonl: line 2 is not JSON"):
        load_qa_dataset(path)
    path.write_text('{"id": "1"}')
    with pytest.raises(InputError, match=r"a\.jsonl: row 0 has no `context`"):
        load_qa_dataset(path)


def test_reads_a_folder_that_datasets_saved(tmp_path):
    rows = datasets.Dataset.from_list([ROW, NO_ANSWER])
    datasets.DatasetDict({"train": rows, "validation": rows.select([0])}).save_to_disk(tmp_path / "both")
    rows.save_to_disk(tmp_path / "one")
    assert len(load_qa_dataset(tmp_path / "both").examples) == 1
    assert len(load_qa_dataset(tmp_path / "both", split="train").examples) == 2
    dataset = load_qa_dataset(tmp_path / "one")
    assert dataset.counts == {"questions": 2, "answers": 2, "impossible": 1, "repaired_offsets": 1}
    assert dataset.examples[0].answers[0].start == 14
    with pytest.raises(InputError, match="no split 'test'; it has validation, train"):
        load_qa_dataset(tmp_path / "both", split="test")
    with pytest.raises(InputError, match="folder that holds no data set"):
        load_qa_dataset(tmp_path)


@pytest.mark.parametrize(
    ("name", "split", "asked", "language"),
    [
        ("squad", None, ("rajpurkar/squad", None, "validation", None), "en"),
        ("squad", "train", ("rajpurkar/squad", None, "train", None), "en"),
        ("squad.train", "validation", ("rajpurkar/squad", None, "train", None), "en"),
        ("squad_v2", None, ("rajpurkar/squad_v2", None, "validation", None), "en"),
        ("xquad.el", None, ("google/xquad", "xquad.el", "validation", None), "el"),
        ("mlqa.en.de", None, ("facebook/mlqa", "mlqa.en.de", "test", "refs/convert/parquet"), "en"),
        ("mlqa.de.en", "dev", ("facebook/mlqa", "mlqa.de.en", "validation", "refs/convert/parquet"), "de"),
        ("me/mine", None, ("me/mine", None, "validation", None), "en"),
        ("me/mine:part.sv", "train", ("me/mine", "part.sv", "train", None), "sv"),
    ],
)
def test_names_are_asked_of_the_hub(monkeypatch, name, split, asked, language):
    calls = []

    def load_dataset(repository, config, *, split, revision):
        calls.append((repository, config, split, revision))
        return datasets.Dataset.from_list([ROW])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    dataset = load_qa_dataset(name, split=split)
    assert calls == [asked]
    assert (dataset.language, len(dataset.examples), len(dataset.sha256)) == (language, 1, 1)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConnectionError("Couldn't reach"), "hub is not reachable.*a local file works too"),
        (datasets.exceptions.DatasetNotFoundError("no"), "has no data set google/xquad.*a local file works too"),
        (RuntimeError("scripts are no longer supported"), "cannot be read .*no longer supported.*a local file works"),
        (ValueError("Unknown split"), "cannot be read .*Unknown split"),
    ],
)
def test_what_the_hub_refuses_is_explained(monkeypatch, error, message):
    def load_dataset(*arguments, **options):
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(InputError, match=message):
        load_qa_dataset("xquad.el")


def test_missing_columns_are_named(monkeypatch):
    rows = datasets.Dataset.from_list([{"id": "1", "query": "?", "context": "x"}])
    monkeypatch.setattr(datasets, "load_dataset", lambda *arguments, **options: rows)
    with pytest.raises(InputError, match=r"has no column question, answers; it has id, query, context"):
        load_qa_dataset("me/mine")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("xquad", {}, r"xquad: write xquad\.<language> with ar, de"),
        ("xquad.xx", {}, r"write xquad\.<language>"),
        ("mlqa.en", {}, r"write mlqa\.<context language>\.<question language>"),
        ("squad.en", {}, "squad.en: write squad$"),
        ("squadd", {}, r"did you mean squad or "),
        ("squad", {"split": "test"}, "has no split 'test'; it has validation, train"),
        ("packaged/xquad.el", {"language": "de"}, "is in 'el', not 'de'"),
        ("mine.json", {}, r"mine\.json: no such file"),
        ("/nowhere/mine", {}, "no such file"),
    ],
)
def test_wrong_names_are_explained(name, options, message):
    with pytest.raises(InputError, match=message):
        load_qa_dataset(name, **options)


def test_every_entry_describes_itself():
    for entry in CATALOGUE.values():
        assert entry.description and entry.licence and entry.size and entry.splits
