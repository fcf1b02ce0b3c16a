"""Whole documents with labels or numbers: from a table through training to evaluation, prediction and report."""

import csv
import gzip
import io
import itertools
import json
import math
import os
import subprocess
import sys
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from transformers import BertConfig

from longspan.cli.main import main
from longspan.data.classification import LabelledText
from longspan.data.qa import tokens as qa_tokens
from longspan.errors import InputError
from longspan.records import read_record
from longspan.tasks import TASKS, all_tasks, find_task
from longspan.tasks.adapters import load_with_head
from longspan.tasks.detect_task import task_of
from longspan.tasks.sequence_classification.merging import chosen_labels, merge_windows, problem_type_of
from longspan.tasks.sequence_classification.predictor import LabelPredictor
from longspan.tasks.sequence_classification.windows import DocumentWindows
from longspan.tasks.task import PredictorOptions

BORN, WROTE = "Anna was born in Lund.", "Boris wrote 9 books about bees."
BOTH = f"{BORN} {WROTE}"
SINGLE = [(BORN, "life"), (WROTE, "work")]
MULTI = [(BORN, "life"), (WROTE, "life|work"), ("Later", "")]
NUMBERS = [(BORN, "-2.5"), (WROTE, "2.5")]
KINDS = {
    "single": (SINGLE, {}),
    "multi": (MULTI, {"label_separator": "|", "max_steps": 100}),
    "number": (NUMBERS, {"problem_type": "regression"}),
}
LONG = {"max_steps": 1, "max_tokens": 128, "attention_window": 16, "proof": "none"}


def write_table(path, rows, header=("text", "label")):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def write_recipe(folder, model, **fields):
    values = {
        "task": "sequence_classification",
        "model": str(model),
        "output_dir": str(folder / "run"),
        "max_steps": 30,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-2,
        "logging_steps": 30,
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
    } | fields
    path = folder / "mine.yaml"
    path.write_text("".join(f"{name}: {json.dumps(value)}\n" for name, value in values.items()), encoding="utf-8")
    return str(path)


def head_config_of(*labels, problem_type="single_label_classification"):
    labels = labels or ("value",)
    names = {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
    return names | {"problem_type": problem_type}


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Models this tiny wait longer for a second thread than they compute."""
    import torch

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_qa_folder):
    """Folder of a model trained by `longspan finetune` on one of `KINDS`, and its table: made once each."""
    made = {}

    def make(kind, **more):
        key = (kind, *more)
        if key not in made:
            rows, fields = KINDS[kind]
            folder = tmp_path_factory.mktemp(kind)
            table = write_table(folder / "facts.csv", rows)
            fields = fields | more | {"train_data": str(table)}
            assert main(["finetune", write_recipe(folder, tiny_qa_folder("xlm-roberta encoder"), **fields)]) == 0
            made[key] = (folder / "run", table)
        return made[key]

    return make


def evaluated(folder, table, output, *words):
    argv = ["evaluate", str(folder), "--data", str(table), "--device", "cpu", "--output", str(output)]
    assert main([*argv, *words]) == 0
    return read_record(output / "evaluation.json")


def predicted(capsys, folder, paths, *words):
    capsys.readouterr()
    assert main(["predict", str(folder), "--document", *map(str, paths), "--device", "cpu", *words]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def documents(tmp_path):
    """Writes texts to files."""

    def write(*texts):
        paths = [tmp_path / f"{i}.txt" for i in range(len(texts))]
        for path, text in zip(paths, texts, strict=True):
            path.write_text(text, encoding="utf-8")
        return paths

    return write


# From a table to predictions.


def test_single_labels_are_learnt_evaluated_and_predicted(trained, documents, tmp_path, capsys):
    folder, table = trained("single")
    (score,) = evaluated(folder, table, tmp_path, "--systems", "truncate 64").scores
    assert (score.n_items, score.metrics["accuracy"], score.metrics["matthews"]) == (2, 100.0, 1.0)
    rows = predicted(capsys, folder, documents(BORN, WROTE))
    assert [row["label"] for row in rows] == ["life", "work"]
    for row in rows:
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-3)
        assert row["probability"] == max(row["probabilities"].values())


def test_several_labels_are_learnt_evaluated_and_predicted(trained, documents, tmp_path, capsys):
    folder, table = trained("multi")
    words = ["--systems", "truncate 64", "--label_separator", "|"]
    (score,) = evaluated(folder, table, tmp_path, *words).scores
    assert (score.n_items, score.metrics["accuracy"], score.metrics["f1_macro"]) == (3, 100.0, 100.0)
    rows = predicted(capsys, folder, documents(BORN, WROTE, "Later"))
    assert [row["label"] for row in rows] == ["life", "life, work", ""]
    assert rows[2]["probability"] is None


def test_numbers_are_learnt_evaluated_and_predicted(trained, documents, tmp_path, capsys):
    folder, table = trained("number")
    words = ["--systems", "truncate 64", "--problem_type", "regression"]
    record = evaluated(folder, table, tmp_path, *words)
    (score,) = record.scores
    assert score.metrics["mse"] < 1 and score.metrics["pearson"] > 0.9
    assert "accuracy" not in score.metrics
    assert record.items[0].gold == ["-2.5"]
    rows = predicted(capsys, folder, documents(BORN, WROTE))
    assert [row["value"] for row in rows] == pytest.approx([-2.5, 2.5], abs=1)
    assert "label" not in rows[0]


@pytest.mark.parametrize(
    ("kind", "labels", "problem_type"),
    [
        ("single", ["life", "work"], "single_label_classification"),
        ("multi", ["life", "work"], "multi_label_classification"),
        ("number", ["value"], "regression"),
    ],
)
def test_config_says_labels_and_problem_type(trained, kind, labels, problem_type):
    config = json.loads((trained(kind)[0] / "config.json").read_text())
    assert config["id2label"] == {str(i): label for i, label in enumerate(labels)}
    assert config["label2id"] == {label: i for i, label in enumerate(labels)}
    assert config["problem_type"] == problem_type


def test_predict_calls_labels_as_config_does(trained, documents, tmp_path, capsys):
    folder = tmp_path / "renamed"
    folder.mkdir()
    for path in trained("single")[0].glob("*"):
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    config |= {"id2label": {"0": "born", "1": "wrote"}, "label2id": {"born": 0, "wrote": 1}}
    (folder / "config.json").write_text(json.dumps(config))
    rows = predicted(capsys, folder, documents(BORN, WROTE))
    assert [row["label"] for row in rows] == ["born", "wrote"]


def test_training_reports_scores_on_evaluation_data(trained, tiny_qa_folder, tmp_path, capsys):
    table = trained("single")[1]
    fields = {"train_data": str(table), "eval_data": str(table), "eval_strategy": "steps", "eval_steps": 30}
    assert main(["finetune", write_recipe(tmp_path, tiny_qa_folder("xlm-roberta encoder"), **fields)]) == 0
    assert "evaluation: accuracy 100, f1_macro 100" in capsys.readouterr().out


# Documents longer than a window.


def test_windows_read_what_truncation_leaves_out(trained, tmp_path):
    folder, _ = trained("single", **LONG)
    table = write_table(tmp_path / "long.csv", [(f"{BORN * 6} {WROTE}", "life"), (BORN, "life"), (WROTE, "work")])
    words = ["--systems", "truncate 32", "windows of 32", "window only", "window + global <s>"]
    record = evaluated(folder, table, tmp_path / "out", *words)
    assert [score.system for score in record.scores] == words[1:]
    assert [score.counts["truncated"] for score in record.scores] == [1, 0, 0, 0]
    read = {item.system: (item.n_tokens_read, item.n_tokens) for item in record.items if item.id == "1"}
    n_tokens = read["window only"][1]
    assert 32 < n_tokens <= 128
    assert read == {"truncate 32": (32, n_tokens), **dict.fromkeys(words[2:], (n_tokens, n_tokens))}


def test_predict_says_how_much_was_read(trained, documents, capsys):
    folder, _ = trained("single")
    paths = documents(WROTE * 12, BORN)
    whole = predicted(capsys, folder, paths)
    cut = predicted(capsys, folder, paths, "--truncate")
    assert whole[0]["n_windows"] > 1 and not whole[0]["truncated"]
    assert (cut[0]["n_windows"], cut[0]["n_tokens_read"], cut[0]["truncated"]) == (1, 64, True)
    assert [row["n_windows"] for row in (whole[1], cut[1])] == [1, 1]


@pytest.fixture(scope="module")
def loaded(trained):
    """A model that is sure of nothing, and its tokenizer."""
    return load_with_head(str(trained("single", max_steps=1)[0]), find_task("sequence_classification"))


@pytest.mark.parametrize("merge", ["mean", "maximum"])
@pytest.mark.parametrize(("truncate", "batch_size"), [(False, 1), (False, 3), (True, 2)])
def test_streams_are_labelled_as_whole_texts(loaded, monkeypatch, merge, truncate, batch_size):
    texts = [BORN, WROTE * 40, "", f"{BOTH} " * 30, "Lund"]
    examples = [LabelledText(id=str(i), text=text, pair=None, labels=(), value=None) for i, text in enumerate(texts)]
    options = PredictorOptions(max_length=24, overlap=7, truncate=truncate, batch_size=batch_size)
    predictor = LabelPredictor(*loaded, options, merge)
    expected = predictor.predict(examples)
    monkeypatch.setattr(qa_tokens, "_PIECE", 300)
    streams = ((str(i), (text[at : at + 99] for at in range(0, len(text), 99))) for i, text in enumerate(texts))
    found = predictor.predict_streams(streams)
    for one, other in zip(found, expected, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)
        assert one.seconds > 0
        assert replace(one, probabilities={}, seconds=0) == replace(other, probabilities={}, seconds=0)
    assert found[1].n_tokens > 200
    assert found[1].n_tokens_read == (24 if truncate else found[1].n_tokens)
    assert found[1].n_windows == (1 if truncate else -(-(found[1].n_tokens - 2 - 7) // (22 - 7)))


def test_a_truncated_stream_computes_one_window(loaded):
    predictor = LabelPredictor(*loaded, PredictorOptions(max_length=24, overlap=7, truncate=True, batch_size=8))
    computed = []
    compute = predictor._logits
    predictor._logits = lambda rows: computed.extend(rows) or compute(rows)
    (found,) = predictor.predict_streams([("a", [WROTE] * 100)])
    assert (len(computed), found.n_windows) == (1, 1)
    assert found.n_tokens == len(loaded[1](WROTE * 100)["input_ids"])


def test_a_stream_is_read_window_by_window(loaded):
    predictor = LabelPredictor(*loaded, PredictorOptions(max_length=24, batch_size=1))
    n_given, seen = 0, []

    def chunks():
        nonlocal n_given
        for _ in range(40):
            n_given += 1
            yield f"{BOTH} " * 60

    compute = predictor._logits
    predictor._logits = lambda rows: seen.append(n_given) or compute(rows)
    predictor.predict_streams([("a", chunks())], progress=False)
    assert seen[0] < 40 and seen[-1] == 40


_PEAK = """
import resource, sys
from longspan.cli.main import main
assert main(["predict", *sys.argv[1:], "--max_length", "64", "--batch_size", "32", "--device", "cpu"]) == 0
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux only")
def test_memory_does_not_grow_with_the_document(trained, tmp_path):
    peaks = []
    for n_bytes in (300_000, 1_800_000):
        path = tmp_path / "long.txt"
        path.write_text(f"{BOTH}\n" * (n_bytes // len(BOTH)))
        words = [sys.executable, "-c", _PEAK, str(trained("single")[0]), "--document", str(path)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout)["n_tokens_read"] > n_bytes / 8
        peaks.append(int(done.stderr.split()[-1]))
    # Kept whole, 1.5 MB more took 86 MiB more.
    assert peaks[1] - peaks[0] < 40, peaks


@pytest.mark.parametrize("merge", ["mean", "maximum"])
def test_a_document_merges_its_windows(trained, merge):
    import torch

    folder, _ = trained("single")
    model, tokenizer = load_with_head(str(folder), find_task("sequence_classification"))
    text = LabelledText(id="a", text=" ".join([BORN, WROTE, BORN] * 4), pair=None, labels=(), value=None)
    options = PredictorOptions(max_length=24, overlap=4, batch_size=3, device="cpu")
    (found,) = LabelPredictor(model, tokenizer, options, merge).predict([text], progress=False)
    rows = DocumentWindows([text], tokenizer, max_length=24, overlap=4)
    assert found.n_windows == len(rows) > 3
    with torch.no_grad():
        log_p = torch.stack(
            [model(input_ids=torch.tensor([rows[i]["input_ids"]])).logits[0].log_softmax(0) for i in range(len(rows))]
        )
    expected = (log_p.mean(0) if merge == "mean" else log_p.amax(0)).softmax(0)
    assert list(found.probabilities.values()) == pytest.approx(expected.tolist(), abs=1e-5)


@pytest.mark.parametrize(("n_sentences", "max_length", "overlap"), [(1, 64, 16), (9, 16, 4), (9, 16, 40), (9, 3, 0)])
def test_windows_cover_every_token(tiny_tokenizer, n_sentences, max_length, overlap):
    text = LabelledText(id="a", text=BORN * n_sentences, pair=None, labels=(), value=None)
    whole = tiny_tokenizer(text.text)["input_ids"]
    rows = DocumentWindows([text], tiny_tokenizer, max_length=max_length, overlap=overlap)
    assert all(length <= max_length for length in rows.lengths)
    windows = [rows[i]["input_ids"] for i in range(len(rows))]
    assert all((ids[0], ids[-1]) == (whole[0], whole[-1]) for ids in windows)
    joined = windows[0][1:-1]
    room = max_length - 2
    shared = overlap if overlap < room else room - (room + 1) // 2
    for before, ids in itertools.pairwise(windows):
        assert before[len(before) - 1 - shared : -1] == ids[1 : 1 + shared]
        joined += ids[1 + shared : -1]
    assert joined == whole[1:-1]
    assert rows.n_tokens == [len(whole)]


def test_training_cuts_documents_unless_told_otherwise(tiny_tokenizer):
    task = find_task("sequence_classification")
    config = SimpleNamespace(id2label={0: "life", 1: "work"}, num_labels=2, problem_type="single_label_classification")
    texts = [LabelledText(id="a", text=WROTE * 9, pair=None, labels=("work",), value=None)]
    made = {
        windows: task.features(
            texts, tiny_tokenizer, SimpleNamespace(windows=windows), max_length=24, overlap=4, for_training=True,
            config=config,
        )
        for windows in ("first", "all")
    }  # fmt: skip
    assert len(made["first"]) == 1 and made["first"].counts == {"documents_cut": 1}
    assert len(made["all"]) > 3 and made["all"].counts == {}
    assert {made["all"][i]["labels"] for i in range(len(made["all"]))} == {1}


def test_merged_probabilities_are_those_by_hand():
    logits = np.log([[0.9, 0.1], [0.2, 0.8]])
    config = SimpleNamespace(id2label={0: "a", 1: "b"}, num_labels=2, problem_type="single_label_classification")
    _, mean = merge_windows(logits, config, "mean")
    assert mean["a"] / mean["b"] == pytest.approx(math.sqrt(0.9 * 0.2) / math.sqrt(0.1 * 0.8))
    _, most = merge_windows(logits, config, "maximum")
    assert most["a"] == pytest.approx(0.9 / (0.9 + 0.8))
    config.problem_type = "multi_label_classification"
    _, most = merge_windows(np.array([[3.0, -3.0], [-9.0, -1.0]]), config, "maximum")
    assert list(most.values()) == pytest.approx([1 / (1 + math.exp(-3)), 1 / (1 + math.e)])
    assert chosen_labels(most, config) == ["a"]
    config.problem_type = "regression"
    assert merge_windows(np.array([[1.0], [4.0]]), config, "mean") == (2.5, {})


# What is refused.


def test_unknown_labels_of_evaluation_data_are_refused(tmp_path, tiny_qa_folder, capsys):
    train = write_table(tmp_path / "train.csv", SINGLE)
    held_out = write_table(tmp_path / "held_out.csv", [*SINGLE, (BOTH, "bees")])
    fields = {"train_data": str(train), "eval_data": str(held_out), "eval_strategy": "steps"}
    assert main(["finetune", write_recipe(tmp_path, tiny_qa_folder("xlm-roberta encoder"), **fields)]) == 2
    error = capsys.readouterr().err
    assert "held_out.csv: row 3 has the label 'bees', which the training data does not know; it knows" in error
    assert not (tmp_path / "run").exists()


def test_one_output_without_a_kind_is_a_number():
    config = BertConfig(num_labels=1)
    assert problem_type_of(config) == "regression"
    assert problem_type_of(BertConfig(num_labels=2)) == "single_label_classification"
    assert problem_type_of(BertConfig(num_labels=1, problem_type="multi_label_classification")).startswith("multi")


def test_evaluate_refuses_labels_of_another_model(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(LabelPredictor, "predict", None)  # nothing is computed before
    other = write_table(tmp_path / "other.csv", [*SINGLE, (BOTH, "bees")])
    argv = ["evaluate", str(trained("single")[0]), "--data", str(other), "--systems", "truncate 64"]
    assert main([*argv, "--device", "cpu", "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "other.csv: row 3 has the label 'bees', which the model does not know; it knows 'life', 'work'" in error
    assert not (tmp_path / "out" / "evaluation.json").exists()


@pytest.mark.parametrize(
    ("kind", "words", "message"),
    [
        ("single", ["--problem_type", "regression"], "other.csv has numbers, but the model predicts labels"),
        ("number", [], "other.csv has labels, but the model predicts a number"),
    ],
)
def test_evaluate_refuses_data_of_another_problem_type(trained, tmp_path, capsys, kind, words, message):
    table = write_table(tmp_path / "other.csv", NUMBERS)
    argv = ["evaluate", str(trained(kind)[0]), "--data", str(table), "--systems", "truncate 64", *words]
    assert main([*argv, "--device", "cpu", "--output", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err


def test_a_missing_label_column_is_refused(tmp_path, tiny_qa_folder, capsys):
    table = write_table(tmp_path / "plain.csv", SINGLE, header=("text", "remark"))
    recipe = write_recipe(tmp_path, tiny_qa_folder("xlm-roberta encoder"), train_data=str(table))
    assert main(["finetune", recipe]) == 2
    error = capsys.readouterr().err
    assert "plain.csv: no column is called 'label'; it has 'text', 'remark'" in error
    assert main(["finetune", recipe, "--label_column", "kind"]) == 2
    assert "plain.csv has no column 'kind'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("config", "wanted", "keeps"),
    [
        ({"num_labels": 1}, head_config_of(problem_type="regression"), True),
        ({"num_labels": 2}, head_config_of(problem_type="regression"), False),
        ({"num_labels": 2}, head_config_of("LABEL_0", "LABEL_1"), True),
        ({"num_labels": 2}, head_config_of("LABEL_1", "LABEL_0"), False),
        ({"num_labels": 2}, head_config_of("LABEL_0", "LABEL_1", problem_type="multi_label_classification"), False),
        ({"num_labels": 7}, {}, True),
    ],
)
def test_a_head_is_kept_where_it_fits(config, wanted, keeps):
    assert find_task("sequence_classification").keeps_head(BertConfig(**config), wanted) is keeps


def test_a_model_of_several_numbers_is_refused(loaded, monkeypatch):
    monkeypatch.setattr(loaded[0].config, "problem_type", "regression")
    with pytest.raises(InputError, match="predicts 2 numbers for a document"):
        LabelPredictor(*loaded, PredictorOptions(max_length=16))


def test_a_name_that_is_too_long_is_refused(tmp_path, tiny_qa_folder, capsys):
    recipe = write_recipe(tmp_path, tiny_qa_folder("xlm-roberta encoder"), train_data="x" * 5000)
    assert main(["finetune", recipe]) == 2
    assert "no such file or folder; pass a file" in capsys.readouterr().err


def test_one_label_each_does_not_fit_several(trained, tmp_path, capsys):
    table = write_table(tmp_path / "other.csv", SINGLE)
    argv = ["evaluate", str(trained("multi")[0]), "--data", str(table), "--output", str(tmp_path / "out")]
    assert main([*argv, "--systems", "truncate 64", "--device", "cpu"]) == 2
    assert "other.csv has one label a document, but the model may give several" in capsys.readouterr().err


# The command.


def test_task_option_chooses_the_tasks_options(trained, documents, tmp_path, capsys):
    folder, table = trained("single")
    words = ["--task", "sequence_classification", "--merge", "maximum"]
    record = evaluated(folder, table, tmp_path, "--systems", "truncate 64", *words)
    assert record.settings["merge"] == "maximum"
    assert record.task == "sequence_classification"
    paths = documents(BORN)
    assert predicted(capsys, folder, paths, *words)[0]["label"] == "life"
    assert main(["predict", str(folder), "--document", str(paths[0]), *words[:2], "--top_k", "2"]) == 2
    error = capsys.readouterr().err
    assert "no option --top_k for the task sequence_classification; the task question_answering has it" in error


TEI = f"<TEI><teiHeader>1895</teiHeader><text><p>{WROTE}</p></text></TEI>"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("plain.txt", WROTE.encode()),
        ("windows.txt", f"{WROTE}\r\n{WROTE}\r".encode("utf-8-sig")),
        ("packed.txt.gz", gzip.compress(WROTE.encode())),
        ("packed", gzip.compress(WROTE.encode())),
        ("novel.xml", TEI.encode()),
    ],
    ids=["plain", "line ends and mark", "gzip", "gzip without ending", "TEI"],
)
def test_standard_input_is_labelled_as_a_file(trained, tmp_path, capsys, monkeypatch, name, data):
    path = tmp_path / name
    path.write_bytes(data)
    folder, _ = trained("single")
    (of_file,) = predicted(capsys, folder, [path])
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", errors="surrogateescape"))
    (of_input,) = predicted(capsys, folder, ["-"])
    assert (of_file["label"], of_input["document"]) == ("work", "-")
    assert of_file | {"document": "-", "seconds": 0} == of_input | {"seconds": 0}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_is_labelled(trained, tmp_path, capsys):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(WROTE,))
    writer.start()
    (row,) = predicted(capsys, trained("single")[0], [pipe])
    writer.join()
    assert row["label"] == "work"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"Anna \xe9", "1.txt is not UTF-8: byte 5 is 0xe9"),
        (b" \n", "1.txt is empty"),
        (gzip.compress(WROTE.encode())[:-9], "1.txt: its .gz data is broken or cut"),
    ],
    ids=["not UTF-8", "empty", "cut"],
)
def test_a_wrong_document_is_refused_before_the_model(documents, tmp_path, capsys, data, message):
    paths = documents(BORN, "", WROTE)
    paths[1].write_bytes(data)
    words = ["--task", "sequence_classification", "--document", *map(str, paths)]
    assert main(["predict", str(tmp_path / "no model is looked for"), *words]) == 2
    assert message in capsys.readouterr().err


def test_standard_input_is_read_once(tmp_path, capsys):
    words = ["--task", "sequence_classification", "--document", "-", "-"]
    assert main(["predict", str(tmp_path / "no model is looked for"), *words]) == 2
    assert "standard input (-) is named twice" in capsys.readouterr().err


def test_a_window_without_room_is_refused(trained, documents, capsys):
    words = ["--document", str(documents(BORN)[0]), "--max_length", "2"]
    assert main(["predict", str(trained("single")[0]), *words]) == 2
    assert "a window of 2 tokens holds no text beside 2 special tokens" in capsys.readouterr().err


def test_predict_prints_a_label_for_people(trained, documents, capsys):
    (path,) = documents(WROTE)
    capsys.readouterr()
    assert main(["predict", str(trained("single")[0]), "--document", str(path), "--format", "text"]) == 0
    assert capsys.readouterr().out.startswith(f"{path}: work (")


def test_ls_lists_every_task(capsys):
    assert main(["ls", "tasks"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()[2:]}
    assert list(rows) == list(TASKS)
    assert "Accuracy, Macro F1, Micro F1 and 4 more" in rows["sequence_classification"]
    assert "window + global <s>" in rows["sequence_classification"]


def test_report_reads_an_evaluations_record(trained, tmp_path, capsys):
    folder, table = trained("single")
    evaluated(folder, table, tmp_path / "scores", "--systems", "truncate 64")
    assert main(["report", str(tmp_path / "scores"), "--output", str(tmp_path / "report")]) == 0
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert all(word in page for word in ("facts", "Macro F1", "truncate 64"))


@pytest.mark.parametrize("verb", ["evaluate", "predict"])
def test_unknown_tasks_are_refused_with_the_known(verb, capsys):
    words = ["--data", "x.csv"] if verb == "evaluate" else ["--document", "x.txt"]
    assert main([verb, "nowhere", *words, "--task", "translation"]) == 2
    error = capsys.readouterr().err
    assert "there is no task 'translation'" in error
    assert all(name in error for name in TASKS)
    assert main([verb, "nowhere", *words, "--task=sequence_clasification"]) == 2
    assert "did you mean sequence_classification?" in capsys.readouterr().err


# Tasks of other packages, and which task a model is of.


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Installs a package with the tasks of the given entry points."""

    def install(**points):
        folder = tmp_path / "site" / "longspan_bees-1.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: longspan-bees\nVersion: 1.0\n")
        lines = [f"{name} = {place}\n" for name, place in points.items()]
        (folder / "entry_points.txt").write_text("[longspan.tasks]\n" + "".join(lines))
        monkeypatch.syspath_prepend(folder.parent)

    return install


def test_a_package_can_add_a_task(package):
    package(bees="longspan.tasks.sequence_classification.task:SequenceClassification")
    assert find_task("bees").title == "sequence classification"
    assert len(all_tasks()) == len(TASKS) + 1


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("longspan_bees_nowhere:Bees", "ModuleNotFoundError"),
        ("longspan.tasks.task:Bees", "AttributeError"),
        ("longspan.records:Metric", "ValidationError"),
        ("longspan.tasks.task:Rows.count", "TypeError"),
    ],
)
def test_a_broken_tasks_package_is_named(package, caplog, capsys, place, why):
    package(bees=place)
    with pytest.raises(InputError, match=rf"(?s)task bees of longspan-bees cannot be imported \({why}: .*remove that"):
        find_task("bees")
    assert main(["evaluate", "nowhere", "--data", "x.csv", "--task", "bees"]) == 2
    assert "the task bees of longspan-bees cannot be imported" in capsys.readouterr().err
    # The other tasks can be used all the same.
    assert main(["ls", "tasks"]) == 0
    assert "sequence_classification" in capsys.readouterr().out
    assert "the task bees of longspan-bees cannot be imported" in caplog.text


def test_the_models_head_says_its_task(trained, tiny_qa_folder, tmp_path):
    assert task_of(trained("number")[0]).name == "sequence_classification"
    assert task_of(trained("single", **LONG)[0]).name == "sequence_classification"
    assert task_of(tiny_qa_folder("longformer")).name == "question_answering"
    assert task_of(tmp_path / "nowhere").name == "question_answering"


@pytest.mark.parametrize("merge", ["mean", "maximum"])
def test_very_sure_windows_are_merged_without_warning(merge):
    config = SimpleNamespace(problem_type="multi_label_classification", num_labels=2, id2label={0: "yes", 1: "no"})

    _, probabilities = merge_windows(np.array([[50.0, -50.0], [800.0, -800.0]]), config, merge)

    assert list(probabilities.values()) == pytest.approx([1.0, 0.0])
