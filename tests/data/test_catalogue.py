import gzip
import json

import datasets
import pytest

from longspan.data.languages import language_of_name
from longspan.data.qa import CATALOGUE, expand_name, load_qa_dataset
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
        ("tydiqa.goldp.id.dev", "id"),
        ("mine.my", "my"),
        ("my_questions", None),
        ("el_questions", "el"),
        ("no", None),
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
        ("xquad_long.el.3", None, ("google/xquad", "xquad.el", "validation", None), "el"),
        ("squad_long.10.train", None, ("rajpurkar/squad", None, "train", None), "en"),
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
        ("squadd", {}, r"did you mean squad or .*choose one of packaged/xquad, squad, "),
        ("xquadlong.el.3", {}, r"did you mean xquad_long or "),
        ("trivia", {}, r"did you mean trivia_qa or "),
        ("squad_long", {}, r"write squad_long\.<paragraphs> with the number of paragraphs"),
        ("squad_long.0", {}, r"write squad_long\.<paragraphs>"),
        (
            "xquad_long.10.el",
            {},
            r"write xquad_long\.<language>\.<paragraphs> with ar, .* and the number of paragraphs",
        ),
        ("tydiqa.ja", {}, r"write tydiqa\.<language> with ar, bn"),
        ("squad", {"split": "test"}, "has no split 'test'; it has validation, train"),
        ("packaged/xquad.el", {"language": "de"}, "is in 'el', not 'de'"),
        ("mine.json", {}, r"mine\.json: no such file"),
        ("/nowhere/mine", {}, "no such file"),
    ],
)
def test_wrong_names_are_explained(name, options, message):
    with pytest.raises(InputError, match=message):
        load_qa_dataset(name, **options)


def test_long_sets_are_joined_paragraphs(monkeypatch):
    rows = [{**ROW, "id": str(i), "context": f"{ROW['context']} {i}."} for i in range(5)]
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.Dataset.from_list(rows))
    dataset = load_qa_dataset("xquad_long.en.3")
    assert dataset.name == "xquad_long.en.3"
    assert [(row.slot, row.n_slots) for row in dataset.examples] == [(0, 3), (1, 3), (2, 3), (0, 2), (1, 2)]
    assert load_qa_dataset("squad_long.2.train").name == "squad_long.2.train"


def test_tydiqa_is_told_apart_by_ids(monkeypatch, tmp_path, caplog):
    names = ["finnish--1-0", "english-2-0", "finnish--3-0"]
    rows = [{**ROW, "id": name} for name in names]
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.Dataset.from_list(rows))
    dataset = load_qa_dataset("tydiqa.fi")
    assert (dataset.language, [row.id for row in dataset.examples]) == ("fi", [names[0], names[2]])
    assert dataset.counts["other_languages"] == 1
    # The release has all languages in one file.
    for path, content in (
        (tmp_path / "tydiqa-goldp-v1.1-dev.json", {"data": [{"paragraphs": [_paragraph(row) for row in rows]}]}),
        (tmp_path / "tydiqa-goldp-v1.1-dev.jsonl", None),
    ):
        path.write_text(json.dumps(content) if content else "\n".join(map(json.dumps, rows)))
        assert [row.id for row in load_qa_dataset(path, language="en").examples] == [names[1]]
        with pytest.raises(InputError, match=r"holds questions in en, fi; say which one to read"):
            load_qa_dataset(path)
        with pytest.raises(InputError, match=r"holds questions in en, fi; none is 'sw'"):
            load_qa_dataset(path, language="sw")
    empty = [{**row, "answers": {"text": [""], "answer_start": [0]}} for row in rows]
    (tmp_path / "x.fi.json").write_text(json.dumps({"data": [{"paragraphs": [_paragraph(row) for row in empty]}]}))
    assert load_qa_dataset(tmp_path / "x.fi.json").counts["empty_answers"] == 2
    assert "a copy without labels" in caplog.text


def _paragraph(row):
    answers = zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True)
    answers = [{"text": text, "answer_start": start} for text, start in answers]
    return {"context": row["context"], "qas": [{"id": row["id"], "question": "?", "answers": answers}]}


def test_a_folder_of_files(tmp_path):
    def put(name, identifier="q"):
        (tmp_path / name).write_text(json.dumps({**ROW, "id": identifier}))

    put("a.el.jsonl")
    put("b.el.jsonl")
    dataset = load_qa_dataset(tmp_path)
    assert (dataset.language, [row.id for row in dataset.examples]) == ("el", ["q", "q#2"])
    assert dataset.counts == {"questions": 2, "answers": 4, "repaired_offsets": 2, "repeated_ids": 1}
    assert expand_name(tmp_path) == [(str(tmp_path / "a.el.jsonl"), "el"), (str(tmp_path / "b.el.jsonl"), "el")]
    put("c.sv.jsonl")
    with pytest.raises(InputError, match="holds files in el, sv; pass the language"):
        load_qa_dataset(tmp_path)
    assert load_qa_dataset(tmp_path, language="sv").counts["questions"] == 1
    with pytest.raises(InputError, match="holds no file in de; there are el, sv"):
        load_qa_dataset(tmp_path, language="de")
    put("questions.jsonl")
    with pytest.raises(
        InputError, match=r"the names of questions\.jsonl do not show their language, and other files are in el"
    ):
        load_qa_dataset(tmp_path)
    assert load_qa_dataset(tmp_path, language="sv").counts["questions"] == 2
    with pytest.raises(InputError, match=r"the names of questions\.jsonl do not show their language"):
        expand_name(tmp_path, ["el", "sv"])


def test_a_folder_of_training_and_evaluation_files(tmp_path):
    for name in ("train-v1.1.jsonl", "dev-v1.1.jsonl"):
        (tmp_path / name).write_text(json.dumps({**ROW, "id": name[:5]}))
    asked = {split: [row.id for row in load_qa_dataset(tmp_path, split=split).examples] for split in ("train", None)}
    assert asked == {"train": ["train"], None: ["dev-v"]}
    assert expand_name(tmp_path) == [(str(tmp_path / "dev-v1.1.jsonl"), None)]
    with pytest.raises(InputError, match="holds files for train and for validation, none for test"):
        load_qa_dataset(tmp_path, split="test")
    (tmp_path / "more.jsonl").write_text(json.dumps(ROW))
    with pytest.raises(InputError, match=r"the name of more\.jsonl does not show its split"):
        load_qa_dataset(tmp_path)


@pytest.mark.parametrize(
    ("name", "languages", "expanded"),
    [
        ("squad", None, ["squad"]),
        ("nowhere.json", ["el"], ["nowhere.json"]),
        ("me/mine", None, ["me/mine"]),
        ("xquad.el", ["de"], ["xquad.el"]),
        ("xquad", ["el", "de"], ["xquad.de", "xquad.el"]),
        ("packaged/xquad", ["zh"], ["packaged/xquad.zh"]),
        ("xquad_long.10", ["zh"], ["xquad_long.zh.10"]),
        ("xquad_long.all.3", ["zh"], ["xquad_long.zh.3"]),
        ("xquad_long", ["zh"], ["xquad_long"]),
        ("mlqa", ["de", "en"], ["mlqa.de.de", "mlqa.en.en"]),
        ("mlqa.all.de.dev", ["ar", "en"], ["mlqa.ar.de.validation", "mlqa.en.de.validation"]),
        ("mlqa.en.all", None, [f"mlqa.en.{code}" for code in CATALOGUE["mlqa"].choices]),
    ],
)
def test_names_stand_for_several(name, languages, expanded):
    assert expand_name(name, languages) == [(one, None) for one in expanded]


def test_all_pairs_of_mlqa_and_languages_that_are_not_there():
    pairs = [name for name, _ in expand_name("mlqa.all.all")]
    assert len(pairs) == len(set(pairs)) == 49
    assert len(expand_name("xquad")) == 12
    with pytest.raises(InputError, match="xquad is not in sv; it is in ar, de"):
        expand_name("xquad", ["sv", "el"])


def test_every_entry_describes_itself():
    for entry in CATALOGUE.values():
        assert entry.description and entry.licence and entry.size and entry.splits
