import io
import json
import os
import shutil

import pytest

from longspan.cli.main import main

TEXT = "Anna was born in Lund in 1901. Later Anna moved away, and wrote 2 books about bees.\n" * 12


@pytest.fixture
def document(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text(TEXT, encoding="utf-8")
    return str(path)


@pytest.fixture
def model(tiny_qa_folder):
    return str(tiny_qa_folder("longformer"))


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_one_line_of_json_per_question(model, document, capsys):
    assert main(["predict", model, "--document", document, "--question", "Where?", "--question", "When?"]) == 0
    captured = capsys.readouterr()
    rows = lines(captured.out)
    assert [row["question"] for row in rows] == ["Where?", "When?"]
    for row in rows:
        assert TEXT[row["start"] : row["end"]] == row["text"] != ""
        assert row["text"] in row["sentence"]
        assert TEXT[row["sentence_start"] :].startswith(row["sentence"])
        assert 0 <= row["place"] <= 100
        assert 0 < row["score"] <= 1
    assert "overlapping windows" in captured.err


def test_questions_from_a_file_and_several_answers_to_a_file(model, document, tmp_path, capsys):
    questions = tmp_path / "questions.txt"
    questions.write_text('Where?\n\n{"id": "w7", "question": "When?"}\n')
    output = tmp_path / "answers.jsonl"
    words = ["--document", document, "--questions", str(questions), "--top_k", "3", "--output", str(output)]
    assert main(["predict", model, *words]) == 0
    rows = lines(output.read_text())
    assert [row["id"] for row in rows] == ["0", "w7"]
    for row in rows:
        assert len(row["answers"]) == 3
        assert row["answers"][0]["text"] == row["text"]
        scores = [answer["score"] for answer in row["answers"]]
        assert scores == sorted(scores, reverse=True)
    assert capsys.readouterr().out == ""


def test_answers_go_where_a_link_leads(model, document, tmp_path):
    output, target = tmp_path / "answers.jsonl", tmp_path / "disk" / "answers"
    output.symlink_to(target)
    assert main(["predict", model, "--document", document, "--question", "Where?", "--output", str(output)]) == 0
    assert output.is_symlink() and len(lines(target.read_text())) == 1


def test_answers_go_into_an_open_file(model, document):
    reads, writes = os.pipe()
    words = ["--document", document, "--question", "Where?", "--output", f"/dev/fd/{writes}"]
    assert main(["predict", model, *words]) == 0
    os.close(writes)
    with os.fdopen(reads) as file:
        assert len(lines(file.read())) == 1


def test_an_output_that_cannot_be_written_is_refused_first(document, tmp_path, capsys):
    with open(document) as file:
        words = ["--document", document, "--question", "Where?", "--output", f"/dev/fd/{file.fileno()}"]
        assert main(["predict", str(tmp_path / "no model is looked for"), *words]) == 2
    assert "cannot be written to" in capsys.readouterr().err


def test_text_for_people(model, document, capsys):
    assert main(["predict", model, "--document", document, "--question", "Where?", "--format", "text"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Q: Where?\nA: ")
    assert "of the document" in out


def test_a_document_from_standard_input(model, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("Bees fly."))
    assert main(["predict", model, "--document", "-", "--question", "Who?"]) == 0
    assert lines(capsys.readouterr().out)[0]["text"] in "Bees fly."


def test_standard_input_that_is_not_utf8(model, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"Z\xfcrich"), encoding="utf-8"))
    assert main(["predict", model, "--document", "-", "--question", "Who?"]) == 2
    assert "not UTF-8 text (byte 1)" in capsys.readouterr().err


def test_a_short_model_reads_windows_and_says_so(tiny_qa_folder, document, capsys):
    words = ["--document", document, "--question", "Where?", "--max_length", "48", "--overlap", "8"]
    assert main(["predict", str(tiny_qa_folder("bert")), *words]) == 0
    captured = capsys.readouterr()
    n_windows = lines(captured.out)[0]["n_windows"]
    assert n_windows > 2
    assert f"read in {n_windows} overlapping windows" in captured.err
    assert main(["predict", str(tiny_qa_folder("bert")), *words, "--truncate"]) == 0
    assert lines(capsys.readouterr().out)[0]["n_windows"] == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--question", " "], "a question is empty"),
        ([], "no question"),
        (["--question", "why " * 300], "leaves no room"),
        (["--questions", "nowhere.txt"], "nowhere.txt: no such file"),
        (["--question", "Why?", "--top_k", "0"], "--top_k is 0"),
        (["--question", "Why?", "--max_length", "5000"], "max_length is 5000 but the model takes 192"),
        (["--question", "Why?", "--overlap", "192"], "overlap is 192"),
        (["--question", "Why?", "--output", "/dev/null/x.jsonl"], "/dev/null is a file, so /dev/null/x.jsonl cannot"),
        (["--question", "Why?", "--output", "/"], "/ is a folder"),
        (["--questions", "/"], "/ is a folder"),
        (["--question", "Why?", "--device", "gpu"], "there is no device 'gpu'"),
        (["--question", "Why?", "--device", "cuda:99"], "device 'cuda:99' is not there"),
    ],
)
def test_mistakes(model, document, capsys, words, message):
    assert main(["predict", model, "--document", document, *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("text", "message"), [("", "empty"), (None, "no such file")])
def test_documents_that_cannot_be_read(model, tmp_path, capsys, text, message):
    path = tmp_path / "doc.txt"
    if text is not None:
        path.write_text(text)
    assert main(["predict", model, "--document", str(path), "--question", "Why?"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "doc.txt" in error


@pytest.mark.parametrize(
    ("text", "message"),
    [("\n", "holds no question"), ('{"question": ', "line 1: not JSON"), ('{"q": "x"}', "line 1: a record needs")],
)
def test_files_of_questions_that_are_none(model, document, tmp_path, capsys, text, message):
    path = tmp_path / "questions"
    path.write_text(text)
    assert main(["predict", model, "--document", document, "--questions", str(path)]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_without_a_model(tmp_path, document, capsys):
    assert main(["predict", str(tmp_path), "--document", document, "--question", "Why?"]) == 2
    assert "holds no model" in capsys.readouterr().err


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    """Where the wheel has its adapter; nothing is there yet."""
    folder = tmp_path / "packaged"
    monkeypatch.setattr("longspan.tasks.adapter_files.packaged_folder", lambda: folder)
    return folder


def test_a_half_replaced_folder_is_refused(model, document, tmp_path, capsys):
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    (folder / ".longspan.replacing").mkdir()  # a killed run's mark
    assert main(["predict", str(folder), "--document", document, "--question", "Where?"]) == 2
    assert "is incomplete: the run that was filling it was killed" in capsys.readouterr().err


def test_without_a_model_the_packaged_one_answers(tiny_qa_folder, packaged, document, capsys):
    from longspan.tasks.adapters import extract_adapter, save_adapter
    from longspan.tasks.qa_model import build_qa_model

    base = str(tiny_qa_folder("xlm-roberta encoder"))
    packaged.mkdir()
    save_adapter(extract_adapter(base, build_qa_model(base, max_tokens=192, attention_window=16).model, 2), packaged)
    assert main(["predict", "--document", document, "--question", "Where?"]) == 0
    (row,) = lines(capsys.readouterr().out)
    assert TEXT[row["start"] : row["end"]] == row["text"] != ""


def test_without_a_model_where_none_is_packaged(packaged, document, capsys):
    assert main(["predict", "--document", document, "--question", "Where?"]) == 2
    error = capsys.readouterr().err
    assert "no trained model comes with this longspan" in error
    assert "longspan finetune squad-e5-adapter-short" in error
