import csv
import gzip
import io
import json
import subprocess
import sys
from dataclasses import replace

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longspan.data.classification import (
    CLASSIFICATION_CATALOGUE,
    LabelledText,
    labels_to_train,
    load_labelled_dataset,
    require_data,
    require_known_labels,
)
from longspan.data.classification.hyperpartisan import ids_of_split
from longspan.errors import InputError

ROWS = [{"text": 'A "good" film,\nlong', "label": "pos"}, {"text": "καλό", "label": "neg"}]


def write_csv(rows):
    file = io.StringIO()
    writer = csv.DictWriter(file, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def write_lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def save(folder, name, data):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return str(path)


def refused(match, name, **options):
    with pytest.raises(InputError, match=match):
        load_labelled_dataset(name, **options)


# Tables.


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl", "a.json", "b.json", "a.parquet"])
def test_each_format_gives_the_same_texts(tmp_path, name):
    if name == "a.parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / name)
    else:
        data = {"a.csv": write_csv, "a.csv.gz": lambda rows: gzip.compress(write_csv(rows))}.get(name, write_lines)
        save(tmp_path, name, json.dumps(ROWS) if name == "b.json" else data(ROWS))
    dataset = load_labelled_dataset(str(tmp_path / name))
    assert [(row.text, row.labels) for row in dataset.examples] == [(row["text"], (row["label"],)) for row in ROWS]
    assert dataset.problem_type == "single_label_classification"
    assert dataset.label_names == ("neg", "pos")
    assert (dataset.language, dataset.counts) == ("en", {"texts": 2})
    assert list(dataset.sha256) == [name]


def test_quotes_in_tsv_are_characters(tmp_path):
    path = save(tmp_path, "a.el.tsv", 'id\tsentence\tclass\r\nx\t"open\tA\r\ny\t\tB\r\n')
    dataset = load_labelled_dataset(path)
    assert dataset.examples == (
        LabelledText("x", '"open', None, ("A",), None),
        LabelledText("y", "", None, ("B",), None),
    )
    assert (dataset.language, dataset.counts) == ("el", {"texts": 2, "empty_texts": 1})


def test_named_columns_pairs_and_integer_labels(tmp_path):
    rows = [{"one": "a", "two": "b", "y": 1}, {"one": "a", "two": "b", "y": 0}]
    path = save(tmp_path, "a.jsonl", write_lines(rows))
    dataset = load_labelled_dataset(
        path, text_column="one", pair_column="two", label_column="y", language="de", name_in_tables="mine"
    )
    assert dataset.examples[0] == LabelledText("1", "a", "b", ("1",), None)
    assert (dataset.name, dataset.language) == ("mine", "de")
    assert dataset.counts == {"texts": 2, "repeated_texts": 1}


def test_several_labels_in_a_cell_or_a_list(tmp_path):
    table = save(tmp_path, "a.csv", "text,labels\none,a; b\ntwo,\n")
    lines = save(
        tmp_path, "a.jsonl", write_lines([{"text": "one", "labels": ["a", "b"]}, {"text": "two", "labels": []}])
    )
    for dataset in (load_labelled_dataset(table, label_separator=";"), load_labelled_dataset(lines)):
        assert dataset.problem_type == "multi_label_classification"
        assert [row.labels for row in dataset.examples] == [("a", "b"), ()]
        assert dataset.counts["texts_without_labels"] == 1


def test_regression_reads_numbers(tmp_path):
    dataset = load_labelled_dataset(save(tmp_path, "a.csv", "text,label\nx,0.5\ny,-2\n"), problem_type="regression")
    assert [(row.labels, row.value) for row in dataset.examples] == [((), 0.5), ((), -2.0)]
    assert dataset.label_names == ()


def test_a_missing_column_lists_the_columns(tmp_path):
    data = {"a.csv": "text,label\nx,y\n", "a.tsv": "text\tlabel\nx\ty\n", "a.jsonl": write_lines(ROWS)}
    for name, content in data.items():
        refused(r"has no column 'body'; it has 'text', 'label'", save(tmp_path, name, content), text_column="body")
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    refused(r"no column 'body'; it has 'text', 'label'", str(tmp_path / "a.parquet"), text_column="body")


@pytest.mark.parametrize(
    ("header", "match"),
    [
        ("text,content,label", r"more than one column may hold the text \('text', 'content'\); it has .*text_column"),
        ("text,label,class", r"more than one column may hold the label"),
        ("words,label,x", r"no column is called 'text'; it has 'words', 'label', 'x'.*text_column"),
        ("text,y,x", r"no column is called 'label'.*label_column"),
        ("text,label,text", r"more than one column 'text'"),
    ],
)
def test_columns_that_cannot_be_told_are_listed(tmp_path, header, match):
    refused(match, save(tmp_path, "a.csv", header + "\n1,2,3\n"))


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("a.csv", 'text,label\nx,a\n"y"z,b\n', r"row 2 cannot be read .*quotes"),
        ("a.csv", 'text,label\nx,a\n"y,b\n', r"row 2 cannot be read .*quotes"),
        ("a.csv", "text,label\nx,a\ny\n", r"row 2 \(it ends in line 3\) has 1 cells, the header has 2"),
        ("a.csv", "text,label\nx,a\ny,\n", r"row 2 has no label in 'label'"),
        ("a.csv", "", r"has no header"),
        ("a.csv", "text,label\n", r"holds no texts"),
        ("a.csv", "id,text,label\n1,x,a\n1,y,b\n", r"the id '1' comes 2 times"),
        ("a.csv", b'text,label\n"x\ny",a\n\xe9t\xe9,b\n', r"is not UTF-8: byte 19 is 0xe9 .*in row 2 \(line 4\)"),
        ("a.csv", b"te\xffxt,label\n", r"not UTF-8.*the header \(line 1\)"),
        ("a.jsonl", b'{"text": "x", "label": "a"}\n{"text": "\xe9", "label": "b"}\n', r"not UTF-8.*in line 2"),
        ("a.jsonl", '{"text": "x", "label": "a"}\n{"label": "b"}\n', r"line 2 has no field 'text'"),
        ("a.jsonl", '{"text": "x", "label": "a"}\n{"text": null, "label": "b"}\n', r"line 2 has nothing in 'text'"),
        ("a.jsonl", '{"text": "x", "label": "a"}\n{"text": "y", "label": null}\n', r"line 2 has nothing in 'label'"),
        ("a.jsonl", '{"text": "x", "label": "a"}\n{"text": 3, "label": "b"}\n', r"line 2: 'text' holds int"),
        ("a.jsonl", '{"text": "\\ud83d", "label": "a"}\n', r"line 1: 'text' is not valid text"),
        ("a.jsonl", '{"text": "x", "label": 0.5}\n', r"set problem_type: regression"),
        ("a.jsonl", '{"text": "x", "label": {}}\n', r"line 1: 'label' holds dict"),
        ("a.jsonl", '{"text": "x", "labels": ["a", "a"]}\n', r"a label comes twice"),
        ("a.json", "[3]", r"row 1 is not a JSON object but int"),
        ("a.json", f'[{{"label": 1{"0" * 5000}}}]', r"holds an integer that is too long"),
        ("a.jsonl", f'{{"text": "x", "label": 1{"0" * 5000}}}', r"line 1 holds an integer that is too long"),
    ],
)
def test_a_wrong_row_is_named(tmp_path, name, content, match):
    refused(match, save(tmp_path, name, content))


def test_wrong_rows_of_parquet_are_named(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["x", None], "label": ["a", "b"]}), path)
    refused(r"row 2 has nothing in 'text'", str(path))
    wrong = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xe9")])
    texts = pa.concat_arrays([pa.array(["x"]), wrong])
    pq.write_table(pa.table({"text": texts, "label": ["a", "b"]}), path)
    refused(r"row 2 holds text that is not UTF-8", str(path))
    path.write_bytes(b"nothing")
    refused("cannot be read as Parquet", str(path))


@pytest.mark.parametrize("cell", ["high", "", "nan", "inf"])
def test_regression_refuses_what_is_no_number(tmp_path, cell):
    path = save(tmp_path, "a.csv", f"text,label\nx,1\ny,{cell}\n")
    refused(rf"row 2: 'label' holds '{cell}', not a number", path, problem_type="regression")


def test_regression_refuses_an_integer_beyond_floats(tmp_path):
    path = save(tmp_path, "a.jsonl", f'{{"text": "x", "label": 1{"0" * 400}}}')
    refused("line 1: 'label' holds 10*, not a number", path, problem_type="regression")


@pytest.mark.parametrize("column", ["text_column", "pair_column"])
def test_one_column_is_not_read_as_two(tmp_path, column):
    name = "label" if column == "text_column" else "text"
    refused(f"the column '{name}' is named twice", save(tmp_path, "a.csv", write_csv(ROWS)), **{column: name})


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"problem_type": "ranking"}, "must be one of single_label"),
        ({"label_separator": ""}, "label_separator is empty"),
        ({"label_separator": ";", "problem_type": "regression"}, "label_separator is for multi-label"),
        ({"split": "test"}, "one file without splits"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path, options, match):
    refused(match, save(tmp_path, "a.csv", write_csv(ROWS)), **options)


def test_unknown_labels_are_refused_by_row(tmp_path):
    other = load_labelled_dataset(save(tmp_path, "test.csv", "id,text,label\nq1,x,a\nq2,y,c\n"))
    match = r"test.csv: row 2 has the label 'c', which the model does not know; it knows 'a', 'b'"
    with pytest.raises(InputError, match=match):
        require_known_labels(["a", "b"], other, "the model")
    require_known_labels(["a", "b"], replace(other, examples=other.examples[:1]), "the model")


def test_one_label_is_enough_to_evaluate_not_to_train(tmp_path):
    one = load_labelled_dataset(save(tmp_path, "one.csv", "text,label\nx,a\ny,a\n"))
    other = load_labelled_dataset(save(tmp_path, "other.csv", "text,label\nx,b\n"))
    numbers = load_labelled_dataset(save(tmp_path, "n.csv", "text,label\nx,1\n"), problem_type="regression")
    with pytest.raises(InputError, match=r"one.csv: there is only the label 'a'; training needs two or more"):
        labels_to_train([one])
    assert labels_to_train([one, other]) == ("single_label_classification", ("a", "b"))
    assert labels_to_train([numbers]) == ("regression", ())
    with pytest.raises(InputError, match=r"one.csv is single_label_classification and .*n.csv is regression"):
        labels_to_train([one, numbers])


def test_white_space_is_no_part_of_a_label(tmp_path):
    dataset = load_labelled_dataset(save(tmp_path, "a.csv", "text,label\nx, a\ny,a\nz,b \n"))
    assert dataset.label_names == ("a", "b") and dataset.counts["labels_stripped"] == 2


def test_carriage_returns_end_lines(tmp_path):
    dataset = load_labelled_dataset(save(tmp_path, "a.csv", b'text,label\rx,a\r"y\rz",b\r'))
    assert [row.text for row in dataset.examples] == ["x", "y\rz"]
    refused("a carriage return outside of quotes ends a row", save(tmp_path, "b.csv", b"text,label\nx,a\ny\rz,b\n"))


# Folders.


@pytest.fixture
def imdb(tmp_path):
    for split, folder in (("train", "pos"), ("train", "neg"), ("train", "unsup"), ("test", "pos"), ("test", "neg")):
        save(tmp_path, f"aclImdb/{split}/{folder}/0_9.txt", f"{split} {folder}")
        save(tmp_path, f"aclImdb/{split}/labeledBow.feat", "")
    return tmp_path / "aclImdb"


def test_imdb_is_read_by_name_and_by_folder(imdb):
    dataset = load_labelled_dataset(f"imdb.train@{imdb}")
    assert [(row.id, row.text, row.labels) for row in dataset.examples] == [
        ("neg/0_9.txt", "train neg", ("neg",)),
        ("pos/0_9.txt", "train pos", ("pos",)),
    ]
    assert (dataset.name, dataset.label_names) == ("imdb.train", ("neg", "pos"))
    assert dataset.counts == {"texts": 2, "unlabelled_texts_left_out": 1}
    for other in (load_labelled_dataset(str(imdb / "train")), load_labelled_dataset(str(imdb), split="train")):
        assert (other.examples, other.sha256) == (dataset.examples, dataset.sha256)
    refused("has the splits train, test; say which one", str(imdb))
    refused("has no split 'validation'", f"imdb.validation@{imdb}")
    refused("has no split 'test'", str(imdb / "train"), split="test")
    refused("it has no columns", f"imdb.train@{imdb}", text_column="text")


def test_unsup_is_no_class_beside_a_third_one(imdb):
    save(imdb, "train/mixed/0_9.txt", "train mixed")
    dataset = load_labelled_dataset(f"imdb.train@{imdb}")
    assert dataset.label_names == ("mixed", "neg", "pos")
    assert dataset.counts["unlabelled_texts_left_out"] == 1


def test_wrong_class_folders_are_named(tmp_path):
    save(tmp_path, "a/one/1.txt", "x")
    (tmp_path / "a/two").mkdir()
    dataset = load_labelled_dataset(str(tmp_path / "a"))
    assert dataset.counts["labels_without_texts"] == 1
    with pytest.raises(InputError, match="no text has the label 'two', which the data declares"):
        labels_to_train([dataset])
    save(tmp_path, "a/two/1.txt", b"\xe9 x")
    refused(r"two/1.txt is not UTF-8: byte 0", str(tmp_path / "a"))
    save(tmp_path, "a/two/1.txt", "y")
    save(tmp_path, "a/two/2.pdf", "y")
    refused(r"two/2.pdf is not a text file", str(tmp_path / "a"))
    (tmp_path / "b").mkdir()
    refused("neither data files nor class folders", str(tmp_path / "b"))


# Hyperpartisan.

ARTICLES, TRUTH = "articles-training-byarticle-20181122.xml", "ground-truth-training-byarticle-20181122.xml"


def write_hyperpartisan(folder, *, n=645, n_truth=None, label=None):
    ids = [f"{i:07}" for i in range(n)]
    body = "".join(f'<article id="{i}" title="T"><p>Text of <a>{i}</a> &amp; more.</p></article>' for i in ids)
    save(folder, ARTICLES, f"<articles>{body}</articles>")
    labels = "".join(
        f'<article id="{i}" hyperpartisan="{label or str(int(i) % 2 == 0).lower()}"/>' for i in ids[:n_truth]
    )
    save(folder, TRUTH, f"<articles>{labels}</articles>")
    return folder


def test_hyperpartisan_splits_share_no_article(tmp_path):
    path = write_hyperpartisan(tmp_path)
    parts = [load_labelled_dataset(f"hyperpartisan.{split}@{path}") for split in ("train", "validation", "test")]
    ids = [{row.id for row in part.examples} for part in parts]
    assert [len(part) for part in ids] == [523, 57, 65]
    assert len(set.union(*ids)) == 645
    assert parts[0].label_names == ("false", "true")
    row = parts[2].examples[0]
    assert (row.id, row.text, row.labels) == ("0000015", "Text of 0000015 & more.", ("false",))
    assert parts[2].counts == {"texts": 65, "articles_in_other_splits": 580}
    whole = load_labelled_dataset(str(path / ARTICLES))
    assert (len(whole.examples), set(whole.sha256)) == (645, {ARTICLES, TRUTH})


def test_released_hyperpartisan_split_overlaps():
    train, validation, test = (ids_of_split(split, released=True) for split in ("train", "validation", "test"))
    assert (len(train), len(validation), len(test)) == (516, 64, 65)
    assert (len(train & test), len(validation & test), len(train & validation)) == (51, 7, 0)
    assert ids_of_split("test") == test


def test_overlaps_of_the_released_split_are_counted(tmp_path):
    dataset = load_labelled_dataset(f"hyperpartisan_released.test@{write_hyperpartisan(tmp_path)}")
    assert dataset.counts["texts_also_in_other_splits"] == 58


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"n_truth": 644}, rf"{TRUTH} lacks 1 of the articles .*'0000644'"),
        ({"label": "maybe"}, "article '0000000' has hyperpartisan='maybe'"),
        ({"n": 10}, "holds 10 articles; the split is of the 645"),
    ],
)
def test_wrong_hyperpartisan_files_are_refused(tmp_path, options, match):
    # Article 0 is in the validation part of the release, and all splits read all labels.
    refused(match, f"hyperpartisan.validation@{write_hyperpartisan(tmp_path, **options)}")


def test_broken_or_missing_xml_is_refused(tmp_path):
    write_hyperpartisan(tmp_path, n=2)
    (tmp_path / TRUTH).unlink()
    refused("must hold one file ground-truth-training.*it holds none", str(tmp_path))
    save(tmp_path, TRUTH, '<articles><article id="0"/><article id="0"/></articles>')
    refused("the id '0' comes twice", str(tmp_path))
    save(tmp_path, TRUTH, "<articles><article>")
    refused("malformed XML: .*line 1", str(tmp_path))
    save(tmp_path, TRUTH, '<?xml version="1.0" encoding="nonsense"?><articles/>')
    refused("its XML cannot be decoded .*nonsense.*UTF-8", str(tmp_path))
    save(tmp_path, TRUTH, "<articles><article/></articles>")
    refused("article 1 has no id", str(tmp_path))


# 20 Newsgroups.


def write_posts(folder, posts):
    rows = [{"group": group, "file": file, "subject": "s", "text": text} for group, file, text in posts]
    return save(folder, "posts.jsonl", write_lines(rows))


def newsgroups_parts(path):
    return [load_labelled_dataset(f"20newsgroups.{split}@{path}") for split in ("train", "test")]


def test_newsgroups_are_split_within_each_group(tmp_path):
    posts = [(group, str(i), f"{group} {i}") for group, n in (("a", 7), ("b", 100), ("c", 333)) for i in range(n)]
    train, test = newsgroups_parts(write_posts(tmp_path, posts))
    for part, sizes in ((train, [4, 60, 200]), (test, [3, 40, 133])):
        groups = [row.labels[0] for row in part.examples]
        assert [groups.count(group) for group in "abc"] == sizes
    assert {row.id for row in train.examples}.isdisjoint(row.id for row in test.examples)
    assert train.counts["posts_in_other_splits"] == len(test.examples)
    assert train.label_names == ("a", "b", "c")
    # The split of a release stays: benchmarks depend on it.
    assert [row.id for row in test.examples if row.id.startswith("a/")] == ["a/0", "a/4", "a/6"]
    shuffled, _ = newsgroups_parts(write_posts(tmp_path, posts[::-1]))
    assert {row.id for row in shuffled.examples} == {row.id for row in train.examples}


def test_equal_posts_are_on_one_side(tmp_path):
    posts = [(group, str(i), f"text {i // 2}" + "\n" * (i % 2)) for group in "ab" for i in range(100)]
    posts += [("c", str(i), f"again {i // 2}" + " " * (i % 2)) for i in range(100)]
    train, test = newsgroups_parts(write_posts(tmp_path, posts))
    sides = [{" ".join(row.text.split()) for row in part.examples} for part in (train, test)]
    assert sides[0].isdisjoint(sides[1])
    assert sum(row.labels == ("c",) for row in train.examples) == 60


def test_wrong_posts_are_named(tmp_path):
    path = save(tmp_path, "posts.jsonl", write_lines([{"group": "g", "file": 3, "text": "x"}]))
    refused("line 1 has no text in 'file'", f"20newsgroups.train@{path}")
    path = write_posts(tmp_path, [("g", "1", "x"), ("g", "1", "y")])
    for split in ("train", "test"):
        refused("the id 'g/1' comes 2 times", f"20newsgroups.{split}@{path}")


# Names.


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("imdb.test", r"say where its files are: imdb.test@PATH \(the folder aclImdb\)"),
        ("imdb@x", r"say which split: imdb.train@x \(or validation, test\)"),
        ("imdb.dev2@x", r"imdb has no split 'dev2'"),
        ("imbd.test@x", r"no data set is called imbd \(did you mean imdb\?\); known are imdb, hyperpartisan"),
        ("imdb.test@nowhere", r"nowhere: no such file or folder; imdb needs the folder aclImdb"),
        ("nowhere.csv", r"nowhere.csv: no such file"),
        ("nothing", r"nothing: no such file or folder; pass"),
        ("x" * 5000, r"no such file or folder; pass"),
        ("imdb.test@" + "x" * 5000, r"no such file or folder; imdb needs"),
        ("imdb.test@", r"imdb.test@: no such file or folder; imdb needs"),
        ("", r"the name of the data is empty"),
    ],
)
def test_names_that_cannot_be_read_say_what_to_write(name, match):
    refused(match, name)
    with pytest.raises(InputError, match=match):
        require_data(name)


def test_names_of_data_are_checked_without_reading_it(tmp_path):
    path = save(tmp_path, "broken.csv", b"\xff")
    for name in (path, str(tmp_path), f"imdb.test@{tmp_path}", "owner/name", "owner/name:config"):
        require_data(name)
    require_data(f"imdb@{tmp_path}", split="dev")
    with pytest.raises(InputError, match=r"did you mean imdb"):
        require_data(f"imbd.test@{tmp_path}")


def test_catalogue_entries_say_what_they_are():
    for entry in CLASSIFICATION_CATALOGUE.values():
        assert entry.description
        assert entry.licence
        assert entry.path


def test_a_file_that_is_no_table_is_refused(tmp_path):
    refused("no table of labelled texts", save(tmp_path, "a.txt", "x"))


# The hub.


@pytest.fixture
def hub(monkeypatch):
    def stand_in(rows):
        monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: rows)

    return stand_in


def labelled(labels, feature):
    features = datasets.Features({"text": datasets.Value("string"), "label": feature})
    return datasets.Dataset.from_dict({"text": [f"t{i}" for i in range(len(labels))], "label": labels}, features)


def test_class_labels_of_the_hub_give_the_names(hub):
    names = datasets.ClassLabel(names=["world", "sports"])
    hub(labelled([1, 0], names))
    dataset = load_labelled_dataset("owner/news", split="train")
    assert dataset.label_names == ("world", "sports")
    assert [row.labels for row in dataset.examples] == [("sports",), ("world",)]
    assert dataset.name == "owner/news (train)"
    hub(labelled([[1], [0, 1]], datasets.List(names)))
    assert load_labelled_dataset("owner/news", split="train").examples[1].labels == ("world", "sports")
    hub(labelled([0, -1], names))
    refused(r"row 2 has no label: 'label' is -1", "owner/news", split="test")
    hub(labelled([0, 0], names))
    assert load_labelled_dataset("owner/news", split="train").counts["labels_without_texts"] == 1


def test_a_split_of_the_hub_must_be_chosen_if_several(hub):
    rows = labelled([1, 0], datasets.ClassLabel(names=["a", "b"]))
    hub(datasets.DatasetDict({"train": rows, "test": rows}))
    refused("has the splits train, test; say which one", "owner/news")
    hub(datasets.DatasetDict({"train": rows}))
    assert load_labelled_dataset("owner/news").name == "owner/news (train)"


def test_a_folder_saved_by_datasets_is_read(tmp_path):
    rows = labelled([1, 0], datasets.ClassLabel(names=["a", "b"]))
    datasets.DatasetDict({"train": rows, "test": rows}).save_to_disk(tmp_path / "saved")
    refused("say which one", str(tmp_path / "saved"))
    dataset = load_labelled_dataset(str(tmp_path / "saved"), split="test")
    assert (dataset.name, dataset.label_names) == ("saved.test", ("a", "b"))


def test_reading_labelled_texts_needs_no_torch():
    code = "import sys, longspan.data.classification, longspan.metrics.classification; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
